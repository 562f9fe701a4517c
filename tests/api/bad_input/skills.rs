//! Skills: words of the vocabulary and no others, refused by their place in the list; and deadlines in the past.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Scene, refused_argument, refused_at, tells_nothing, with};
use crate::{
    on_both, on_both_clocked,
    support::{
        footprint::footprint,
        people::{Person, new_job, text},
    },
};

/// Somebody, the mutation they send, an input that is good, and where the list stands in it.
type Door<'a> = (&'a Person, &'static str, Value, &'static str);

fn doors(scene: &Scene) -> [Door<'_>; 4] {
    [
        (&scene.ada, "postJob", new_job("A title", "1.00"), "skills"),
        (&scene.ada, "draftJob", new_job("A title", "1.00"), "skills"),
        (&scene.ada, "updateJob", json!({ "id": scene.open, "patch": {} }), "patch.skills"),
        (&scene.ben, "updateProfile", json!({}), "skills"),
    ]
}

on_both! {
    async fn an_unknown_skill_is_refused_by_its_place(app: TestApp) {
        let scene = Scene::new(&app).await;
        let before = scene.footprint().await;
        for (who, field, input, path) in doors(&scene) {
            for unknown in ["cobol", "Rust", "RUST", " rust", "", "ru\u{0}st", "rust' OR 1=1 --", "🦀", "%"] {
                let skills = json!(["graphql", unknown, "also-unknown"]);
                let error = refused_at(who.mutate(field, with(&input, path, skills), "").await, &format!("input.{path}.1"));
                assert!(!error["message"].as_str().expect("a message").contains('\u{0}'));
            }
            let many = json!(vec!["rust"; 21]);
            refused_at(who.mutate(field, with(&input, path, many), "").await, &format!("input.{path}"));
            let reply = who.mutate(field, with(&input, path, json!(vec!["rust"; 101])), "").await.reply;
            assert_eq!(reply.code(), "OPERATION_TOO_COMPLEX");
        }
        for list in ["anySkill", "allSkills"] {
            let query = "query($filter: JobFilter) { jobs(first: 1, filter: $filter) { nodes { id } } }";
            for unknown in ["cobol", "ru\u{0}st"] {
                let filter = json!({ "filter": { list: ["rust", unknown] } });
                refused_argument(&app.anonymous().run(query, filter).await, &format!("filter.{list}.1"));
            }
            let filter = json!({ "filter": { list: vec!["rust"; 21] } });
            refused_argument(&app.anonymous().run(query, filter).await, &format!("filter.{list}"));
        }
        assert_eq!(scene.footprint().await, before);
    }

    async fn skills_are_kept_in_their_order_and_once_each(app: TestApp) {
        let ada = app.client("Ada").await;
        let mut job = new_job("A title", "1.00");
        job["skills"] = json!(["react", "rust", "react", "graphql", "rust"]);
        let posted = ada.post(job).await.good();
        assert_eq!(posted["job"]["skills"], json!([{ "slug": "react" }, { "slug": "rust" }, { "slug": "graphql" }]));
        let updated = ada.update(&text(&posted, "/job/id"), json!({ "skills": [] })).await.good();
        assert_eq!(updated["job"]["skills"], json!([]));
    }

    async fn a_deadline_lies_ahead_and_within_the_calendar(app: TestApp) {
        let scene = Scene::new(&app).await;
        let before = scene.footprint().await;
        let now = app.app.clock.now().to_rfc3339();
        for deadline in [now.as_str(), "2000-01-01T00:00:00Z", "1969-12-31T23:59:59.999Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"] {
            for field in ["postJob", "draftJob"] {
                let job = with(&new_job("A title", "1.00"), "deadline", deadline.into());
                refused_at(scene.ada.mutate(field, job, "").await, "input.deadline");
            }
            for job in [&scene.open, &scene.draft] {
                refused_at(scene.ada.update(job, json!({ "deadline": deadline })).await, "input.patch.deadline");
            }
        }
        for deadline in ["tomorrow", "2030-01-01", "2030-01-01T00:00:00", "2030-13-01T00:00:00Z", "10000-01-01T00:00:00Z", ""] {
            let job = with(&new_job("A title", "1.00"), "deadline", deadline.into());
            let reply = scene.ada.mutate("postJob", job, "").await.reply;
            assert_eq!(tells_nothing(&reply).code(), "BAD_USER_INPUT", "{deadline}");
        }
        assert_eq!(scene.footprint().await, before);
        let shifted = scene.ada.update(&scene.open, json!({ "deadline": "2100-01-01T01:00:00.123456+02:00" })).await.good();
        assert_eq!(shifted["job"]["deadline"], "2099-12-31T23:00:00.123Z", "in UTC, to the millisecond");
    }
}

on_both_clocked! {
    async fn a_draft_whose_deadline_went_by_is_not_posted(app: TestApp, clock: Clock) {
        let ada = app.client("Ada").await;
        let deadline = (clock.now() + chrono::TimeDelta::minutes(1)).to_rfc3339();
        let draft = ada.draft(with(&new_job("Soon", "1.00"), "deadline", deadline.into())).await.good();
        let draft = text(&draft, "/job/id");
        clock.advance(Duration::from_mins(1));
        let before = footprint(&app).await;
        refused_at(ada.publish(&draft).await, "input.id");
        assert_eq!(footprint(&app).await, before);
        ada.update(&draft, json!({ "deadline": null })).await.good();
        ada.publish(&draft).await.good();
    }
}
