//! Several nodes on one log: whatever a bus does to its messages, each node's subscribers receive every event once, in
//! order, and private events travel only to nodes that need them. The same stories for every bus.
//!
//! The nodes of these stories are in `node`: an event arrives by the bus, or because the tail has noticed that it is
//! missing.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, pending},
};
use lancewire::auth::events::{RIGHTS_CHANGED, SESSION_ENDED};
use lancewire::jobs::events::{JOB_POSTED, JOB_UPDATED};
use lancewire::notifications::events::NOTIFICATION_RECEIVED;
use lancewire::wallet::events::WALLET_UPDATED;
use lancewire::{
    app::open_database,
    auth::actor::{Actor, Origin, Principal, Roles},
    clock::Clock,
    config::{Config, Environment},
    db::{Backend, Db},
    events::{Audience, Event, EventKind, EventLog, Hearing, NewEvent, ResumeError, record},
    ids::{Ids, UserId},
    lifecycle::Lifecycle,
    realtime::{
        Announced, AskingSettings, Bus, Delivery, EventTerms, Executed, Execution, Feed, Free, Hub, HubSettings,
        Interest, LimitUpdate, Live, MemoryNetwork, Offer, Outlet, Pace, Party, Payload, PostgresBus, PresenceUpdate,
        RedisBus, Seal, SharingKey, Signal, Tail, Topic,
    },
};
use sea_orm::{ConnectionTrait, DbErr};
use tempfile::TempDir;
use tokio::time::timeout;
use url::Url;
use uuid::Uuid;

use crate::support::{
    app::{migrate, soon, until},
    postgres,
    proxy::{Proxy, Wire},
    redis::Redis,
};

mod node;
mod strangers;

use node::*;

/// Two nodes, listeners of every sort on both, and events of every sort from both.
async fn everybody_hears_of_everything(ground: Ground, treatment: Treatment) {
    let (one, two) = (ground.node(treatment, QUICK).await, ground.node(treatment, QUICK).await);
    let [ada, ben, eve]: [UserId; 3] = std::array::from_fn(|_| one.ids.next());
    let listening = [
        one.listen(None, false, JOB_POSTED).await,
        two.listen(None, false, JOB_POSTED).await,
        one.listen(Some(ada), false, WALLET_UPDATED).await,
        two.listen(Some(ben), false, WALLET_UPDATED).await,
        two.listen(Some(ada), false, JOB_UPDATED).await,
        two.listen(Some(eve), true, JOB_UPDATED).await,
        one.listen(Some(ben), false, NOTIFICATION_RECEIVED).await,
    ];
    let random = Ids::seeded(Clock::system(), 11);
    for number in 0..300 {
        let node = if random.below(2) == 0 { &one } else { &two };
        let owner = if random.below(2) == 0 { ada } else { ben };
        match random.below(5) {
            0 => node.record(JOB_POSTED, audience(true, owner, None)).await,
            1 => node.record(JOB_UPDATED, audience(false, owner, (owner == ada).then_some(ben))).await,
            2 => node.record(WALLET_UPDATED, audience(false, owner, None)).await,
            3 => node.record(NOTIFICATION_RECEIVED, audience(false, owner, None)).await,
            _ => node.record(JOB_UPDATED, audience(true, owner, None)).await,
        }
        // Somebody comes in the middle of it: what was on its way for nobody is now for them.
        if number == 150 {
            let late = two.listen(Some(ada), false, WALLET_UPDATED).await;
            let began = one.hub.log().stamp().await.expect("a stamp");
            one.record(WALLET_UPDATED, audience(false, ada, None)).await;
            until("one is as far", || one.hub.head() > began).await;
            let due = late.due(&one.hub.log().after(began, 100).await.expect("readable"));
            assert!(!due.is_empty());
            // And what was committed before, but had not come that far.
            until("the latecomer hears of it", || late.heard().ends_with(&due)).await;
        }
    }
    all_hear(&one, &listening.each_ref()).await;
    if treatment == Treatment::Careful && one.bus.carries_events() {
        // Nobody listens for Ada's inbox on the second node, nor for Ben's on the second.
        let strays = |node: &Node| {
            let bodies = node.bus.private_bodies.lock().expect("whole");
            bodies.iter().filter(|event| event.recorded.kind == NOTIFICATION_RECEIVED).count()
        };
        let of_nobody =
            one.bus.private_bodies.lock().expect("whole").iter().any(|event| event.recorded.audience.users()[0] == eve);
        assert!(!of_nobody && strays(&two) > 0, "the second node follows both, for other kinds of events");
    }
    drop(listening);
    one.stop().await;
    two.stop().await;
}

