//! What should have arrived and what did: every delivery's sequence is checked, for each subscriber and channel.
//!
//! A channel is a thing whose events are in order: a job, or a wallet. Its events are numbered from 0 without holes as
//! they are published. The next number that a subscriber should see is kept for each channel it hears, so that the usual
//! delivery costs one comparison; numbers that were jumped over are remembered, which tells a late delivery from a
//! doubled one. Whatever is still missing at the end is lost.

use std::{
    collections::{BTreeSet, HashMap},
    ops::AddAssign,
};

use super::histogram::Histogram;

/// The channels that a subscriber hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hears {
    /// All of them.
    Every,
    /// This one.
    Only(usize),
    /// None: whatever comes is astray.
    Nothing,
}

/// How events went in a measured stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// What should have arrived: events times their subscribers.
    pub expected: u64,
    /// Arrived, each counted once.
    pub delivered: u64,
    pub lost: u64,
    /// Arrived again.
    pub doubled: u64,
    /// Arrived after a later one of the same channel.
    pub reordered: u64,
    /// Arrived where nobody should hear of it.
    pub astray: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, more: Self) {
        self.expected += more.expected;
        self.delivered += more.delivered;
        self.lost += more.lost;
        self.doubled += more.doubled;
        self.reordered += more.reordered;
        self.astray += more.astray;
    }
}

/// The account of all deliveries.
#[derive(Debug, Default)]
pub struct Record {
    channels: Vec<Channel>,
    subscribers: Vec<Subscriber>,
    /// Next numbers, one for each channel that a subscriber hears.
    next: Vec<u32>,
    missing: HashMap<(usize, usize), BTreeSet<u32>>,
    everywhere: u64,
    tally: Tally,
    /// From the sending of a mutation to the reading of a delivery.
    pub latency: Histogram,
    /// From reading the answer to a mutation to the reading of a delivery; nothing for one that came first.
    pub after_answer: Histogram,
}

#[derive(Debug, Default)]
struct Channel {
    /// When each event was sent, by its number.
    sent_at: Vec<u64>,
    /// When each was answered.
    answered_at: Vec<u64>,
    /// Subscribers that hear only this one.
    own: u64,
}

#[derive(Debug)]
struct Subscriber {
    hears: Hears,
    /// Where its next numbers begin.
    first: usize,
}

impl Record {
    /// An account of `channels` channels without subscribers.
    pub fn new(channels: usize) -> Self {
        Self { channels: (0..channels).map(|_| Channel::default()).collect(), ..Self::default() }
    }

    /// Adds a subscriber that hears what is published from now on; its number is the count of those before it.
    pub fn subscribe(&mut self, hears: Hears) {
        self.subscribers.push(Subscriber { hears, first: self.next.len() });
        match hears {
            Hears::Every => {
                self.next.extend(self.channels.iter().map(Channel::published));
                self.everywhere += 1;
            }
            Hears::Only(channel) => {
                self.next.push(self.channels[channel].published());
                self.channels[channel].own += 1;
            }
            Hears::Nothing => {}
        }
    }

    /// Begins a measurement: whatever was published before is neither expected nor missed.
    pub fn begin(&mut self) {
        for subscriber in &self.subscribers {
            match subscriber.hears {
                Hears::Every => {
                    for (place, channel) in self.channels.iter().enumerate() {
                        self.next[subscriber.first + place] = channel.published();
                    }
                }
                Hears::Only(channel) => self.next[subscriber.first] = self.channels[channel].published(),
                Hears::Nothing => {}
            }
        }
        self.missing.clear();
        self.tally = Tally::default();
        self.latency = Histogram::default();
        self.after_answer = Histogram::default();
    }

    /// The number of the next event on a channel.
    pub fn upcoming(&self, channel: usize) -> u32 {
        self.channels[channel].published()
    }

    /// An event was sent now.
    pub fn published(&mut self, channel: usize, now: u64) {
        let channel = &mut self.channels[channel];
        channel.sent_at.push(now);
        self.tally.expected += self.everywhere + channel.own;
    }

    /// The oldest unanswered event of a channel was answered now.
    pub fn answered(&mut self, channel: usize, now: u64) {
        self.channels[channel].answered_at.push(now);
    }

    /// A subscriber read an event now.
    pub fn arrived(&mut self, subscriber: usize, channel: usize, sequence: u32, now: u64) {
        let place = match self.subscribers[subscriber] {
            Subscriber { hears: Hears::Every, first } if channel < self.channels.len() => first + channel,
            Subscriber { hears: Hears::Only(own), first } if own == channel => first,
            _ => {
                self.tally.astray += 1;
                return;
            }
        };
        let Some(sent_at) = self.channels[channel].sent_at.get(sequence as usize) else {
            self.tally.astray += 1;
            return;
        };
        let next = &mut self.next[place];
        if sequence == *next {
            *next += 1;
        } else if sequence > *next {
            self.missing.entry((subscriber, channel)).or_default().extend(*next..sequence);
            *next = sequence + 1;
        } else if self.missing.get_mut(&(subscriber, channel)).is_some_and(|missing| missing.remove(&sequence)) {
            self.tally.reordered += 1;
        } else {
            self.tally.doubled += 1;
            return;
        }
        self.tally.delivered += 1;
        self.latency.record(now.saturating_sub(*sent_at));
        let answered_at = self.channels[channel].answered_at.get(sequence as usize);
        self.after_answer.record(answered_at.map_or(0, |answered_at| now.saturating_sub(*answered_at)));
    }

    /// Whether all that should arrive has arrived.
    pub fn complete(&self) -> bool {
        self.tally.delivered >= self.tally.expected
    }

    /// The figures since [`Record::begin`].
    pub fn tally(&self) -> Tally {
        Tally { lost: self.tally.expected.saturating_sub(self.tally.delivered), ..self.tally }
    }
}

impl Channel {
    fn published(&self) -> u32 {
        u32::try_from(self.sent_at.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_fault_is_counted_as_what_it_is() {
        let mut record = Record::new(2);
        record.subscribe(Hears::Every);
        record.subscribe(Hears::Only(1));
        record.subscribe(Hears::Nothing);
        (0..4).for_each(|_| record.published(0, 0));
        record.published(1, 0);
        for (subscriber, channel, sequence) in
            [(0, 0, 0), (0, 0, 2), (0, 0, 1), (0, 0, 2), (1, 1, 0), (1, 0, 0), (2, 0, 0), (0, 0, 99)]
        {
            record.arrived(subscriber, channel, sequence, 1);
        }
        // Lost: the last of channel 0, and that of channel 1 to the first subscriber.
        let expected = Tally { expected: 6, delivered: 4, lost: 2, doubled: 1, reordered: 1, astray: 3 };
        assert_eq!(record.tally(), expected);
        record.begin();
        assert_eq!(record.tally(), Tally::default());
        assert!(record.complete());
    }
}
