//! A stranger with access to the bus and not to the database: reads everything, replays it, changes it, and forges
//! more. And a node that is on another database than the others.

use ::redis::{Client, aio::MultiplexedConnection};
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use futures_util::StreamExt;
use lancewire::jobs::events::JOB_POSTED;
use lancewire::wallet::events::WALLET_UPDATED;
use sea_orm::sqlx::postgres::PgListener;
use serde::Serialize;

use super::*;

/// What is inside a message, as `realtime/bus/message.rs` has it.
#[derive(Serialize)]
enum Content {
    Head(i64),
    Events(Vec<WireEvent>),
    Spending(Vec<u8>),
}

/// Position, what it follows, id, kind, subject and version, public, owner, claimant, time, payload.
type WireEvent = (i64, u64, Uuid, &'static str, Uuid, i64, bool, Uuid, Option<Uuid>, i64, Option<&'static str>);

/// A message that is right in all but the code, which only who has the key can make.
fn forged(at: i64, content: &Content) -> Vec<u8> {
    let code = [0; 16];
    [&[2], &code[..], &postcard::to_allocvec(&((7_u64, 1_u64, at), content)).expect("written")].concat()
}

struct Stranger {
    wire: StrangersWire,
    heard: Arc<Mutex<Vec<(String, Vec<u8>)>>>,
    lifecycle: Lifecycle,
}

enum StrangersWire {
    Redis(MultiplexedConnection),
    Postgres(sea_orm::DatabaseConnection),
}

impl Stranger {
    /// Listens to all that any node says.
    async fn at(ground: &Ground) -> Self {
        let heard = Arc::<Mutex<Vec<_>>>::default();
        let (notebook, lifecycle) = (Arc::clone(&heard), Lifecycle::new());
        let wire = match &ground.network {
            Network::Memory(_) => unreachable!("it has no wire"),
            Network::Redis(redis) => {
                let client = Client::open(format!("redis://{}", redis.addr())).expect("an address");
                let mut pubsub = client.get_async_pubsub().await.expect("it connects");
                pubsub.psubscribe("lancewire:*").await.expect("it listens");
                lifecycle.spawn_until_stopping(async move {
                    let mut messages = pubsub.on_message();
                    while let Some(message) = messages.next().await {
                        let said = (message.get_channel_name().to_owned(), message.get_payload_bytes().to_vec());
                        notebook.lock().expect("whole").push(said);
                    }
                });
                StrangersWire::Redis(client.get_multiplexed_async_connection().await.expect("it connects"))
            }
            Network::Postgres => {
                let mut listener = PgListener::connect(&ground.url).await.expect("it connects");
                listener.listen("lancewire_log").await.expect("it listens");
                lifecycle.spawn_until_stopping(async move {
                    while let Ok(said) = listener.recv().await {
                        // Also the strangers' own words.
                        let Ok(message) = BASE64_STANDARD_NO_PAD.decode(said.payload()) else { continue };
                        notebook.lock().expect("whole").push((said.channel().to_owned(), message));
                    }
                });
                StrangersWire::Postgres(sea_orm::Database::connect(&ground.url).await.expect("it connects"))
            }
        };
        Self { wire, heard, lifecycle }
    }

    fn heard(&self) -> Vec<(String, Vec<u8>)> {
        self.heard.lock().expect("whole").clone()
    }

    async fn say(&self, channel: &str, message: &[u8]) {
        match &self.wire {
            StrangersWire::Redis(connection) => {
                let said = ::redis::cmd("PUBLISH").arg(channel).arg(message).query_async(&mut connection.clone()).await;
                let _: i64 = said.expect("it is said");
            }
            StrangersWire::Postgres(_) => self.notify(&BASE64_STANDARD_NO_PAD.encode(message)).await,
        }
    }

    /// As it is; over PostgreSQL only.
    async fn notify(&self, text: &str) {
        let StrangersWire::Postgres(db) = &self.wire else { return };
        db.execute_unprepared(&format!("SELECT pg_notify('lancewire_log', '{text}')")).await.expect("it is said");
    }

    async fn leave(self) {
        self.lifecycle.shut_down(Duration::from_secs(5)).await;
        if let StrangersWire::Postgres(db) = self.wire {
            db.close().await.expect("closes");
        }
    }
}