/// What nobody listens for comes without its body, and who begins to listen gets it nevertheless.
async fn private_bodies_go_where_they_are_wanted(ground: Ground) {
    // A machine that is busy must not look like a message that is lost.
    let patient = Pace { hold: Duration::from_secs(10), ..QUICK };
    let (one, two) = (ground.node(Treatment::Careful, patient).await, ground.node(Treatment::Careful, patient).await);
    let [ada, ben]: [UserId; 2] = std::array::from_fn(|_| one.ids.next());
    let hers = two.listen(Some(ada), false, WALLET_UPDATED).await;
    // One after the other, until a body has come and nothing was read: the bus may take a moment to hear that somebody
    // listens, and has the log asked when it begins.
    let mut told = 0;
    loop {
        let reads = two.db.statements();
        one.record(WALLET_UPDATED, audience(false, ada, None)).await;
        told += 1;
        until("she hears of it", || hers.heard().len() == told).await;
        if two.db.statements() == reads && !two.bus.private_bodies.lock().expect("whole").is_empty() {
            break;
        }
    }
    let began = two.hub.head();
    let reads = two.db.statements();
    for _ in 0..20 {
        one.record(WALLET_UPDATED, audience(false, ben, None)).await;
        one.record(WALLET_UPDATED, audience(false, ada, None)).await;
    }
    until("the other node is as far", || two.hub.head() == began + 40).await;
    assert_eq!(two.db.statements(), reads, "a node whose positions are contiguous reads nothing");
    let owners = |owner| {
        let bodies = two.bus.private_bodies.lock().expect("whole");
        bodies.iter().filter(|event| event.recorded.audience.users()[0] == owner).count()
    };
    assert_eq!(owners(ben), 0, "nobody wants it there");
    assert!(owners(ada) >= 20, "somebody does");
    all_hear(&one, &[&hers]).await;
    // Out of the ring, where his events have no bodies, and so out of the log.
    let his = two.listen_from(Some(ben), false, WALLET_UPDATED, Some(began)).await;
    assert_eq!(his.heard().len(), 20);
    all_hear(&one, &[&his]).await;
    drop((hers, his));
    one.stop().await;
    two.stop().await;
}

