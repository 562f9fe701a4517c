//! Moments: what is none is refused where it comes in, and what is one is the same in the answer, in the event, in its
//! replay and in every later read.

use serde_json::{Value, json};

use super::{Scene, tells_nothing, with};
use crate::{
    on_both,
    support::{
        http::Reply,
        people::{Person, new_job, text},
        socket::Socket,
    },
};

/// What no door takes, and a word of the reason.
const REFUSED: [(&str, &str); 12] = [
    ("2099-12-31T23:59:60Z", "leap second"),
    ("2099-06-30T12:00:60.5+02:00", "leap second"),
    ("9999-12-31T23:59:59-00:01", "between"),
    ("9999-12-31T23:59:59.999-23:59", "between"),
    ("0000-01-01T00:00:00Z", "between"),
    ("0000-12-31T23:59:59.999Z", "between"),
    ("0001-01-01T00:00:00+23:59", "between"),
    ("10000-01-01T00:00:00Z", "RFC 3339"),
    ("-0001-01-01T00:00:00Z", "RFC 3339"),
    ("2099-12-31T24:00:00Z", "RFC 3339"),
    ("2099-02-30T00:00:00Z", "RFC 3339"),
    ("4070908800", "RFC 3339"),
];

fn refused(reply: &Reply, given: &str, word: &str) {
    tells_nothing(reply);
    assert_eq!(reply.code(), "BAD_USER_INPUT", "{given}: {reply}");
    let message = reply.at("/errors/0/message").as_str().expect("a message");
    assert!(message.contains(word), "{given}: {message:?} does not say {word}");
}

/// How many jobs were posted after this moment.
async fn posted_after(who: &Person, moment: &str) -> Reply {
    let query = "query($d: DateTime) { jobs(first: 1, filter: { postedAfter: $d }) { totalCount } }";
    who.run(query, json!({ "d": moment })).await
}

async fn count(who: &Person, moment: &str) -> i64 {
    posted_after(who, moment).await.data()["jobs"]["totalCount"].as_i64().expect("a number")
}

/// The deadline of the next event of a subscription.
async fn next_deadline(socket: &Socket, feed: &crate::support::socket::Subscription, field: &str) -> Value {
    socket.next(feed).await["data"][field]["job"]["deadline"].clone()
}

