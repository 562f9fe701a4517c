//! A client with one subscription, through all its connections, and what it must get.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::future::{BoxFuture, FutureExt};
use lancewire::claims::events::CLAIM_UPDATED;
use lancewire::jobs::events::{JOB_POSTED, JOB_UPDATED};
use lancewire::{
    auth::actor::{Actor, Origin},
    events::{Event, EventCursor, EventKind, Hearing, NewEvent, ResumeError},
    ids::UserId,
    realtime::{
        Delivery, EventTerms, Executed, Execution, FeedEnd, Hub, Interest, Offer, Outlet, Payload, SharingKey, Terms,
        TermsOf, Together,
    },
};
use tokio::sync::Notify;
use uuid::Uuid;

use super::{Chance, log::Log};

/// What a subscription asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) kind: EventKind,
    /// Whether its document has a field that depends on who asks.
    pub(crate) looks: bool,
    pub(crate) filter: Filter,
}

/// The arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Filter {
    All,
    /// Of one of two owners.
    Owners([UserId; 2]),
    /// Every other payload.
    Even,
    /// Those that name the listener, of two kinds.
    Mine,
}

const MINE: &[EventKind] = &[JOB_UPDATED, CLAIM_UPDATED];

fn is_even(payload: &str) -> bool {
    payload.len().is_multiple_of(2)
}

/// Whose an event is, which is its only term.
pub(super) const TERMS: TermsOf = |delivery, _| {
    let named = vec![delivery.audience().users()[0].into()];
    Ok(EventTerms { named, ..EventTerms::default() })
};

impl Wish {
    fn key(&self) -> SharingKey {
        SharingKey::of(&format!("{:?} {}", self.kind, self.looks), &format!("{:?}", self.filter))
    }

    fn interest(&self) -> Interest {
        match self.filter {
            Filter::All => Interest::all(self.kind),
            Filter::Owners(owners) => {
                let of_owners = move |delivery: &Delivery| Ok(owners.contains(&delivery.audience().users()[0]));
                Interest::matching(self.kind, Terms::OneOf(owners.map(Uuid::from).to_vec()), of_owners)
            }
            Filter::Even => Interest::matching(self.kind, Terms::Any, |delivery| {
                delivery.payload::<String>().map(|payload| is_even(payload))
            }),
            Filter::Mine => Interest::of_parties(MINE, Terms::Any, |_| None, |_| Ok(true)),
        }
    }

    /// As whom `actor` hears an event that is asked for: the table of who receives what, once more.
    fn hearing(&self, actor: &Actor, event: &NewEvent, payload: &str) -> Option<Hearing> {
        let NewEvent { kind, audience, .. } = event;
        let user = actor.user();
        let party = user.is_some_and(|user| audience.users().contains(&user));
        let wanted = match self.filter {
            Filter::All => *kind == self.kind,
            Filter::Owners(owners) => *kind == self.kind && owners.contains(&audience.users()[0]),
            Filter::Even => *kind == self.kind && is_even(payload),
            Filter::Mine => return (MINE.contains(kind) && party).then_some(Hearing::Own),
        };
        match *kind {
            _ if !wanted => None,
            JOB_POSTED => Some(Hearing::Public),
            JOB_UPDATED if party || actor.is_admin() => Some(Hearing::Own),
            JOB_UPDATED => audience.public.then_some(Hearing::Public),
            _ => party.then_some(Hearing::Own),
        }
    }
}

/// Makes a response to an event.
struct Writing {
    wish: Wish,
    chance: Chance,
}

/// What somebody gets of an event.
fn written(event: i64, payload: &str, hearing: Hearing, viewer: Option<&Actor>) -> String {
    let viewer = viewer.map(|actor| actor.user().map_or("nobody".into(), |user| user.to_string()));
    format!("{event} {payload} {hearing:?} {viewer:?}")
}

impl Writing {
    async fn write(&self, delivery: &Delivery, hearing: Hearing, viewer: Option<Origin>) -> Executed {
        // Some wait for the database.
        if self.chance.once_in(6) {
            self.chance.pause(40).await;
        }
        let payload = delivery.payload::<String>().map_or("unreadable", String::as_str);
        let response = written(delivery.position(), payload, hearing, viewer.as_ref().map(|viewer| &viewer.actor));
        Executed { response: response.into(), looked_at_viewer: self.wish.looks, failed: false }
    }
}

impl Execution for Writing {
    fn execute<'a>(
        &'a self,
        delivery: &'a Arc<Delivery>,
        hearing: Hearing,
        viewer: Option<Origin>,
    ) -> BoxFuture<'a, Executed> {
        self.write(delivery, hearing, viewer).boxed()
    }

    fn together(&self) -> Option<Box<dyn Together + '_>> {
        (self.wish.kind == JOB_UPDATED).then(|| Box::new(Joint(self)) as Box<dyn Together>)
    }
}

/// For several viewers at the same time.
struct Joint<'a>(&'a Writing);

