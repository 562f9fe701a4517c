//! A client that was away misses nothing: subscriptions resume after a cursor, `events` shows the same stream over
//! HTTP, and `streamCursor` closes the gap between a list and its stream.

use lancewire::events::{Audience, EventCursor, EventKind, Mark, NewEvent, record};
use serde_json::{Value, json};

use crate::{
    on_both,
    support::{app::TestApp, people::Person, people::text},
};

const POSTED: &str = "subscription($after: String) { jobPosted(after: $after) { id cursor occurredAt job { id title version status \
                      budget { amount currencyCode } skills { slug name } client { id displayName completedJobCount } \
                      description deadline postedAt createdAt updatedAt } } }";
const EVENTS: &str = "query($after: String, $before: String, $first: Int, $last: Int) { events(first: $first, after: $after, \
                      last: $last, before: $before) { edges { cursor node { __typename id ... on JobUpdatedEvent { changes \
                      job { id version escrow { amount } } } ... on JobPostedEvent { job { id } } ... on WalletUpdatedEvent \
                      { wallet { version } } } } pageInfo { hasNextPage hasPreviousPage endCursor startCursor } } }";

async fn cursor(person: &Person) -> String {
    text(&person.run("{ streamCursor }", json!({})).await.body, "/data/streamCursor")
}

/// All events that somebody hears from a cursor on, read in pages of `size`.
async fn follow(person: &Person, mut after: String, size: u32) -> Vec<Value> {
    let mut all = Vec::new();
    loop {
        let page = person.run(EVENTS, json!({ "after": after, "first": size })).await.data()["events"].clone();
        all.extend(page["edges"].as_array().cloned().unwrap_or_default());
        after = text(&page, "/pageInfo/endCursor");
        if page["pageInfo"]["hasNextPage"] == false {
            return all;
        }
    }
}

/// Takes so many events of a subscription.
async fn take(app: &TestApp, variables: Value, count: usize) -> Vec<Value> {
    let socket = app.socket(None).await;
    let feed = socket.subscribe(POSTED, variables);
    let mut seen = Vec::new();
    for _ in 0..count {
        seen.push(socket.next(&feed).await);
    }
    seen
}