on_both! {
    async fn what_is_no_moment_is_refused_by_every_door(app: TestApp) {
        let scene = Scene::new(&app).await;
        let before = scene.footprint().await;
        let socket = app.socket(None).await;
        for (given, word) in REFUSED {
            let job = with(&new_job("A title", "1.00"), "deadline", given.into());
            refused(&scene.ada.post(job.clone()).await.reply, given, word);
            refused(&scene.ada.draft(job).await.reply, given, word);
            refused(&scene.ada.update(&scene.open, json!({ "deadline": given })).await.reply, given, word);
            refused(&posted_after(&app.anonymous(), given).await, given, word);
            let literal = format!("{{ jobs(first: 1, filter: {{ postedAfter: \"{given}\" }}) {{ totalCount }} }}");
            refused(&app.anonymous().run(&literal, json!({})).await, given, word);
            let query = "subscription($d: DateTime) { jobPosted(filter: { postedAfter: $d }) { id } }";
            let feed = socket.subscribe(query, json!({ "d": given }));
            let errors = socket.error(&feed).await;
            assert_eq!(errors[0]["extensions"]["code"], "BAD_USER_INPUT", "{given}: {errors}");
        }
        assert_eq!(scene.footprint().await, before);
    }

    async fn a_filter_compares_moments_and_not_texts(app: TestApp) {
        let ada = app.client("Ada").await;
        let first = text(&ada.post_job("The first").await, "/postedAt");
        let last = text(&ada.post_job("The last").await, "/postedAt");
        let anonymous = app.anonymous();
        for early in ["0001-01-01T00:00:00Z", "0000-12-31T23:59:59-23:59", "1970-01-01T00:00:00Z", "0999-01-01t00:00:00z"] {
            assert_eq!(count(&anonymous, early).await, 2, "{early}");
        }
        for late in ["9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59+23:59"] {
            assert_eq!(count(&anonymous, late).await, 0, "{late}");
        }
        let moment = chrono::DateTime::parse_from_rfc3339(&last).expect("a moment");
        let offset = chrono::FixedOffset::east_opt(5 * 3600 + 1800).expect("an offset");
        let elsewhere = moment.with_timezone(&offset);
        let spellings = [
            last.clone(),
            last.replace('Z', "+00:00"),
            last.to_lowercase(),
            last.replace('Z', "999Z"),
            elsewhere.to_rfc3339_opts(chrono::SecondsFormat::Millis, false),
        ];
        for same in spellings {
            assert_eq!(count(&anonymous, &same).await, 0, "after means after, to the millisecond: {same}");
        }
        let before = moment - chrono::TimeDelta::milliseconds(1);
        assert!(count(&anonymous, &before.to_rfc3339()).await >= 1, "{first} {last}");
    }

    async fn a_deadline_is_the_same_in_answer_event_replay_and_read(app: TestApp) {
        let ada = app.client("Ada").await;
        let socket = app.socket(None).await;
        let cursor = text(&ada.run("{ streamCursor }", json!({})).await.body, "/data/streamCursor");
        let query = |field: &str| format!("subscription($after: String) {{ {field}(after: $after) {{ job {{ deadline }} }} }}");
        let posted = socket.subscribe(&query("jobPosted"), json!({}));
        let updated = socket.subscribe(&query("jobUpdated"), json!({}));
        app.listening(2).await;
        for (given, kept) in [
            ("2099-11-21T09:30:00.123456789Z", "2099-11-21T09:30:00.123Z"),
            ("2099-11-21T09:30:59.9999+00:00", "2099-11-21T09:30:59.999Z"),
            ("2099-11-21t23:30:00-02:30", "2099-11-22T02:00:00.000Z"),
            ("9999-12-30T23:59:59.999Z", "9999-12-30T23:59:59.999Z"),
        ] {
            let job = with(&new_job("With a deadline", "1.00"), "deadline", given.into());
            let answer = ada.mutate("postJob", job, "job { id deadline }").await.good();
            assert_eq!(answer["job"]["deadline"], kept, "{given}");
            assert_eq!(next_deadline(&socket, &posted, "jobPosted").await, kept, "{given}");
            let id = text(&answer, "/job/id");
            ada.update(&id, json!({ "deadline": null })).await.good();
            assert_eq!(next_deadline(&socket, &updated, "jobUpdated").await, Value::Null);
            let changed = ada.update(&id, json!({ "deadline": given })).await.good();
            assert_eq!(changed["job"]["deadline"], kept);
            assert_eq!(next_deadline(&socket, &updated, "jobUpdated").await, kept, "{given}");
            let read = ada.run("query($id: ID!) { job(id: $id) { deadline } node(id: $id) { ... on Job { deadline } } }", json!({ "id": id })).await;
            assert_eq!((&read.data()["job"]["deadline"], &read.data()["node"]["deadline"]), (&json!(kept), &json!(kept)));
            let listed = ada.run("{ jobs(first: 1) { nodes { deadline } } }", json!({})).await;
            assert_eq!(listed.data()["jobs"]["nodes"][0]["deadline"], kept);
        }
        let replayed = socket.subscribe(&query("jobPosted"), json!({ "after": cursor }));
        assert_eq!(next_deadline(&socket, &replayed, "jobPosted").await, "2099-11-21T09:30:00.123Z");
        let page = "query($after: String) { events(first: 1, after: $after) { nodes { ... on JobPostedEvent { job { deadline } } } } }";
        let page = app.anonymous().run(page, json!({ "after": cursor })).await;
        assert_eq!(page.data()["events"]["nodes"][0]["job"]["deadline"], "2099-11-21T09:30:00.123Z");
    }
}
