//! The closed lists of the database are those of the code and of the API: a word that one of them lacks would be refused,
//! or could not be shown, where it is used for the first time.

use std::collections::BTreeSet;

use lancewire::{
    db::Backend,
    domains,
    notifications::model::{NotificationKind, SUBJECT_KINDS, Subject},
    wallet::ledger::JournalKind,
};
use sea_orm::{ConnectionTrait, DbErr};

use crate::{on_both, support::app::TestApp};

/// The words of `LIST IN ('A', 'B')`, wherever they stand in a definition.
fn words(definition: &str) -> BTreeSet<String> {
    let list = definition.split_once("IN (").or_else(|| definition.split_once("ARRAY[")).expect("a list").1;
    let end = list.find([')', ']']).expect("its end");
    list[..end].split('\'').skip(1).step_by(2).map(ToOwned::to_owned).collect()
}

async fn texts(app: &TestApp, sql: &str) -> Result<Vec<String>, DbErr> {
    let rows = app.app.db.reader().query_all_raw(app.app.db.statement(sql, [])).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}

/// What the database holds a column to, under that name.
async fn definitions(app: &TestApp, name: &str) -> Vec<String> {
    let sql = match app.app.db.backend() {
        Backend::Sqlite => {
            format!("SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name IN ('{name}', '{name}_of_update')")
        }
        Backend::Postgres => format!("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = '{name}'"),
    };
    texts(app, &sql).await.expect("definitions")
}

/// The values of an enum of the API.
fn shown(name: &str) -> BTreeSet<String> {
    let schema = include_str!("../../schema.graphql");
    let body = schema.split(&format!("\nenum {name} {{")).nth(1).expect("it is in the schema");
    let body = body.split("\n}").next().expect("its end");
    let mut prose = false;
    let mut values = BTreeSet::new();
    for line in body.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let quotes = line.matches("\"\"\"").count();
        if quotes == 0 && !prose && !line.starts_with('"') {
            values.insert(line.split([' ', '@']).next().expect("a word").to_owned());
        }
        prose ^= quotes == 1;
    }
    values
}

fn set<'a>(words: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    words.into_iter().map(ToOwned::to_owned).collect()
}

on_both! {
    async fn the_database_the_code_and_the_api_have_the_same_lists(app: TestApp) {
        for kind in SUBJECT_KINDS {
            assert!(Subject::from_columns(kind, uuid::Uuid::nil()).is_ok_and(|subject| subject.to_columns().0 == kind));
        }
        let notifications = set(NotificationKind::ALL.iter().map(|kind| kind.as_str()));
        assert_eq!(shown("NotificationKind"), notifications);
        for (name, code) in [
            ("events_kind_check", set(domains::KINDS.iter().map(lancewire::events::EventKind::as_str))),
            ("notifications_kind_check", notifications),
            ("notifications_subject_check", set(SUBJECT_KINDS)),
            ("journals_kind_check", set(JournalKind::ALL.iter().map(|kind| kind.as_str()))),
        ] {
            let definitions = definitions(&app, name).await;
            let count = if app.app.db.backend() == Backend::Sqlite { 2 } else { 1 };
            assert_eq!(definitions.len(), count, "{name}: {definitions:?}");
            for definition in &definitions {
                assert_eq!(words(definition), code, "{name}: {definition}");
            }
        }
    }

    async fn a_word_that_is_in_no_list_is_refused_by_the_name_of_the_list(app: TestApp) {
        let user = app.client("Ada").await;
        user.post_job("Told of").await;
        let refused = async |sql: &str| {
            let sql = app.db_dialect(sql);
            app.app.db.writer().execute_unprepared(&sql).await.expect_err("it is refused").to_string()
        };
        let event = "INSERT INTO events (event_id, kind, subject_id, subject_version, is_public, owner_id, payload, occurred_at) \
                     SELECT {fresh}, 'JOB_POSTDE', subject_id, 1, is_public, owner_id, payload, occurred_at FROM events";
        assert!(refused(event).await.contains("events_kind_check"));
        let journal = "INSERT INTO journals (id, kind, created_at) SELECT {fresh}, 'GIFT', created_at FROM journals";
        assert!(refused(journal).await.contains("journals_kind_check"));
        for (column, name) in [("kind", "notifications_kind_check"), ("subject_kind", "notifications_subject_check")] {
            let [kind, subject] =
                if column == "kind" { ["'NONE'", "'JOB'"] } else { ["'WORK_APPROVED'", "'NONE'"] };
            let sql = format!(
                "INSERT INTO notifications (id, user_id, kind, title, subject_kind, subject_id, created_at) \
                 SELECT {{fresh}}, id, {kind}, 'A title', {subject}, id, created_at FROM users"
            );
            assert!(refused(&sql).await.contains(name), "{column}");
        }
    }
}
