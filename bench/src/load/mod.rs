//! The load generator: one thread, one epoll, subscribers on one side and publishers on the other.
//!
//! It must be much cheaper than any server it drives, or it measures itself: one shared buffer for reading, one clock
//! reading a read, frames scanned in place. How busy it was stands beside each result.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddrV4},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use lancewire_bench::wire;
use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
    fd::OwnedFd,
};

use self::{
    histogram::Histogram,
    publisher::{Publisher, Request},
    record::{Hears, Record, Tally},
    socket::{Closed, Opening, Protocol, Reader, Socket, Stage},
};

pub mod histogram;
pub mod publisher;
pub mod record;
pub mod socket;

/// What one read may take.
const READ: usize = 256 * 1024;

/// Events taken from the kernel at once: few, so that a publication that is due does not wait for long.
const BATCH: usize = 128;

/// Handshakes under way at the same time: fewer than any server's accept queue is long.
const AT_ONCE: usize = 100;

/// Sockets a source address: a port is one of 28,000, and those of closed sockets stay taken for a minute.
const PER_SOURCE: usize = 2_500;

/// A wallet's version after its first movement; an empty one has version 1.
const FIRST_VERSION: u32 = 2;

/// Marks an epoll key as a publisher's.
const PUBLISHER: u64 = 1 << 32;

/// How a delivery says which event it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbered {
    /// By the mark in a title.
    Mark,
    /// By the version that a wallet has after it, on the one channel that the subscriber hears.
    Version,
}

/// A subscriber to be connected.
#[derive(Clone, Debug)]
pub struct Subscriber {
    pub opening: Opening,
    pub hears: Hears,
}

/// When to send the next request.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// Evenly, this many a second, whether or not the ones before are answered, as long as a connection is free.
    PerSecond(f64),
    /// As soon as a connection is free.
    Flat,
}

/// When to stop sending.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    Elapsed(Duration),
    Sent(u64),
}

/// What was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub requests: u64,
    pub elapsed: Duration,
    /// From sending a request to its answer.
    pub answers: Histogram,
}

/// What a subscriber says when it comes back, by its number and its last cursor.
type Again = Box<dyn Fn(usize, &str) -> Opening>;

/// Subscribers that come back by themselves when their server sends them away.
struct Returning {
    again: Again,
    /// Since when those who are away are.
    left_at: HashMap<usize, u64>,
    absences: Histogram,
}

/// Codes after which clients come back.
const RETURN_AFTER: [u16; 3] = [1012, 1013, Closed::WITHOUT_A_WORD];

/// Subscribers and publishers of one server, or of several.
pub struct Load {
    server: SocketAddrV4,
    protocol: Protocol,
    numbered: Numbered,
    epoll: OwnedFd,
    sockets: Vec<Socket>,
    hears: Vec<Hears>,
    cursors: Vec<String>,
    keep_cursors: bool,
    live: usize,
    publishers: Vec<Publisher>,
    requests: Vec<Request>,
    /// The last channel that each publisher sent on: it owns every channel whose number leaves the same remainder.
    turns: Vec<usize>,
    record: Record,
    answers: Histogram,
    scratch: Vec<u8>,
    ready: Vec<Event>,
    born: Instant,
    /// Sockets opened so far.
    opened: usize,
    returning: Option<Returning>,
}

impl Load {
    /// `connections` publishers for `requests`, each of which is a channel's.
    pub fn new(
        server: SocketAddrV4,
        protocol: Protocol,
        numbered: Numbered,
        connections: usize,
        requests: Vec<Request>,
    ) -> Result<Self> {
        let mut load = Self {
            server,
            protocol,
            numbered,
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            sockets: Vec::new(),
            hears: Vec::new(),
            cursors: Vec::new(),
            keep_cursors: false,
            live: 0,
            publishers: Vec::new(),
            turns: Vec::new(),
            record: Record::new(requests.len()),
            answers: Histogram::default(),
            scratch: vec![0; READ],
            born: Instant::now(),
            ready: Vec::with_capacity(BATCH),
            opened: 0,
            returning: None,
            requests,
        };
        load.turns = (0..connections.min(load.requests.len())).collect();
        load.publish_to(server)?;
        Ok(load)
    }

