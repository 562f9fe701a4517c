//! Who may receive an event is a list: any number of users, of whom the version before knows two.

use lancewire::{
    domains,
    events::{Audience, EventLog, Hearing, Listener, MOST_USERS, NewEvent, record},
    ids::UserId,
    jobs::events::JOB_UPDATED,
    wallet::events::WALLET_UPDATED,
};
use sea_orm::DbErr;

use crate::{on_both, support::app::TestApp};

async fn db_record(app: &TestApp, audience: Audience) -> Result<(), DbErr> {
    let ids = app.app.db.ids();
    let event = &NewEvent {
        id: ids.next(),
        kind: WALLET_UPDATED,
        subject: uuid::Uuid::nil(),
        subject_version: 1,
        audience,
        payload: "{}".into(),
        occurred_at: app.app.clock.now(),
    };
    app.app.db.transact(|tx| async move { record(&tx, event.clone()).await }).await
}

async fn found_by(log: &EventLog, user: Option<UserId>, admin: bool) -> Vec<i64> {
    let head = log.stamp().await.expect("a stamp");
    let listener = Listener { user, admin };
    let mut found = Vec::new();
    for backward in [false, true] {
        let page = log.heard_by(listener, (0, head + 1), 10, backward).await.expect("a page");
        let positions: Vec<i64> = page.iter().map(|event| event.position).collect();
        assert!(positions.is_sorted());
        found.push(positions);
    }
    assert_eq!(found[0], found[1], "a page from either end");
    let kinds: Vec<_> = domains::KINDS.iter().collect();
    let next = log.next_for(listener, &kinds, 0, head).await.expect("an answer");
    assert_eq!(next, found[0].first().copied());
    found.remove(0)
}

on_both! {
    async fn each_user_of_a_list_finds_the_event_and_nobody_else_does(app: TestApp) {
        app.db_tampered("7 ").await;
        let users: [UserId; 4] = std::array::from_fn(|_| app.app.db.ids().next());
        let log = EventLog::open(app.app.db.clone(), domains::KINDS).await.expect("a log");
        db_record(&app, Audience::of(users[..3].iter().copied())).await.expect("recorded");
        db_record(&app, Audience::of([users[2]])).await.expect("recorded");
        for (place, expected) in [&[1][..], &[1], &[1, 2], &[]].into_iter().enumerate() {
            assert_eq!(found_by(&log, Some(users[place]), false).await, expected, "user {place}");
        }
        assert_eq!(found_by(&log, None, false).await, [0; 0]);
        assert_eq!(found_by(&log, None, true).await, [0; 0], "not for admins");
        let events = log.after(0, 10).await.expect("events");
        let audience = &events[0].recorded.audience;
        assert_eq!(audience.users(), &users[..3]);
        assert_eq!(audience.hearing(WALLET_UPDATED, Some(users[2]), false), Some(Hearing::Own));
        assert_eq!(audience.hearing(WALLET_UPDATED, Some(users[3]), true), None);

        let many = (0..=MOST_USERS).map(|_| app.app.db.ids().next::<UserId>());
        db_record(&app, Audience::of(many)).await.expect_err("too many");
        assert_eq!(log.stamp().await.expect("a stamp"), 2, "and nothing was recorded");
    }

    /// The version before knows no list, and its events are found by the same readers.
    async fn events_of_the_version_before_are_found_by_owner_claimant_admins_and_everybody(app: TestApp) {
        app.db_tampered("7 ").await;
        let log = EventLog::open(app.app.db.clone(), domains::KINDS).await.expect("a log");
        let columns = "event_id, kind, subject_id, subject_version, is_public, owner_id, claimant_id, payload, occurred_at";
        let [owner, claimant]: [UserId; 2] = std::array::from_fn(|_| app.app.db.ids().next());
        let spelled = |id: UserId| match app.app.db.backend() {
            lancewire::db::Backend::Sqlite => format!("x'{}'", uuid::Uuid::from(id).simple()),
            lancewire::db::Backend::Postgres => format!("CAST('{}' AS uuid)", uuid::Uuid::from(id)),
        };
        for (kind, public) in [("JOB_UPDATED", "{true}"), ("JOB_UPDATED", "NOT {true}"), ("CLAIM_UPDATED", "NOT {true}")] {
            let sql = format!(
                "INSERT INTO events ({columns}) VALUES ({{fresh}}, '{kind}', {{fresh}}, 1, {public}, {}, {}, '{{}}', \
                 '2026-11-01T00:00:00Z')",
                spelled(owner),
                spelled(claimant)
            );
            app.db_run(&app.db_dialect(&sql)).await;
        }
        assert_eq!(found_by(&log, Some(owner), false).await, [1, 2, 3]);
        assert_eq!(found_by(&log, Some(claimant), false).await, [1, 2, 3]);
        assert_eq!(found_by(&log, Some(app.app.db.ids().next()), false).await, [1]);
        assert_eq!(found_by(&log, None, true).await, [1, 2]);
        let events = log.after(0, 10).await.expect("events");
        assert_eq!(events[1].recorded.audience, Audience::of([owner, claimant]).admins(true));
        assert_eq!(events[1].recorded.kind, JOB_UPDATED);
        assert_eq!(events[2].recorded.audience, Audience::of([owner, claimant]));

        // What is forgotten is found by nobody, and leaves nothing behind.
        app.db_age().await;
        app.db_forget().await;
        assert_eq!(app.db_number("SELECT COUNT(*) FROM event_viewers").await, 0);
    }
}
