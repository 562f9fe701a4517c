//! Patches: null clears a deadline and an avatar and nothing else; and a version that is not the present one.

use serde_json::{Value, json};

use super::{Scene, refused_at, tells_nothing};
use crate::{
    on_both,
    support::people::{Outcome, fresh_key, money, text},
};

/// Asserts a conflict that carries the job as it is.
fn conflict(outcome: Outcome, job: &Value) {
    tells_nothing(&outcome.reply);
    let error = outcome.refused("VERSION_CONFLICT");
    assert_eq!(error["__typename"], "VersionConflictError");
    assert_eq!(error["path"], json!(["input", "expectedVersion"]));
    assert_eq!(&error["job"], job);
}

const CONFLICT: &str = "errors { ... on VersionConflictError { job { id version title status } } }";

on_both! {
    async fn null_clears_only_what_may_be_missing(app: TestApp) {
        let scene = Scene::new(&app).await;
        let before = scene.footprint().await;
        for job in [&scene.open, &scene.draft] {
            for field in ["title", "description", "budget", "skills"] {
                let outcome = scene.ada.update(job, json!({ field: null, "deadline": "2100-01-01T00:00:00Z" })).await;
                refused_at(outcome, &format!("input.patch.{field}"));
            }
        }
        for field in ["displayName", "skills"] {
            refused_at(scene.ada.mutate("updateProfile", json!({ field: null }), "").await, &format!("input.{field}"));
        }
        assert_eq!(scene.footprint().await, before);

        for job in [&scene.open, &scene.draft] {
            let set = scene.ada.update(job, json!({ "deadline": "2100-01-01T00:00:00.000Z" })).await.good();
            assert_eq!(set["job"]["deadline"], "2100-01-01T00:00:00.000Z");
            let kept = scene.ada.update(job, json!({ "title": "Another title" })).await.good();
            assert_eq!(kept["job"]["deadline"], "2100-01-01T00:00:00.000Z", "what is left out stays");
            let cleared = scene.ada.update(job, json!({ "deadline": null })).await.good();
            assert_eq!(cleared["job"]["deadline"], Value::Null);
            assert_eq!(cleared["job"]["title"], "Another title", "what is left out stays");
        }
        let avatar = |url: Value| scene.ada.mutate("updateProfile", json!({ "avatarUrl": url }), "viewer { avatarUrl displayName }");
        let set = avatar("https://example.com/a.png".into()).await.good();
        assert_eq!(set["viewer"], json!({ "avatarUrl": "https://example.com/a.png", "displayName": "Ada" }));
        assert_eq!(avatar(Value::Null).await.good()["viewer"], json!({ "avatarUrl": null, "displayName": "Ada" }));
    }

    async fn one_bad_field_spoils_the_whole_patch(app: TestApp) {
        let scene = Scene::new(&app).await;
        let before = scene.footprint().await;
        let good = json!({ "title": "A good title", "description": "Good.", "budget": money("20.00"), "skills": ["react"] });
        for (field, bad, path) in [
            ("title", json!("x"), "title"),
            ("description", json!(""), "description"),
            ("budget", money("-1"), "budget.amount"),
            ("skills", json!(["react", "cobol"]), "skills.1"),
            ("deadline", json!("2000-01-01T00:00:00Z"), "deadline"),
        ] {
            let mut patch = good.clone();
            patch[field] = bad;
            refused_at(scene.ada.update(&scene.open, patch).await, &format!("input.patch.{path}"));
            assert_eq!(scene.footprint().await, before, "{field}");
        }
    }

    async fn a_stale_version_is_refused_with_the_present_job(app: TestApp) {
        let scene = Scene::new(&app).await;
        scene.ada.update(&scene.open, json!({ "title": "Changed terms", "budget": money("50.00") })).await.good();
        let job = json!({ "id": scene.open, "version": 2, "title": "Changed terms", "status": "OPEN" });
        let before = scene.footprint().await;
        let key = fresh_key();
        for version in [1, 3, 0, -1, i32::MIN, i32::MAX] {
            let update = json!({ "id": scene.open, "expectedVersion": version, "patch": { "title": "Too late" } });
            conflict(scene.ada.mutate("updateJob", update, CONFLICT).await, &job);
            let claim = json!({ "jobId": scene.open, "expectedVersion": version, "idempotencyKey": key });
            conflict(scene.ben.mutate("claimJob", claim, CONFLICT).await, &job);
        }
        assert_eq!(scene.footprint().await, before);

        let update = json!({ "id": scene.open, "expectedVersion": 2, "patch": { "title": "In time" } });
        scene.ada.mutate("updateJob", update, "").await.good();
        // The key is not used up by claims that did nothing.
        let claim = json!({ "jobId": scene.open, "expectedVersion": 3, "idempotencyKey": key });
        let claimed = scene.ben.mutate("claimJob", claim, "job { version }").await.good();
        assert_eq!(claimed["job"]["version"], 4);
    }

    async fn no_expected_version_is_any_version(app: TestApp) {
        let scene = Scene::new(&app).await;
        let update = json!({ "id": scene.open, "expectedVersion": null, "patch": { "title": "Whatever it was" } });
        let updated = scene.ada.mutate("updateJob", update, "job { title }").await.good();
        assert_eq!(text(&updated, "/job/title"), "Whatever it was");
    }
}