    /// From now on subscribers are connected to this server.
    pub fn subscribe_to(&mut self, server: SocketAddrV4) {
        self.server = server;
    }

    /// From now on requests are sent to this server. Between two calls of [`Load::drive`], when all are answered.
    pub fn publish_to(&mut self, server: SocketAddrV4) -> Result<()> {
        self.publishers.clear();
        for place in 0..self.turns.len() {
            let publisher = Publisher::connect(server)?;
            let key = EventData::new_u64(PUBLISHER | place as u64);
            epoll::add(&self.epoll, &publisher.stream, key, EventFlags::IN)?;
            self.publishers.push(publisher);
        }
        Ok(())
    }

    /// From now on subscribers whose server sends them away, or ends, come back at once, to where
    /// [`Load::subscribe_to`] says, with what `again` makes of their last cursor.
    pub fn come_back(&mut self, again: impl Fn(usize, &str) -> Opening + 'static) {
        let (left_at, absences) = (HashMap::new(), Histogram::default());
        self.keep_cursors = true;
        self.returning = Some(Returning { again: Box::new(again), left_at, absences });
    }

    /// How long those who came back had been away, and how many still are.
    pub fn absences(&self) -> (Histogram, usize) {
        self.returning
            .as_ref()
            .map_or_else(Default::default, |returning| (returning.absences.clone(), returning.left_at.len()))
    }

    /// From now on keeps the cursor of each subscriber's last event.
    pub fn keep_cursors(&mut self) {
        self.keep_cursors = true;
    }

    /// The last cursors kept.
    pub fn cursors(&self) -> Vec<String> {
        self.cursors.clone()
    }

    /// Connects subscribers, as fast as the server lets them in, and waits until the last of them is live.
    pub fn connect(&mut self, subscribers: impl IntoIterator<Item = Subscriber>, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        for subscriber in subscribers {
            self.open(subscriber)?;
            while self.sockets.len() - self.live >= AT_ONCE {
                ensure!(Instant::now() < deadline, "only {} subscribers were let in in time", self.live);
                self.turn(Some(deadline))?;
            }
        }
        while self.live < self.sockets.len() {
            ensure!(Instant::now() < deadline, "{} of {} subscribers are live", self.live, self.sockets.len());
            self.turn(Some(deadline))?;
        }
        Ok(())
    }

    fn open(&mut self, subscriber: Subscriber) -> Result<()> {
        let socket = self.socket(self.sockets.len(), subscriber.opening)?;
        // One that was cut off comes back to its old account.
        if self.sockets.len() == self.hears.len() {
            self.hears.push(subscriber.hears);
            self.cursors.push(String::new());
            self.record.subscribe(subscriber.hears);
        }
        self.sockets.push(socket);
        Ok(())
    }

    fn socket(&mut self, place: usize, opening: Opening) -> Result<Socket> {
        let source =
            Ipv4Addr::from_bits(Ipv4Addr::new(127, 0, 1, 1).to_bits() + u32::try_from(self.opened / PER_SOURCE)?);
        self.opened += 1;
        let socket = Socket::connect(SocketAddrV4::new(source, 0), self.server, self.protocol, opening)?;
        epoll::add(&self.epoll, &socket.stream, EventData::new_u64(place as u64), EventFlags::IN)?;
        Ok(socket)
    }

    /// Cuts all subscribers off without a word. What is published goes on being expected: the next ones to be connected
    /// are the same, in the same order, and must get what they missed.
    pub fn cut(&mut self) {
        self.sockets.clear();
        self.live = 0;
    }

