//! Rows past their time are deleted, in steps along an index, and no others.

use chrono::TimeDelta;
use lancewire::{
    auth::old_sessions::OldSessions,
    db::Backend,
    events::{FIRST_KEPT, FORGET_STEP, FORGOTTEN_SO_FAR, LAST_OF_STEP},
    idempotency::OldKeys,
    notifications::OldNotifications,
    retention::Prune,
};
use sea_orm::{ConnectionTrait, Statement};
use serde_json::json;

use crate::{
    on_both,
    support::{
        app::{TestApp, WEEK},
        people::{PASSWORD, Person, new_job, text},
    },
};

/// Takes steps of this size until there is nothing left to remove; how many rows that were.
async fn prune(app: &TestApp, rows: &dyn Prune, most: u32) -> u64 {
    let now = app.app.db.now().await.expect("the time");
    let mut removed = 0;
    loop {
        match rows.step(now, most).await.expect("a step") {
            0 => return removed,
            more => removed += more,
        }
    }
}

/// So many events more, each like one that is there, with their positions.
async fn db_many_events(app: &TestApp, count: u32) {
    let columns = "kind, subject_id, subject_version, is_public, owner_id, claimant_id, payload, occurred_at";
    let sql = format!(
        "INSERT INTO events (event_id, {columns}) SELECT {{fresh}}, {columns} FROM \
         (SELECT * FROM events WHERE kind = 'SESSION_ENDED' ORDER BY id LIMIT 1) AS one, \
         (WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) \
          SELECT n FROM numbers) AS many"
    );
    app.db_run(&app.db_dialect(&sql)).await;
    app.app.services.hub.log().stamp().await.expect("a stamp");
}

/// A statement with its values in place, explained by the database: one text.
async fn plan(app: &TestApp, sql: &str, values: &[i64]) -> String {
    let mut values = values.iter();
    let sql: String = sql
        .split('?')
        .enumerate()
        .map(
            |(place, part)| {
                if place == 0 { part.to_owned() } else { format!("{}{part}", values.next().expect("a value")) }
            },
        )
        .collect();
    let (explain, column) = match app.app.db.backend() {
        Backend::Sqlite => ("EXPLAIN QUERY PLAN", "detail"),
        // What deletes is not to be run here.
        Backend::Postgres if sql.starts_with("DELETE") => ("EXPLAIN (COSTS OFF)", "QUERY PLAN"),
        Backend::Postgres => ("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF)", "QUERY PLAN"),
    };
    let db = &app.app.db;
    let query = Statement::from_string(db.reader().get_database_backend(), format!("{explain} {sql}"));
    let rows = db.writer().query_all_raw(query).await.expect("a plan");
    let lines: Vec<String> = rows.iter().map(|row| row.try_get("", column).expect("a line")).collect();
    lines.join("\n")
}

async fn sign_out(person: &Person) {
    person.run("mutation { signOut { errors { __typename } } }", json!({})).await;
}