/// All that can be done with the wire alone: nothing of it is delivered, nobody gives up anything, and a limit update that
/// is sent again counts once.
async fn what_a_stranger_says_is_not_believed(ground: Ground) {
    let polling = Pace { poll: Duration::from_millis(20), ..QUICK };
    let (one, two) = (ground.node(Treatment::Careful, polling).await, ground.node(Treatment::Careful, polling).await);
    let [ada, eve]: [UserId; 2] = std::array::from_fn(|_| one.ids.next());
    let listening = [
        one.listen(None, false, JOB_POSTED).await,
        two.listen(None, false, JOB_POSTED).await,
        two.listen(Some(ada), false, WALLET_UPDATED).await,
    ];
    let stranger = Stranger::at(&ground).await;
    for _ in 0..5 {
        one.record(JOB_POSTED, audience(true, eve, None)).await;
        one.record(WALLET_UPDATED, audience(false, ada, None)).await;
    }
    let spent = LimitUpdate { topic: Topic::SignUps, body: vec![1, 2, 3] };
    one.bus.tell(spent.clone());
    assert_eq!(soon(two.bus.told()).await, spent);
    all_hear(&one, &listening.each_ref()).await;
    let carries =
        |part: &[u8]| stranger.heard().iter().any(|(_, message)| message.windows(part.len()).any(|is| is == part));
    until("the stranger has heard the limit update, too", || carries(&[1, 2, 3])).await;

    let last = one.hub.log().after(0, 10_000).await.expect("readable").pop().expect("an event");
    let cursor = two.hub.log().cursor(last.position).expect("it is known");
    let now = one.hub.log().time().now_ms();
    for (channel, message) in stranger.heard() {
        stranger.say(&channel, &message).await;
        stranger.say(&channel, &message[..message.len() - 1]).await;
        for place in [0, 1, 17, 20, message.len() / 2, message.len() - 1] {
            let mut changed = message.clone();
            changed[place] ^= 1;
            stranger.say(&channel, &changed).await;
        }
    }
    let follows = Uuid::from(last.recorded.id).as_u64_pair().1;
    let invented = |position| {
        let (id, nobody) = (Uuid::from_u128(0x1234_5678), Uuid::from(eve));
        (position, follows, id, "JOB_POSTED", nobody, 1, true, nobody, None, now, Some("{\"kind\": \"JOB_POSTED\"}"))
    };
    let channels = stranger.heard().into_iter().map(|(channel, _)| channel);
    let channels: std::collections::BTreeSet<String> = channels.collect();
    for channel in &channels {
        for content in [
            Content::Events(vec![invented(last.position + 1)]),
            Content::Events(vec![invented(last.position + 2)]),
            Content::Events(vec![invented(i64::MAX)]),
            Content::Head(i64::MAX),
            Content::Spending(vec![9; 9]),
        ] {
            stranger.say(channel, &forged(now, &content)).await;
        }
        stranger.say(channel, b"").await;
    }
    // As nodes spoke before.
    stranger.notify("0123456789abcdef h 9223372036854775807").await;
    stranger.notify("0123456789abcdef s CQkJ").await;

    let polled = |node: &Node| node.db.statements() + 5;
    let (one_polls, two_polls) = (polled(&one), polled(&two));
    until("both have looked at the log", || one.db.statements() > one_polls && two.db.statements() > two_polls).await;
    one.record(JOB_POSTED, audience(true, eve, None)).await;
    all_hear(&one, &listening.each_ref()).await;
    let tried = LimitUpdate { topic: Topic::Attempts, body: vec![4] };
    one.bus.tell(tried.clone());
    assert_eq!(soon(two.bus.told()).await, tried, "what came before it was nobody's, or old");
    assert!(!one.lifecycle.has_failed() && !two.lifecycle.has_failed(), "nobody gives up anything");
    for node in [&one, &two] {
        let resumed = node.hub.resume_point(&[("after", &cursor)]).await.expect("it is good");
        assert_eq!(resumed, Some(last.position));
        assert_eq!(node.hub.log().head().await.expect("a head").position, last.position + 1);
    }
    drop(listening);
    stranger.leave().await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stranger_notifies_is_not_believed() {
    what_a_stranger_says_is_not_believed(Ground::notify().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stranger_publishes_on_redis_is_not_believed() {
    what_a_stranger_says_is_not_believed(Ground::redis().await).await;
}

/// For a while after a fail-over two nodes may be on two databases that were one, and believe each other. What the other
/// one has is delivered where it goes on from what was there, until the log is looked at; then the node begins anew, and
/// its history stays what it is. What does not go on from what was there is not delivered at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_on_another_history_makes_nobody_give_up_theirs() {
    let network = MemoryNetwork::default();
    let source = Ground::notify().await;
    let before = source.node(Treatment::Careful, QUICK).await;
    let ada: UserId = before.ids.next();
    for _ in 0..3 {
        before.record(WALLET_UPDATED, audience(false, ada, None)).await;
    }
    until("they have positions", || before.hub.head() == 3).await;
    before.stop().await;
    let lent = postgres::shared().await.copy(source.lent.as_ref().expect("a database")).await;
    let url = lent.url().to_owned();
    let copy = Ground { network: Network::Memory(network.clone()), url, lent: Some(lent), ..Ground::notify().await };
    let source = Ground { network: Network::Memory(network), ..source };

    let polling = Pace { poll: Duration::from_millis(20), ..QUICK };
    let ours = source.node(Treatment::Careful, polling).await;
    let other = copy.node(Treatment::Careful, QUICK).await;
    let identity = ours.hub.log().identity();
    assert_eq!(other.hub.log().identity(), identity);
    // It goes on from what both have; but our log has nothing there.
    other.record(WALLET_UPDATED, audience(false, ada, None)).await;
    until("it begins anew", || ours.lifecycle.has_failed()).await;
    ours.stop().await;
    let anew = source.node(Treatment::Careful, QUICK).await;
    assert_eq!((anew.hub.log().identity(), anew.hub.head()), (identity, 3), "with the history that it has");
    let cursor = anew.hub.log().cursor(3).expect("it is known");
    assert!(anew.hub.resume_point(&[("after", &cursor)]).await.is_ok(), "and its cursors");

    let listening = anew.listen(Some(ada), false, WALLET_UPDATED).await;
    anew.record(WALLET_UPDATED, audience(false, ada, None)).await;
    until("ours is delivered", || listening.heard().len() == 1).await;
    for _ in 0..5 {
        let reads = anew.db.statements();
        other.record(WALLET_UPDATED, audience(false, ada, None)).await;
        until("the log is asked", || anew.db.statements() > reads).await;
    }
    assert_eq!((anew.hub.head(), listening.heard().len()), (4, 1), "none of theirs goes on from ours");
    assert!(!anew.lifecycle.has_failed() && !other.lifecycle.has_failed());
    drop(listening);
    anew.stop().await;
    other.stop().await;
}
