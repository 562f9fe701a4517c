//! Messages that a bus has received and the tail has not read: bounded, and it says when it had to drop some.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{LimitUpdate, PresenceUpdate, Signal};

/// Signals that may wait for the tail. One signal may hold a batch of events.
const SIGNALS: usize = 1_024;
/// Limit updates that may wait.
const LIMIT_UPDATES: usize = 256;
/// Presence updates that may wait: a heartbeat of many people is many of them.
const PRESENCE_UPDATES: usize = 1_024;

/// The queues of a bus: what the tail must be notified of, limit updates, and who is there.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    signals: Mutex<VecDeque<Signal>>,
    signalled: Notify,
    limit_update: Mutex<VecDeque<LimitUpdate>>,
    limit_updated: Notify,
    presence: Mutex<VecDeque<PresenceUpdate>>,
    presence_updated: Notify,
}

impl Inbox {
    /// Puts a signal in. When too many wait, all of them become one: that something was missed.
    pub(super) fn signal(&self, signal: Signal) {
        let mut signals = self.signals.lock();
        let full = signals.len() >= SIGNALS;
        match (signals.back_mut(), &signal) {
            (Some(Signal::Head(last)), Signal::Head(head)) => *last = (*last).max(*head),
            (Some(Signal::Missed), Signal::Missed) => {}
            _ if full => {
                signals.clear();
                signals.push_back(Signal::Missed);
            }
            _ => signals.push_back(signal),
        }
        drop(signals);
        self.signalled.notify_one();
    }

    /// The next signal, once there is one. For one waiter; cancel safe.
    pub(super) async fn heard(&self) -> Signal {
        loop {
            let next = self.signals.lock().pop_front();
            match next {
                Some(signal) => return signal,
                // A permit is kept, so a signal that comes in between is not slept through.
                None => self.signalled.notified().await,
            }
        }
    }

    /// Puts a limit update in; without room the oldest goes.
    pub(super) fn limit_update(&self, limit_update: LimitUpdate) {
        let mut waiting = self.limit_update.lock();
        if waiting.len() >= LIMIT_UPDATES {
            waiting.pop_front();
        }
        waiting.push_back(limit_update);
        drop(waiting);
        self.limit_updated.notify_one();
    }

    /// Puts a presence update in; without room the oldest goes.
    pub(super) fn presence_update(&self, update: PresenceUpdate) {
        let mut waiting = self.presence.lock();
        if waiting.len() >= PRESENCE_UPDATES {
            waiting.pop_front();
        }
        waiting.push_back(update);
        drop(waiting);
        self.presence_updated.notify_one();
    }

    /// The next presence update, once there is one. For one waiter; cancel safe.
    pub(super) async fn presence(&self) -> PresenceUpdate {
        loop {
            let next = self.presence.lock().pop_front();
            match next {
                Some(update) => return update,
                None => self.presence_updated.notified().await,
            }
        }
    }

    /// The next limit update, once there is one. For one waiter; cancel safe.
    pub(super) async fn told(&self) -> LimitUpdate {
        loop {
            let next = self.limit_update.lock().pop_front();
            match next {
                Some(limit_update) => return limit_update,
                None => self.limit_updated.notified().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn heads_become_one_and_too_much_becomes_a_word_that_something_was_missed() {
        let inbox = Inbox::default();
        assert!(inbox.heard().now_or_never().is_none());
        inbox.signal(Signal::Head(3));
        inbox.signal(Signal::Head(7));
        inbox.signal(Signal::Head(5));
        assert!(matches!(inbox.heard().now_or_never(), Some(Signal::Head(7))));
        assert!(inbox.heard().now_or_never().is_none());
        for _ in 0..=SIGNALS {
            inbox.signal(Signal::Events(Vec::new()));
        }
        assert!(matches!(inbox.heard().now_or_never(), Some(Signal::Missed)));
        assert!(inbox.heard().now_or_never().is_none());
    }
}
