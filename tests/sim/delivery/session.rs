//! A client with one subscription, through all its connections, and what it must get.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::future::{BoxFuture, FutureExt};
use lancewire::{
    auth::actor::{Actor, Origin},
    events::{Event, EventCursor, EventKind, Hearing, ResumeError},
    realtime::{Delivery, Executed, Execution, FeedEnd, Hub, Interest, Offer, Outlet, Payload, SharingKey},
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

impl Execution for Writing {
    fn execute<'a>(
        &'a self,
        delivery: &'a Arc<Delivery>,
        hearing: Hearing,
        viewer: Option<Origin>,
    ) -> BoxFuture<'a, Executed> {
        async move {
            // Some wait for the database.
            if self.chance.once_in(6) {
                self.chance.pause(40).await;
            }
            let payload = delivery.payload::<String>().map_or("unreadable", String::as_str);
            let response = written(delivery.position(), payload, hearing, viewer.as_ref().map(|viewer| &viewer.actor));
            Executed { response: response.into(), looked_at_viewer: self.wish.looks, failed: false }
        }
        .boxed()
    }
}

/// The way to a reader.
pub(crate) struct Way {
    waiting: Mutex<VecDeque<Payload>>,
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

    async fn next(&self) -> Payload {
        loop {
            if let Some(payload) = self.waiting.lock().expect("whole").pop_front() {
                self.taken.notify_one();
                return payload;
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
}

impl Outlet for Way {
    fn offer(&self, payloads: &[Payload]) -> Offer {
        let mut waiting = self.waiting.lock().expect("whole");
        let taken = payloads.len().min(self.room.saturating_sub(waiting.len()));
        waiting.extend(payloads[..taken].iter().cloned());
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
}

impl Client {
    /// One connection to a node, for as long as it lasts. Says whether the node could be used at all.
    pub(crate) async fn connect(&self, hub: &Hub, log: (Uuid, &Log), calm: &AtomicBool, chance: &Chance) -> bool {
        let after = {
            let got = self.got.lock().expect("whole");
            got.results.last().map(|(position, _)| *position).or(got.from)
        };
        let after = match after {
            None => hub.head(),
            Some(position) => {
                let cursor = EventCursor { log: log.0, position, mark: log.1.mark(position) }.encode();
                match hub.resume_point(&[("after", &cursor)]).await {
                    Ok(Some(after)) => after,
                    // It reads its list anew.
                    Err(ResumeError::Expired) => {
                        chance.line(format!("client {}: expired", self.name));
                        *self.got.lock().expect("whole") = Got::default();
                        return true;
                    }
                    Ok(None) | Err(_) => return false,
                }
            }
        };
        self.got.lock().expect("whole").from.get_or_insert(after);
        let way = Arc::new(Way::new(1 + chance.below(24)));
        let execution = Writing { wish: self.wish, chance: chance.clone() };
        let viewer = Origin { actor: self.actor, address: IpAddr::V4(Ipv4Addr::LOCALHOST) };
        let key = SharingKey::new(&format!("{:?}", self.wish));
        let interest = Interest::all(self.wish.kind);
        let outlet: Arc<dyn Outlet> = Arc::clone(&way) as Arc<dyn Outlet>;
        let feed = hub.join(key, interest, execution, Some(after), viewer, outlet);
        let served = async {
            let mut feed = feed;
            loop {
                match feed.catch_up().await {
                    Ok(live) => {
                        let position = way.lagged_at().await;
                        feed = live.lagged(position);
                    }
                    Err(end) => return end,
                }
            }
        };
        let read = async {
            loop {
                let Payload { response, position } = way.next().await;
                chance.line(format!("client {}: {response}", self.name));
                self.got.lock().expect("whole").results.push((position, response));
                if !calm.load(Ordering::Relaxed) {
                    chance.pause(if self.slow { 120 } else { 3 }).await;
                }
            }
        };
        tokio::select! {
            biased;
            () = read => {}
            end = served => {
                chance.line(format!("client {}: {end:?}", self.name));
                if end == FeedEnd::Expired {
                    *self.got.lock().expect("whole") = Got::default();
                }
            }
        }
        true
    }

    /// What must have come, of all that the log ever had.
    fn entitled(&self, from: i64, log: &[Event]) -> Vec<(i64, String)> {
        let mut must = Vec::new();
        for event in log.iter().filter(|event| event.position > from && event.recorded.kind == self.wish.kind) {
            let audience = event.recorded.audience;
            let user = self.actor.user();
            let party = user == Some(audience.owner) || (user.is_some() && user == audience.claimant);
            // The table of who receives what, once more.
            let hearing = match event.recorded.kind {
                EventKind::JobPosted => Some(Hearing::Public),
                EventKind::JobUpdated if party || self.actor.is_admin() => Some(Hearing::Own),
                EventKind::JobUpdated => audience.public.then_some(Hearing::Public),
                _ => party.then_some(Hearing::Own),
            };
            let Some(hearing) = hearing else { continue };
            let payload: String = serde_json::from_str(&event.recorded.payload).expect("a text");
            let viewer = (hearing == Hearing::Own || self.wish.looks).then_some(&self.actor);
            must.push((event.position, written(event.position, &payload, hearing, viewer)));
        }
        must
    }

    /// Whether it has got all that it must have, and nothing else; so far, or to the end.
    pub(crate) fn is_right(&self, log: &[Event], to_the_end: bool) -> Result<bool, String> {
        let got = self.got.lock().expect("whole");
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
        Ok(got.results.len() == must.len())
    }
}