    /// Publishes until every subscriber has heard an event, then at `pace` for `time`, and lets everything arrive: the
    /// server has warm caches and compiled code, and it is known that all subscriptions are in force.
    pub fn warm(&mut self, pace: Pace, time: Duration) -> Result<()> {
        if self.hears.contains(&Hears::Every) {
            let mut tries = 0;
            while tries == 0 || !self.record.complete() {
                ensure!(tries < 30, "not every subscription comes into force: {:?}", self.tally());
                self.record.begin();
                self.drive(Pace::Flat, Until::Sent(1))?;
                self.settle(Duration::from_secs(1))?;
                tries += 1;
            }
        }
        self.drive(pace, Until::Elapsed(time))?;
        self.settle(Duration::from_secs(10))?;
        self.begin();
        Ok(())
    }

    /// Begins a measurement.
    pub fn begin(&mut self) {
        self.record.begin();
    }

    /// The account since [`Load::begin`].
    pub fn tally(&self) -> Tally {
        self.record.tally()
    }

    /// From sending a mutation to reading a delivery, since [`Load::begin`].
    pub fn latency(&self) -> &Histogram {
        &self.record.latency
    }

    /// From reading the answer to a mutation to reading a delivery, since [`Load::begin`].
    pub fn latency_after_answer(&self) -> &Histogram {
        &self.record.after_answer
    }

    /// Sends requests, the channels taking turns.
    pub fn drive(&mut self, pace: Pace, until: Until) -> Result<Sent> {
        self.answers = Histogram::default();
        let began = Instant::now();
        let (mut requests, mut next) = (0, 0);
        loop {
            let elapsed = began.elapsed();
            let over = match until {
                Until::Elapsed(time) => elapsed >= time,
                Until::Sent(count) => requests >= count,
            };
            if over {
                break;
            }
            let due = match pace {
                Pace::PerSecond(rate) => began + Duration::from_secs_f64(requests as f64 / rate),
                Pace::Flat => began,
            };
            let publishers = self.publishers.len();
            let free = (0..publishers)
                .map(|step| (next + step) % publishers)
                .find(|place| self.publishers[*place].sent_at.is_none());
            match free {
                Some(place) if due <= Instant::now() => {
                    self.publish(place)?;
                    requests += 1;
                    next = place + 1;
                    self.turn_now()?;
                }
                // Nobody is free: an answer wakes us.
                None => self.turn(None)?,
                Some(_) => self.turn(Some(due))?,
            }
        }
        while self.publishers.iter().any(|publisher| publisher.sent_at.is_some()) {
            ensure!(began.elapsed() < Duration::from_secs(600), "a request is not answered");
            self.turn(None)?;
        }
        Ok(Sent { requests, elapsed: began.elapsed(), answers: std::mem::take(&mut self.answers) })
    }

    /// Reads until everything expected has arrived, at most for `patience`.
    pub fn settle(&mut self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        while !self.record.complete() && Instant::now() < deadline {
            self.turn(Some(deadline))?;
        }
        Ok(())
    }