on_both! {
    async fn a_step_walks_no_more_than_it_forgets(app: TestApp) {
        sign_out(&app.freelancer("Ben").await).await;
        db_many_events(&app, 50_000).await;
        app.db_age().await;
        let log = app.app.services.hub.log();
        assert_eq!(log.forget(WEEK, 1_000).await.expect("it forgets"), 1_000);
        let head = log.stamp().await.expect("a stamp");
        // As the next step asks, with 49,000 events still past their time.
        for (sql, values) in [
            (FIRST_KEPT, &[1_000][..]),
            (LAST_OF_STEP, &[1_000, 2_000]),
            (FORGET_STEP, &[1_000, 2_000]),
            (FORGOTTEN_SO_FAR, &[i64::MAX]),
        ] {
            let plan = plan(&app, sql, values).await;
            match app.app.db.backend() {
                Backend::Sqlite if sql == FORGOTTEN_SO_FAR => assert!(!plan.contains("SCAN events\n"), "{sql}: {plan}"),
                Backend::Sqlite => {
                    assert!(plan.contains("SEARCH events") && !plan.contains("SCAN"), "{sql}: {plan}");
                    let both_ends = plan.contains("(position>? AND position<?)") || sql == FIRST_KEPT;
                    assert!(both_ends, "{sql} is not bounded on both sides: {plan}");
                }
                Backend::Postgres if sql.starts_with("DELETE") => {
                    let bounded = plan.contains("> 1000) AND") && plan.contains("<= 2000)");
                    assert!(plan.contains("Index Cond") && bounded, "{sql}: {plan}");
                }
                // Pages, of which a walk over all would touch a thousand.
                Backend::Postgres => {
                    let pages = plan.lines().find_map(|line| line.split("Buffers: shared hit=").nth(1));
                    let pages = pages.map(|rest| rest.split(' ').next().expect("a number"));
                    let pages: u64 = pages.map_or(0, |pages| pages.parse().expect("a number"));
                    assert!(pages < 20, "{sql} touches {pages} pages: {plan}");
                }
            }
        }
        let mut steps = 1;
        while log.forget(WEEK, 5_000).await.expect("it forgets") > 0 {
            steps += 1;
        }
        assert!(steps >= 11, "{steps} steps of 5,000");
        assert_eq!(app.db_number("SELECT COUNT(*) FROM events").await, 0);
        assert_eq!(app.db_number("SELECT forgotten_position FROM event_log").await, head);
        // What comes later is kept, and found without walking what is gone.
        app.client("Ada").await.post_job("After all that").await;
        assert_eq!(log.forget(WEEK, 5_000).await.expect("nothing to do"), 0);
    }

    async fn how_late_the_removal_of_events_is_can_be_told(app: TestApp) {
        app.client("Ada").await.post_job("Old").await;
        app.db_age().await;
        let log = app.app.services.hub.log();
        let old = lancewire::events::OldEvents::new(log.clone(), WEEK);
        let overdue = async |later: TimeDelta| {
            let now = app.app.db.now().await.expect("the time") + later;
            old.overdue(now).await.expect("a time").num_hours()
        };
        assert_eq!(overdue(TimeDelta::hours(5)).await, 5);
        old.prepare().await.expect("noted");
        assert_eq!(overdue(TimeDelta::hours(5)).await, 5, "a look alone removes nothing");
        app.db_forget().await;
        assert_eq!(overdue(TimeDelta::hours(5)).await, 0);
    }

    async fn a_session_goes_with_its_last_refresh_token_and_a_day_after_its_end(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        let [expired, half, ended, live] =
            [ada.sign_in_again().await, ada.sign_in_again().await, ada.sign_in_again().await, ada.sign_in_again().await];
        let session = async |person: &Person| {
            let hash = sha2(&person.refresh_token);
            app.db_number(&format!("SELECT COUNT(*) FROM refresh_tokens WHERE hash = {}", blob(&app, &hash))).await
        };
        let refresh = "mutation($token: String!) { refreshSession(input: { refreshToken: $token }) { user { id } } }";
        // One that was refreshed has an old token and a new one.
        half.run(refresh, json!({ "token": half.refresh_token })).await;
        sign_out(&ended).await;
        let rows = || app.db_number("SELECT COUNT(*) FROM sessions");
        assert_eq!(prune(&app, &OldSessions::new(app.app.db.clone()), 3).await, 0, "nothing is past its time");
        let all = rows().await;
        for old in [&expired, &half] {
            let old = blob(&app, &sha2(&old.refresh_token));
            app.db_run(&format!("UPDATE refresh_tokens SET expires_at = created_at WHERE hash = {old}")).await;
        }
        let removed = prune(&app, &OldSessions::new(app.app.db.clone()), 3).await;
        assert_eq!(removed, 2, "two tokens; what has ended stays for a day");
        let day = match app.app.db.backend() {
            Backend::Sqlite => "UPDATE sessions SET ended_at = '2020-01-01 00:00:00+00:00' WHERE ended_at IS NOT NULL",
            Backend::Postgres => "UPDATE sessions SET ended_at = '2020-01-01' WHERE ended_at IS NOT NULL",
        };
        app.db_run(day).await;
        prune(&app, &OldSessions::new(app.app.db.clone()), 3).await;
        assert_eq!(rows().await, all - 2, "the expired and the ended one");
        assert_eq!([session(&expired).await, session(&half).await, session(&live).await], [0, 0, 1]);
        for (person, works) in [(&expired, false), (&half, true), (&ended, false), (&live, true), (&ben, true)] {
            let reply = person.run("{ viewer { id } }", json!({})).await;
            assert_eq!(reply.body.pointer("/data/viewer/id").is_some(), works, "{reply}");
        }
    }

    async fn a_key_is_remembered_for_its_time_and_then_has_its_effect_again(app: TestApp) {
        let ada = app.client("Ada").await;
        let job = new_job("Once", "10.00");
        let first = text(&ada.post(job.clone()).await.good(), "/job/id");
        let old = OldKeys::new(app.app.db.clone(), TimeDelta::days(7));
        assert_eq!(prune(&app, &old, 2).await, 0);
        assert_eq!(text(&ada.post(job.clone()).await.good(), "/job/id"), first);
        let all = app.db_number("SELECT COUNT(*) FROM idempotency_keys").await;
        let now = app.app.db.now().await.expect("the time");
        let (past, recent) = (now - TimeDelta::days(8), now - TimeDelta::days(6));
        for (at, which) in [(recent, "mutation <> 'postJob'"), (past, "mutation = 'postJob'")] {
            let sql = format!("UPDATE idempotency_keys SET created_at = ? WHERE {which}");
            let db = &app.app.db;
            db.writer().execute_raw(db.statement(&sql, [at.into()])).await.expect("aged");
        }
        assert_eq!(old.overdue(app.app.db.now().await.expect("the time")).await.expect("a time").num_hours(), 24);
        assert_eq!(prune(&app, &old, 2).await, 1);
        assert_eq!(app.db_number("SELECT COUNT(*) FROM idempotency_keys").await, all - 1);
        assert_ne!(text(&ada.post(job).await.good(), "/job/id"), first);
    }

    async fn what_was_read_goes_after_its_time_and_what_was_not_much_later(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        for number in 0..4 {
            let job = text(&ada.post_job(&format!("Job {number}")).await, "/id");
            ben.claim(&job).await.good();
        }
        let inbox = async || {
            let query = "{ viewer { notifications(first: 10) { nodes { id title readAt } unreadCount } } }";
            ada.run(query, json!({})).await.data()["viewer"]["notifications"].clone()
        };
        let all = inbox().await;
        let second = text(&all, "/nodes/2/id");
        ada.mutate("markNotificationsRead", json!({ "upToId": second }), "viewer { id }").await.good();
        let old = |read, unread| OldNotifications::new(app.app.db.clone(), TimeDelta::days(read), TimeDelta::days(unread));
        assert_eq!(prune(&app, &old(90, 365), 1).await, 0);
        // The settings keep what was read for longer than its event.
        app.db_age().await;
        app.db_forget().await;
        // The least that can be kept: nothing.
        assert_eq!(prune(&app, &old(0, 365), 1).await, 2);
        let left = inbox().await;
        assert_eq!((left["nodes"].as_array().map(Vec::len), &left["unreadCount"]), (Some(2), &json!(2)), "{left:#}");
        let node = "query($id: ID!) { node(id: $id) { id } }";
        assert!(ada.run(node, json!({ "id": second })).await.data()["node"].is_null());
        assert_eq!(prune(&app, &old(0, 0), 1).await, 2);
    }

    async fn any_number_of_sessions_ends_at_once(app: TestApp) {
        const MANY: i64 = 20_000;
        let ada = app.client("Ada").await;
        let others = [ada.sign_in_again().await, ada.sign_in_again().await];
        let (fresh, user) = (app.db_dialect("{fresh}"), uuid(&app, &ada.id));
        app.db_run(&format!(
            "INSERT INTO sessions (id, user_id, created_at, epoch) SELECT {fresh}, u.id, u.created_at, 0 FROM users u, \
             (WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {MANY}) \
              SELECT n FROM numbers) AS many WHERE u.id = {user}"
        ))
        .await;
        let events = || app.db_number("SELECT COUNT(*) FROM events");
        let (statements, before) = (app.app.db.statements(), events().await);
        let input = json!({ "currentPassword": PASSWORD, "newPassword": "quite another secret" });
        let fields = "session { accessToken refreshToken }";
        let changed = ada.mutate("changePassword", input, fields).await.good();
        assert!(app.app.db.statements() - statements < 40, "{} statements", app.app.db.statements() - statements);
        assert!(events().await - before <= 1, "{} events", events().await - before);
        let viewer = "{ viewer { id } }";
        for other in &others {
            let refused = other.run(viewer, json!({})).await;
            assert_eq!(refused.code(), "UNAUTHENTICATED", "{refused}");
            let refresh = json!({ "refreshToken": other.refresh_token });
            assert_eq!(app.anonymous().mutate("refreshSession", refresh, "user { id }").await.code(), "INVALID_CREDENTIALS");
        }
        // The session that asked goes on, with its old token and the new ones, and new sign-ins work.
        let new = Person { token: Some(text(&changed, "/session/accessToken").into()), ..ada.clone() };
        for person in [&ada, &new] {
            assert_eq!(person.run(viewer, json!({})).await.data()["viewer"]["id"], json!(ada.id));
        }
        let refresh = json!({ "refreshToken": text(&changed, "/session/refreshToken") });
        app.anonymous().mutate("refreshSession", refresh, "user { id }").await.good();
        let again = json!({ "email": ada.email, "password": "quite another secret" });
        let session = app.anonymous().mutate("signIn", again, fields).await.good();
        let late = Person { token: Some(text(&session, "/session/accessToken").into()), ..ada.clone() };
        assert_eq!(late.run(viewer, json!({})).await.data()["viewer"]["id"], json!(ada.id));

        let live = format!("SELECT COUNT(*) FROM sessions WHERE user_id = {user} AND ended_at IS NULL");
        assert!(app.db_number(&live).await > MANY - 200, "their own rows say nothing yet");
        prune(&app, &OldSessions::new(app.app.db.clone()), 3_000).await;
        assert_eq!(app.db_number(&live).await, 2);
        let reason = json!({ "userId": ada.id, "suspended": true, "reason": "Enough." });
        app.admin().await.mutate("setUserSuspended", reason, "user { id }").await.good();
        let reinstated = json!({ "userId": ada.id, "suspended": false, "reason": "Again." });
        app.admin().await.mutate("setUserSuspended", reinstated, "user { id }").await.good();
        assert_eq!(late.run(viewer, json!({})).await.code(), "UNAUTHENTICATED");
    }
}

fn sha2(token: &str) -> Vec<u8> {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    use sha2::{Digest, Sha256};
    Sha256::digest(BASE64_URL_SAFE_NO_PAD.decode(token).expect("a token")).to_vec()
}

/// Bytes as SQL writes them.
fn blob(app: &TestApp, bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    match app.app.db.backend() {
        Backend::Sqlite => format!("x'{digits}'"),
        Backend::Postgres => format!("'\\x{digits}'::bytea"),
    }
}

/// An id as SQL writes it.
fn uuid(app: &TestApp, id: &str) -> String {
    let id: lancewire::ids::UserId = id.parse().expect("an id");
    let id = uuid::Uuid::from(id);
    match app.app.db.backend() {
        Backend::Sqlite => blob(app, id.as_bytes()),
        Backend::Postgres => format!("'{id}'::uuid"),
    }
}