on_both! {
    async fn a_replayed_event_is_the_live_one_byte_for_byte(app: TestApp) {
        let ada = app.client("Ada").await;
        let start = cursor(&ada).await;
        let socket = app.socket(None).await;
        let live = socket.subscribe(POSTED, json!({}));
        app.listening(1).await;
        for number in 0..12 {
            ada.post_job(&format!("Job {number}")).await;
        }
        let mut heard = Vec::new();
        for _ in 0..12 {
            heard.push(socket.next(&live).await);
        }
        let replayed = take(&app, json!({ "after": start }), 12).await;
        assert_eq!(format!("{heard:?}"), format!("{replayed:?}"));
        let rest = take(&app, json!({ "after": heard[6]["data"]["jobPosted"]["cursor"] }), 5).await;
        assert_eq!(rest, heard[7..], "a cursor is a place between two events");
    }

    async fn what_this_version_cannot_read_is_told_live_as_in_replay(app: TestApp) {
        let ada = app.client("Ada").await;
        let start = cursor(&ada).await;
        let socket = ada.socket().await;
        let react = json!({ "anySkill": ["react"] });
        let hers = json!({ "clientId": ada.id });
        let filtered = "subscription($after: String, $f: JobFilter) { jobPosted(after: $after, filter: $f) { cursor job { title } } }";
        let filters = [json!(null), react, hers];
        let live: Vec<_> = filters.iter().map(|filter| socket.subscribe(filtered, json!({ "f": filter }))).collect();
        app.listening(3).await;
        app.db_tampered("7 what an event says of a job").await;
        let ids = app.app.db.ids();
        let later = NewEvent {
            id: ids.next(),
            kind: EventKind::JobPosted,
            subject: uuid::Uuid::from_u128(7),
            subject_version: 1,
            audience: Audience { public: true, owner: ids.next(), claimant: None },
            payload: "{ \"written\": \"by a later version\" }".into(),
            occurred_at: app.app.clock.now(),
        };
        let later = &later;
        let recorded = app.app.db.transact(|tx| async move { record(&tx, later.clone()).await });
        recorded.await.map_err(|error: sea_orm::DbErr| error).expect("it commits");
        app.published().await;
        for (filter, live) in filters.iter().zip(&live) {
            let told = socket.next(live).await;
            assert_eq!(told["errors"][0]["extensions"]["code"], "INTERNAL_SERVER_ERROR", "{filter}: {told}");
            let again = ada.socket().await;
            let replayed = again.subscribe(filtered, json!({ "f": filter, "after": start }));
            assert_eq!(format!("{:?}", again.next(&replayed).await), format!("{told:?}"), "{filter}");
        }
        ada.post_job("Readable").await;
        assert_eq!(socket.next(&live[0]).await["data"]["jobPosted"]["job"]["title"], "Readable", "and life goes on");
    }

    async fn the_seam_between_replay_and_live_is_exact(app: TestApp) {
        let ada = app.client("Ada").await;
        let start = cursor(&ada).await;
        // Posts go on while subscriptions begin: whatever side of the seam an event falls on, it comes once.
        let posting = async {
            for number in 0..60 {
                ada.post_job(&format!("Job {number}")).await;
            }
        };
        let taking = futures_util::future::join_all((0..8).map(|_| take(&app, json!({ "after": start.clone() }), 60)));
        let ((), records) = tokio::join!(posting, taking);
        let titles: Vec<String> = (0..60).map(|number| format!("Job {number}")).collect();
        for record in records {
            let seen: Vec<String> = record.iter().map(|event| text(event, "/data/jobPosted/job/title")).collect();
            assert_eq!(seen, titles);
        }
    }

    async fn events_shows_each_viewer_their_own_stream(app: TestApp) {
        let (ada, ben, eve) = (app.client("Ada").await, app.freelancer("Ben").await, app.freelancer("Eve").await);
        let start = cursor(&ada).await;
        let job = text(&ada.post_job("Port it").await, "/id");
        let claim = text(&ben.claim(&job).await.good(), "/claim/id");
        ben.submit(&claim).await.good();
        ben.submit(&claim).await.good();
        let kinds = |events: &[Value]| -> Vec<String> { events.iter().map(|edge| text(edge, "/node/__typename")).collect() };
        let of_job = ["JobPostedEvent", "JobUpdatedEvent", "JobUpdatedEvent"];
        for size in [1, 2, 100] {
            let public = follow(&app.anonymous(), start.clone(), size).await;
            assert_eq!(kinds(&public), of_job, "the second submission changes nothing public");
            assert_eq!(public[2]["node"]["changes"], json!(["STATUS"]));
            assert_eq!(public[2]["node"]["job"]["escrow"], Value::Null);
            assert_eq!(follow(&eve, start.clone(), size).await, public, "a stranger hears what everybody hears");
            let bens = follow(&ben, start.clone(), size).await;
            let of_claim = |edge: &Value| edge["node"]["__typename"] == "ClaimUpdatedEvent";
            assert_eq!(bens.iter().filter(|edge| of_claim(edge)).count(), 3, "each step of the claim: {bens:#?}");
            let bens: Vec<Value> = bens.into_iter().filter(|edge| !of_claim(edge)).collect();
            assert_eq!(kinds(&bens).len(), 4, "a party hears the second submission too: {bens:#?}");
            assert_eq!(bens[3]["node"]["changes"], json!(["CLAIM", "DELIVERABLE"]));
            assert_eq!(bens[3]["node"]["job"]["escrow"]["amount"], "100.00");
            let adas = kinds(&follow(&ada, start.clone(), size).await);
            assert_eq!(adas.iter().filter(|kind| *kind == "NotificationReceivedEvent").count(), 3);
            assert_eq!(adas.iter().filter(|kind| *kind == "WalletUpdatedEvent").count(), 1);
        }
        let last = ben.run(EVENTS, json!({ "last": 2, "after": start })).await.data()["events"].clone();
        assert_eq!(last["edges"].as_array().map(Vec::len), Some(2));
        assert_eq!(last["pageInfo"]["hasPreviousPage"], json!(true));
        let changes = last["edges"].as_array().into_iter().flatten().find(|edge| edge["node"]["changes"].is_array());
        let changes = changes.map(|edge| edge["node"]["changes"].clone());
        assert_eq!(changes, Some(json!(["CLAIM", "DELIVERABLE"])), "{last}");
        let nothing = follow(&eve, cursor(&eve).await, 10).await;
        assert_eq!(nothing, Vec::<Value>::new(), "an empty page says where it has read to, and ends there");
    }

    async fn a_right_that_was_lost_shows_no_private_field_of_older_events(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        let start = cursor(&ada).await;
        let job = text(&ada.post_job("Port it").await, "/id");
        let claim = text(&ben.claim(&job).await.good(), "/claim/id");
        let before = follow(&ben, start.clone(), 100).await;
        assert_eq!(before[1]["node"]["job"]["escrow"]["amount"], "100.00");
        ben.release(&claim).await.good();
        let after = follow(&ben, start, 100).await;
        assert_eq!(after[1]["node"]["changes"], json!(["STATUS", "CLAIM"]), "what one was told stays told");
        assert_eq!(after[1]["node"]["job"]["escrow"], Value::Null, "but today's rights decide the private fields");
    }

    async fn a_cursor_that_is_no_place_is_refused_with_its_reason(app: TestApp) {
        let ada = app.client("Ada").await;
        ada.post_job("Port it").await;
        let good = cursor(&ada).await;
        let ours = EventCursor::decode(&good).expect("a cursor");
        let other_log = EventCursor { log: uuid::Uuid::from_u128(7), ..ours }.encode();
        let ahead = EventCursor { position: ours.position + 1_000, ..ours }.encode();
        let other_event = EventCursor { mark: Mark::of(app.app.db.ids().next()), ..ours }.encode();
        let not_that_early = EventCursor { position: ours.position - 1, ..ours }.encode();
        let cases = [
            ("nonsense".to_owned(), "BAD_USER_INPUT"),
            ("' OR 1=1 --".to_owned(), "BAD_USER_INPUT"),
            (ahead, "CURSOR_EXPIRED"),
            (other_log, "CURSOR_EXPIRED"),
            (other_event, "CURSOR_EXPIRED"),
            (not_that_early, "CURSOR_EXPIRED"),
        ];
        let socket = app.socket(None).await;
        for (cursor, code) in cases {
            assert_eq!(ada.run(EVENTS, json!({ "first": 1, "after": cursor })).await.code(), code, "{cursor}");
            let refused = socket.subscribe(POSTED, json!({ "after": cursor }));
            assert_eq!(socket.error(&refused).await[0]["extensions"]["code"], code, "{cursor}");
        }
    }

    async fn retention_forgets_the_oldest_and_says_so(app: TestApp) {
        let ada = app.client("Ada").await;
        let start = cursor(&ada).await;
        ada.post_job("Old").await;
        let middle = cursor(&ada).await;
        app.db_age().await;
        ada.post_job("Young").await;
        let kept = cursor(&ada).await;
        app.db_forget().await;
        assert_eq!(ada.run(EVENTS, json!({ "first": 1, "after": start })).await.code(), "CURSOR_EXPIRED");
        assert_eq!(follow(&ada, middle.clone(), 10).await.len(), 2, "the job and the wallet");
        assert_eq!(take(&app, json!({ "after": middle }), 1).await[0]["data"]["jobPosted"]["job"]["title"], "Young");
        // With the log empty, the place where it stands is still a place, and no other event ever stood there.
        app.db_age().await;
        app.db_forget().await;
        assert_eq!(app.db_number("SELECT COUNT(*) FROM events").await, 0);
        assert_eq!(follow(&ada, kept.clone(), 10).await, Vec::<Value>::new());
        assert_eq!(cursor(&ada).await, kept, "what stood there is still known");
        let place = EventCursor::decode(&kept).expect("a cursor");
        let other_event = EventCursor { mark: Mark::of(app.app.db.ids().next()), ..place }.encode();
        assert_eq!(ada.run(EVENTS, json!({ "first": 1, "after": other_event })).await.code(), "CURSOR_EXPIRED");
        assert_eq!(ada.run(EVENTS, json!({ "first": 1, "after": middle })).await.code(), "CURSOR_EXPIRED");
        ada.post_job("Younger still").await;
        let posted = take(&app, json!({ "after": kept }), 1).await;
        assert_eq!(posted[0]["data"]["jobPosted"]["job"]["title"], "Younger still");
        app.app.services.hub.log().stamp().await.expect("a stamp");
    }
}