    /// Reads, and answers pings, for `time`.
    pub fn idle(&mut self, time: Duration) -> Result<()> {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            self.turn(Some(deadline))?;
        }
        Ok(())
    }

    fn publish(&mut self, place: usize) -> Result<()> {
        let channel = self.turns[place];
        let next = channel + self.publishers.len();
        self.turns[place] = if next < self.requests.len() { next } else { place };
        let request = self.requests[channel].stamped(channel, self.record.upcoming(channel));
        let now = nanos(self.born);
        // Before it is sent: the first delivery may be read before this returns to its caller.
        self.record.published(channel, now);
        self.publishers[place].send(request, channel, now)
    }

    fn turn_now(&mut self) -> Result<()> {
        self.poll(Some(Timespec { tv_sec: 0, tv_nsec: 0 }))
    }

    /// Waits until something can be read or `deadline` has come, and reads what is there. A second at most.
    fn turn(&mut self, deadline: Option<Instant>) -> Result<()> {
        let time = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
        let time = time.min(Duration::from_secs(1));
        self.poll(Some(Timespec { tv_sec: i64::try_from(time.as_secs())?, tv_nsec: time.subsec_nanos().into() }))
    }

    fn poll(&mut self, timeout: Option<Timespec>) -> Result<()> {
        self.ready.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.ready), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("waiting for the sockets"),
        }
        for index in 0..self.ready.len() {
            let key = self.ready[index].data.u64();
            let place = usize::try_from(key & !PUBLISHER)?;
            if key & PUBLISHER == 0 { self.read(place)? } else { self.answer(place)? }
        }
        Ok(())
    }

    fn read(&mut self, place: usize) -> Result<()> {
        let socket = &mut self.sockets[place];
        let was_live = socket.stage == Stage::Live;
        let mut delivery = Delivery {
            record: &mut self.record,
            cursor: self.keep_cursors.then_some(&mut self.cursors[place]),
            numbered: self.numbered,
            hears: self.hears[place],
            subscriber: place,
            born: self.born,
            now: None,
        };
        if let Err(error) = socket.read(&mut self.scratch, &mut delivery) {
            let closed = error.downcast_ref::<Closed>().filter(|closed| RETURN_AFTER.contains(&closed.code));
            if self.returning.is_none() || closed.is_none() {
                return Err(error.context(format!("subscriber {place}")));
            }
            self.live -= usize::from(was_live);
            return self.send_back(place);
        }
        if !was_live && socket.stage == Stage::Live {
            self.live += 1;
            let now = nanos(self.born);
            if let Some(returning) = &mut self.returning
                && let Some(left_at) = returning.left_at.remove(&place)
            {
                returning.absences.record(now.saturating_sub(left_at));
            }
        }
        Ok(())
    }

    fn send_back(&mut self, place: usize) -> Result<()> {
        let now = nanos(self.born);
        let Some(returning) = &mut self.returning else { return Ok(()) };
        returning.left_at.entry(place).or_insert(now);
        let opening = (returning.again)(place, &self.cursors[place]);
        self.sockets[place] = self.socket(place, opening)?;
        Ok(())
    }

    fn answer(&mut self, place: usize) -> Result<()> {
        if let Some(sent_at) = self.publishers[place].read(&mut self.scratch)? {
            let now = nanos(self.born);
            self.answers.record(now.saturating_sub(sent_at));
            self.record.answered(self.publishers[place].channel, now);
        }
        Ok(())
    }
}

/// Enters what one read brought into the account.
struct Delivery<'load> {
    record: &'load mut Record,
    cursor: Option<&'load mut String>,
    numbered: Numbered,
    hears: Hears,
    subscriber: usize,
    born: Instant,
    /// Read once, when the first event of a read is seen.
    now: Option<u64>,
}

impl Reader for Delivery<'_> {
    fn event(&mut self, payload: &[u8]) {
        let found = match (self.numbered, self.hears) {
            (Numbered::Mark, _) => wire::read_mark(payload),
            (Numbered::Version, Hears::Only(channel)) => {
                wire::read_version(payload).and_then(|version| Some((channel, version.checked_sub(FIRST_VERSION)?)))
            }
            (Numbered::Version, Hears::Every | Hears::Nothing) => None,
        };
        let now = *self.now.get_or_insert_with(|| nanos(self.born));
        // What cannot be told is astray, which makes itself known in the report.
        let (channel, sequence) = found.unwrap_or((usize::MAX, 0));
        self.record.arrived(self.subscriber, channel, sequence, now);
        if let Some(cursor) = &mut self.cursor
            && let Some(text) = wire::read_cursor(payload)
        {
            text.clone_into(cursor);
        }
    }
}

fn nanos(born: Instant) -> u64 {
    u64::try_from(born.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