impl Together for Joint<'_> {
    fn execute<'a>(&'a self, delivery: &'a Arc<Delivery>, hearing: Hearing, viewer: Origin) -> BoxFuture<'a, Executed> {
        self.0.write(delivery, hearing, Some(viewer)).boxed()
    }

    fn drive<'a>(&'a self, executions: BoxFuture<'a, ()>) -> BoxFuture<'a, ()> {
        executions
    }
}

/// What comes on the way to a reader.
enum Coming {
    Result(Payload),
    /// Everything up to here has come, as a cursor.
    Ping(i64, String),
}

/// The way to a reader.
pub(crate) struct Way {
    waiting: Mutex<VecDeque<Coming>>,
    room: usize,
    came: Notify,
    taken: Notify,
    lagged: Mutex<Option<i64>>,
    let_go: Notify,
}

impl Way {
    fn new(room: usize) -> Self {
        let (waiting, came, taken, lagged, let_go) = Default::default();
        Self { waiting, room, came, taken, lagged, let_go }
    }

    async fn next(&self) -> Coming {
        loop {
            if let Some(coming) = self.waiting.lock().expect("whole").pop_front() {
                self.taken.notify_one();
                return coming;
            }
            self.came.notified().await;
        }
    }

    async fn lagged_at(&self) -> i64 {
        loop {
            if let Some(position) = self.lagged.lock().expect("whole").take() {
                return position;
            }
            self.let_go.notified().await;
        }
    }

    /// As a ping does: however little room there is.
    fn ping(&self, hub: &Hub, position: i64) {
        if let Some(cursor) = hub.log().cursor(position) {
            self.waiting.lock().expect("whole").push_back(Coming::Ping(position, cursor));
            self.came.notify_one();
        }
    }
}

impl Outlet for Way {
    fn offer(&self, payloads: &[Payload]) -> Offer {
        let mut waiting = self.waiting.lock().expect("whole");
        let taken = payloads.len().min(self.room.saturating_sub(waiting.len()));
        waiting.extend(payloads[..taken].iter().cloned().map(Coming::Result));
        drop(waiting);
        self.came.notify_one();
        Offer::Taken(taken)
    }

    fn room(&self, _: usize) -> BoxFuture<'_, ()> {
        async move {
            while self.waiting.lock().expect("whole").len() >= self.room {
                self.taken.notified().await;
            }
        }
        .boxed()
    }

    fn lagged(&self, position: i64) {
        *self.lagged.lock().expect("whole") = Some(position);
        self.let_go.notify_one();
    }
}

/// A client. What it has got survives its connections.
pub(crate) struct Client {
    pub(crate) name: usize,
    pub(crate) actor: Actor,
    pub(crate) wish: Wish,
    pub(crate) slow: bool,
    pub(crate) got: Mutex<Got>,
}

/// Everything since a list was read anew.
#[derive(Default)]
pub(crate) struct Got {
    /// Where the list was read; none before that.
    pub(crate) from: Option<i64>,
    pub(crate) results: Vec<(i64, Arc<str>)>,
    /// Up to where everything has come, by the last result or ping, and the cursor that says so.
    pub(crate) seen: Option<(i64, String)>,
    /// Results of lists that were read anew since.
    pub(crate) earlier: usize,
    pub(crate) expired: usize,
    /// What must not be.
    wrong: Option<String>,
}

impl Client {
    /// One connection to a node, for as long as it lasts. Says whether the node could be used at all.
    pub(crate) async fn connect(&self, hub: &Hub, log: (Uuid, &Log), calm: &AtomicBool, chance: &Chance) -> bool {
        let seen = self.got.lock().expect("whole").seen.clone();
        let after = match seen {
            None => hub.head(),
            Some((position, cursor)) => match hub.resume_point(&[("after", &cursor)]).await {
                Ok(Some(after)) => after,
                Err(ResumeError::Expired) => {
                    chance.line(format!("client {}: its cursor has expired", self.name));
                    self.begin_anew(log.1, position);
                    return true;
                }
                Ok(None) | Err(_) => return false,
            },
        };
        self.begin(log, after);
        let way = Arc::new(Way::new(1 + chance.below(24)));
        let execution = Writing { wish: self.wish, chance: chance.clone() };
        let viewer = Origin { actor: self.actor, address: IpAddr::V4(Ipv4Addr::LOCALHOST) };
        let outlet: Arc<dyn Outlet> = Arc::clone(&way) as Arc<dyn Outlet>;
        let feed = hub
            .join(self.wish.key(), self.wish.interest(), execution, Some(after), viewer, outlet)
            .expect("few listen");
        let served = async {
            let mut feed = feed;
            loop {
                let progress = feed.progress();
                let mut catching_up = pin!(feed.catch_up());
                let caught_up = loop {
                    tokio::select! {
                        biased;
                        caught_up = &mut catching_up => break caught_up,
                        () = chance.pause(400) => way.ping(hub, progress.position()),
                    }
                };
                let live = match caught_up {
                    Ok(live) => live,
                    Err(end) => return (end, progress.position()),
                };
                let position = loop {
                    tokio::select! {
                        biased;
                        position = way.lagged_at() => break position,
                        () = chance.pause(400) => if let Some(position) = live.position() { way.ping(hub, position); },
                    }
                };
                feed = live.lagged(position);
            }
        };
        let read = async {
            loop {
                match way.next().await {
                    Coming::Result(Payload { response, position }) => {
                        chance.line(format!("client {}: {response}", self.name));
                        self.take(log, position, response);
                        if !calm.load(Ordering::Relaxed) {
                            chance.pause(if self.slow { 120 } else { 3 }).await;
                        }
                    }
                    Coming::Ping(position, cursor) => {
                        chance.line(format!("client {}: up to {position}", self.name));
                        self.see(position, cursor);
                    }
                }
            }
        };
        tokio::select! {
            biased;
            () = read => {}
            (end, position) = served => {
                chance.line(format!("client {}: {end:?} after {position}", self.name));
                if end == FeedEnd::Expired {
                    self.begin_anew(log.1, position);
                }
            }
        }
        true
    }