/// What nodes must know of each other, and clients must not.
async fn ends_of_sessions_reach_every_node(ground: Ground, treatment: Treatment) {
    let (one, two) = (ground.node(treatment, QUICK).await, ground.node(treatment, QUICK).await);
    let ada: UserId = one.ids.next();
    let listening = two.listen(Some(ada), true, JOB_UPDATED).await;
    for _ in 0..10 {
        one.record(SESSION_ENDED, audience(false, ada, None)).await;
        two.record(RIGHTS_CHANGED, audience(false, ada, None)).await;
    }
    // A observer may be told twice, never not at all.
    let ids = |node: &Node| {
        let mut ids: Vec<_> = node.observed.lock().expect("whole").iter().map(|event| event.id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    };
    until("both have heard of all", || ids(&one).len() == 20 && ids(&two).len() == 20).await;
    assert_eq!(ids(&one), ids(&two));
    assert_eq!(listening.heard(), [""; 0]);
    drop(listening);
    one.stop().await;
    two.stop().await;
}

async fn limit_updates_reach_the_others_and_not_their_sender(ground: Ground) {
    let nodes = [
        ground.node(Treatment::Careful, QUICK).await,
        ground.node(Treatment::Careful, QUICK).await,
        ground.node(Treatment::Careful, QUICK).await,
    ];
    let said = [(Topic::SignUps, vec![0, 255, 10, 13]), (Topic::Attempts, vec![7; LimitUpdate::LIMIT])];
    for (topic, body) in said.clone() {
        nodes[0].bus.tell(LimitUpdate { topic, body });
    }
    for node in &nodes[1..] {
        for (topic, body) in said.clone() {
            assert_eq!(soon(node.bus.told()).await, LimitUpdate { topic, body });
        }
    }
    // Who is there goes a way of its own, beside them.
    let update = PresenceUpdate { body: vec![9; PresenceUpdate::LIMIT] };
    nodes[0].bus.tell_presence(update.clone());
    for node in &nodes[1..] {
        assert_eq!(soon(node.bus.presence()).await, update);
    }
    // What comes back to the first is what the second has said, and nothing before it.
    nodes[1].bus.tell(LimitUpdate { topic: Topic::SignUps, body: vec![1] });
    assert_eq!(soon(nodes[0].bus.told()).await, LimitUpdate { topic: Topic::SignUps, body: vec![1] });
    for node in nodes {
        node.stop().await;
    }
}

/// The wire of the bus is cut and mended again and again: what came meanwhile is found, at the pace of the polls while it
/// is cut and at once afterwards.
async fn a_cut_costs_time_and_nothing_else(ground: Ground) {
    let ground = ground.wired();
    let polling = Pace { poll: Duration::from_millis(20), ..QUICK };
    let (one, two) = (ground.node(Treatment::Careful, polling).await, ground.node(Treatment::Careful, polling).await);
    let ada: UserId = one.ids.next();
    let listening = two.listen(Some(ada), false, WALLET_UPDATED).await;
    let mut told = 0;
    for wire in [Wire::Cut, Wire::Unplugged, Wire::Stalled] {
        ground.cut(wire);
        for _ in 0..10 {
            one.record(WALLET_UPDATED, audience(false, ada, None)).await;
            told += 1;
        }
        until("they come by the poll", || listening.heard().len() == told).await;
        if wire == Wire::Stalled {
            // Nobody says so: only silence tells.
            until("the silence is noticed", || !two.bus.is_connected()).await;
        }
        ground.cut(Wire::Open);
        until("both are back", || one.bus.is_connected() && two.bus.is_connected()).await;
        let brought = two.bus.brought.load(Ordering::Relaxed);
        one.record(WALLET_UPDATED, audience(false, ada, None)).await;
        told += 1;
        until("the bus speaks again", || two.bus.brought.load(Ordering::Relaxed) > brought).await;
    }
    all_hear(&one, &[&listening]).await;
    drop(listening);
    one.stop().await;
    two.stop().await;
}

/// A node that begins anew while the others go on; and one that commits and is never heard of again.
async fn what_a_node_left_unnumbered_is_numbered_by_the_others(ground: Ground) {
    let polling = Pace { poll: Duration::from_millis(20), ..QUICK };
    let one = ground.node(Treatment::Careful, polling).await;
    let two = ground.node(Treatment::Careful, polling).await;
    let ada: UserId = one.ids.next();
    let listening = one.listen(Some(ada), false, WALLET_UPDATED).await;
    // Its tail is gone; its last transaction commits.
    two.lifecycle.set_drained();
    assert!(two.lifecycle.shut_down(Duration::from_secs(5)).await);
    two.record(WALLET_UPDATED, audience(false, ada, None)).await;
    until("the other node finds it", || listening.heard().len() == 1).await;
    if two.db.backend() == Backend::Postgres {
        assert_eq!(one.hub.log().stamp().await.expect("a stamp"), one.hub.head());
    }
    drop(listening);
    one.stop().await;
    two.db.close().await;
}

/// As after a failover to a standby that lacked the last commits: the node that has delivered them says so and ends, so
/// does its neighbour, and the cursors of before are good no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_goes_back_gets_another_identity() {
    let ground = Ground::notify().await;
    let polling = Pace { poll: Duration::from_millis(20), ..QUICK };
    let one = ground.node(Treatment::Careful, polling).await;
    let two = ground.node(Treatment::Careful, polling).await;
    let ada: UserId = one.ids.next();
    for _ in 0..3 {
        one.record(WALLET_UPDATED, audience(false, ada, None)).await;
    }
    until("both have delivered", || one.hub.head() == 3 && two.hub.head() == 3).await;
    let cursor = one.hub.log().cursor(3).expect("it is known");
    // A replica fires no triggers: what a standby lacks is not deleted there either.
    let lost = "BEGIN; SET LOCAL session_replication_role = replica; DELETE FROM events WHERE position > 1; \
                UPDATE event_log SET last_position = 1; COMMIT";
    one.db.writer().execute_unprepared(lost).await.expect("lost");
    until("both must be started anew", || one.lifecycle.has_failed() && two.lifecycle.has_failed()).await;
    let anew = ground.node(Treatment::Careful, polling).await;
    assert_ne!(anew.hub.log().identity(), one.hub.log().identity());
    let resumed = anew.hub.resume_point(&[("after", &cursor)]).await;
    assert!(matches!(resumed, Err(ResumeError::Expired)), "{resumed:?}");
    anew.record(WALLET_UPDATED, audience(false, ada, None)).await;
    until("it goes on", || anew.hub.head() == 2).await;
    for node in [one, two, anew] {
        node.stop().await;
    }
}

/// Tells each story on each bus.
macro_rules! conformance {
    ($($bus:ident),+) => {$(
        mod $bus {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn everybody_hears_of_everything() {
                super::everybody_hears_of_everything(Ground::$bus().await, Treatment::Careful).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn everybody_does_although_it_drops_doubles_reorders_and_delays() {
                super::everybody_hears_of_everything(Ground::$bus().await, Treatment::Rough).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn everybody_does_although_no_event_ever_arrives() {
                super::everybody_hears_of_everything(Ground::$bus().await, Treatment::EventsLost).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn ends_of_sessions_reach_every_node() {
                super::ends_of_sessions_reach_every_node(Ground::$bus().await, Treatment::Rough).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn limit_updates_reach_the_others_and_not_their_sender() {
                super::limit_updates_reach_the_others_and_not_their_sender(Ground::$bus().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn what_a_node_left_unnumbered_is_numbered_by_the_others() {
                super::what_a_node_left_unnumbered_is_numbered_by_the_others(Ground::$bus().await).await;
            }
        }
    )+};
}

conformance!(memory, notify, redis);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_bodies_go_where_they_are_wanted_in_memory() {
    private_bodies_go_where_they_are_wanted(Ground::memory().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_bodies_go_where_they_are_wanted_over_redis() {
    private_bodies_go_where_they_are_wanted(Ground::redis().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_from_postgres_costs_time_and_nothing_else() {
    a_cut_costs_time_and_nothing_else(Ground::notify().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_from_redis_costs_time_and_nothing_else() {
    a_cut_costs_time_and_nothing_else(Ground::redis().await).await;
}