    /// The list is read, or was read before.
    fn begin(&self, log: (Uuid, &Log), after: i64) {
        let mut got = self.got.lock().expect("whole");
        if got.from.is_none() {
            got.from = Some(after);
            got.seen = Some((after, cursor(log, after)));
        }
    }

    fn take(&self, log: (Uuid, &Log), position: i64, response: Arc<str>) {
        let mut got = self.got.lock().expect("whole");
        if let Some((seen, _)) = got.seen.as_ref().filter(|(seen, _)| *seen >= position) {
            let wrong = format!("client {}: {response:?}, though everything up to {seen} had come", self.name);
            got.wrong.get_or_insert(wrong);
        }
        got.results.push((position, response));
        got.seen = Some((position, cursor(log, position)));
    }

    fn see(&self, position: i64, cursor: String) {
        let mut got = self.got.lock().expect("whole");
        if let Some((seen, _)) = got.seen.as_ref().filter(|(seen, _)| *seen > position) {
            let wrong = format!("client {}: a ping goes back from {seen} to {position}", self.name);
            got.wrong.get_or_insert(wrong);
        }
        got.seen = Some((position, cursor));
    }

    /// Something after `position` is not kept: the list is read anew.
    fn begin_anew(&self, log: &Log, position: i64) {
        let right = self.is_right(&log.everything(), false).err();
        let mut got = self.got.lock().expect("whole");
        let all_kept = || format!("client {}: expired at {position}, and all after it is kept", self.name);
        let wrong = right.or_else(|| (log.forgotten() <= position).then(all_kept));
        let earlier = got.earlier + got.results.len();
        *got = Got { earlier, expired: got.expired + 1, wrong, ..Got::default() };
    }

    /// What must have come, of all that the log ever had.
    fn entitled(&self, from: i64, log: &[Event]) -> Vec<(i64, String)> {
        let mut must = Vec::new();
        for Event { position, recorded } in log.iter().filter(|event| event.position > from) {
            let payload: String = serde_json::from_str(&recorded.payload).expect("a text");
            let Some(hearing) = self.wish.hearing(&self.actor, recorded, &payload) else { continue };
            let viewer = (hearing == Hearing::Own || self.wish.looks).then_some(&self.actor);
            must.push((*position, written(*position, &payload, hearing, viewer)));
        }
        must
    }

    /// Whether it has got all that it must have, and nothing else; so far, or to the end.
    pub(crate) fn is_right(&self, log: &[Event], to_the_end: bool) -> Result<bool, String> {
        let got = self.got.lock().expect("whole");
        if let Some(wrong) = &got.wrong {
            return Err(wrong.clone());
        }
        let Some(from) = got.from else { return Ok(!to_the_end) };
        let must = self.entitled(from, log);
        for (at, (position, response)) in got.results.iter().enumerate() {
            let right = must.get(at);
            if right.is_none_or(|(of, text)| of != position || **text != **response) {
                return Err(format!(
                    "client {} ({:?}, from {from}): result {at} is {response:?}, and must be {right:?}",
                    self.name, self.wish
                ));
            }
        }
        // Up to there nothing may be missing.
        let seen = got.seen.as_ref().map_or(from, |(seen, _)| *seen);
        if let Some((missing, _)) = must.get(got.results.len()).filter(|(position, _)| *position <= seen) {
            return Err(format!(
                "client {} ({:?}, from {from}): the event at {missing} has not come, though everything up to {seen} has",
                self.name, self.wish
            ));
        }
        // A quiet one gets no results: pings must take it to the end.
        let head = log.last().map_or(0, |last| last.position);
        Ok(got.results.len() == must.len() && (!to_the_end || seen >= head))
    }
}

/// As an event has it, or a list.
fn cursor((identity, log): (Uuid, &Log), position: i64) -> String {
    EventCursor { log: identity, position, mark: log.mark(position) }.encode()
}
