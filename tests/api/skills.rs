//! The vocabulary: what admins do with its words, and what lists, filters, events and snapshots make of that.

use serde_json::{Value, json};

use crate::{
    on_both,
    support::{
        app::TestApp,
        people::{Outcome, Person, new_job, text},
    },
};

async fn create(person: &Person, slug: &str, name: &str) -> Outcome {
    person.mutate("createSkill", json!({ "slug": slug, "name": name }), "skill { id slug name retired }").await
}

async fn update(app: &TestApp, skill: &str, change: Value) -> Outcome {
    let mut input = change;
    input["id"] = json!(skill);
    app.admin().await.mutate("updateSkill", input, "skill { id slug name retired }").await
}

/// A job that asks for these.
fn asking(title: &str, skills: &[&str]) -> Value {
    let mut job = new_job(title, "10.00");
    job["skills"] = json!(skills);
    job
}

/// The slugs of a job's skills, as they are read now.
async fn skills_of(person: &Person, job: &str) -> Vec<String> {
    let reply = person.run("query($id: ID!) { job(id: $id) { skills { slug } } }", json!({ "id": job })).await;
    reply.data()["job"]["skills"].as_array().expect("skills").iter().map(|skill| text(skill, "/slug")).collect()
}

async fn found(person: &Person, filter: Value) -> i64 {
    let query = "query($filter: JobFilter) { jobs(first: 100, filter: $filter) { totalCount nodes { id } } }";
    let reply = person.run(query, json!({ "filter": filter })).await;
    let jobs = &reply.data()["jobs"];
    assert_eq!(jobs["nodes"].as_array().map(Vec::len), jobs["totalCount"].as_u64().and_then(|n| n.try_into().ok()));
    jobs["totalCount"].as_i64().expect("a number")
}

on_both! {
    async fn a_word_is_made_by_an_admin_and_used_by_all(app: TestApp) {
        let (ada, admin) = (app.client("Ada").await, app.admin().await);
        assert!(app.db_number("SELECT COUNT(*) FROM skills").await > 140, "there is a vocabulary to begin with");
        assert_eq!(create(&ada, "cobol", "COBOL").await.code(), "FORBIDDEN");
        let made = create(&admin, "cobol", "COBOL").await.good();
        assert_eq!(made["skill"]["retired"], false);
        ada.post(asking("Port it", &["cobol"])).await.good();
        let error = create(&admin, "cobol", "Cobol").await.refused("INVALID");
        assert_eq!(error["path"], json!(["input", "slug"]));
        for bad in ["", "COBOL", "-a", "a-", "a--b", "a b", "é", &"a".repeat(61)] {
            assert_eq!(create(&admin, bad, "Bad").await.refused("INVALID")["path"], json!(["input", "slug"]), "{bad}");
        }
        for bad in ["", "  ", "two\nlines", &"a".repeat(61)] {
            assert_eq!(create(&admin, "good", bad).await.refused("INVALID")["path"], json!(["input", "name"]), "{bad:?}");
        }
        let audit = "SELECT COUNT(*) FROM admin_actions WHERE action = 'createSkill' AND detail = 'cobol: COBOL'";
        assert_eq!(app.db_number(audit).await, 1);
    }

    async fn a_renamed_word_is_the_same_word(app: TestApp) {
        let (ada, admin) = (app.client("Ada").await, app.admin().await);
        let skill = text(&create(&admin, "reactjs", "React JS").await.good(), "/skill/id");
        let before = text(&ada.run("{ streamCursor }", json!({})).await.body, "/data/streamCursor");
        ada.post(asking("A page", &["reactjs"])).await.good();
        update(&app, &skill, json!({ "name": "React.js" })).await.good();
        let query = "query($after: String) { jobs(first: 1) { nodes { skills { name } } } \
                     events(first: 1, after: $after) { nodes { ... on JobPostedEvent { job { skills { name } } } } } }";
        let reply = ada.run(query, json!({ "after": before })).await;
        assert_eq!(reply.data()["jobs"]["nodes"][0]["skills"][0]["name"], "React.js");
        let told = reply.body.pointer("/data/events/nodes/0/job/skills/0/name");
        assert!(told.is_none_or(|name| name == "React JS"), "an event keeps the words of its moment: {told:?}");
        let prefix = "{ skills(prefix: \"react.j\") { slug } }";
        assert_eq!(ada.run(prefix, json!({})).await.data()["skills"], json!([{ "slug": "reactjs" }]));
    }

    async fn a_merged_word_stands_for_the_other_one(app: TestApp) {
        let (ada, ben, admin) = (app.client("Ada").await, app.freelancer("Ben").await, app.admin().await);
        let made = async |slug: &str| text(&create(&admin, slug, slug).await.good(), "/skill/id");
        let (oldest, old, new) = (made("golang-one").await, made("golang").await, made("go-lang").await);
        let job = async |skills: &[&str]| text(&ada.post(asking("Servers", skills)).await.good(), "/job/id");
        let (one, both, other) = (job(&["golang"]).await, job(&["golang", "rust", "go-lang"]).await, job(&["golang-one"]).await);
        ben.mutate("updateProfile", json!({ "skills": ["golang", "go-lang"] }), "viewer { id }").await.good();
        update(&app, &oldest, json!({ "mergeInto": old })).await.good();
        let merged = update(&app, &old, json!({ "mergeInto": new })).await.good();
        assert_eq!(merged["skill"]["retired"], true);

        assert_eq!(skills_of(&ada, &one).await, ["go-lang"]);
        assert_eq!(skills_of(&ada, &both).await, ["go-lang", "rust"], "once");
        assert_eq!(skills_of(&ada, &other).await, ["go-lang"], "over two steps");
        let own = ben.run("{ viewer { skills { slug } } }", json!({})).await;
        assert_eq!(own.data()["viewer"]["skills"], json!([{ "slug": "go-lang" }]));
        // By whichever name: it is one word.
        for slug in ["golang-one", "golang", "go-lang"] {
            assert_eq!(found(&ben, json!({ "anySkill": [slug] })).await, 3, "{slug}");
            assert_eq!(found(&ben, json!({ "allSkills": [slug] })).await, 3, "{slug}");
            assert_eq!(found(&ben, json!({ "allSkills": [slug, "rust"] })).await, 1, "{slug}");
        }
        // What is given its slug gets the other one, and who subscribes by any name hears of both.
        let cursor = text(&ada.run("{ streamCursor }", json!({})).await.body, "/data/streamCursor");
        let late = job(&["golang"]).await;
        assert_eq!(skills_of(&ada, &late).await, ["go-lang"]);
        app.published().await;
        let socket = app.socket(None).await;
        let posted = "subscription($slug: String!, $after: String) { jobPosted(filter: { allSkills: [$slug] }, after: $after) \
                      { job { id } } }";
        for slug in ["golang-one", "go-lang"] {
            let feed = socket.subscribe(posted, json!({ "slug": slug, "after": cursor }));
            assert_eq!(text(&socket.next(&feed).await, "/data/jobPosted/job/id"), late, "{slug}");
        }
        // A later change of the job writes the word that it has now.
        ada.update(&both, json!({ "title": "More servers" })).await.good();
        ada.update(&both, json!({ "skills": ["go-lang"] })).await.good();
        assert_eq!(skills_of(&ada, &both).await, ["go-lang"]);

        let refused = update(&app, &old, json!({ "retired": false })).await.refused("INVALID");
        assert_eq!(refused["path"], json!(["input", "retired"]));
        let again = update(&app, &old, json!({ "mergeInto": new })).await.refused("INVALID");
        assert_eq!(again["path"], json!(["input", "id"]));
        for bad in [&new, &old] {
            let refused = update(&app, &new, json!({ "mergeInto": bad })).await.refused("INVALID");
            assert_eq!(refused["path"], json!(["input", "mergeInto"]), "into itself, or into one that is gone");
        }
    }

    async fn a_retired_word_stays_on_what_has_it(app: TestApp) {
        let (ada, admin) = (app.client("Ada").await, app.admin().await);
        let skill = text(&create(&admin, "flash", "Flash").await.good(), "/skill/id");
        let job = text(&ada.post(asking("An intro", &["flash", "rust"])).await.good(), "/job/id");
        ada.mutate("updateProfile", json!({ "skills": ["flash"] }), "viewer { id }").await.good();
        update(&app, &skill, json!({ "retired": true })).await.good();

        let listed = ada.run("{ skills(prefix: \"flash\") { slug } }", json!({})).await;
        assert_eq!(listed.data()["skills"], json!([]));
        let node = "query($id: ID!) { node(id: $id) { ... on Skill { slug retired } } }";
        let node = ada.run(node, json!({ "id": skill })).await;
        assert_eq!(node.data()["node"], json!({ "slug": "flash", "retired": true }));
        assert_eq!(skills_of(&ada, &job).await, ["flash", "rust"]);
        assert_eq!(found(&ada, json!({ "anySkill": ["flash"] })).await, 1);
        let error = ada.post(asking("Another intro", &["rust", "flash"])).await.refused("INVALID");
        assert_eq!(error["path"], json!(["input", "skills", "1"]));
        assert!(text(&error, "/message").contains("retired"), "{error}");
        // What has it keeps it.
        ada.update(&job, json!({ "skills": ["rust", "flash"] })).await.good();
        ada.mutate("updateProfile", json!({ "skills": ["flash", "rust"] }), "viewer { id }").await.good();
        ada.update(&job, json!({ "skills": ["rust"] })).await.good();
        ada.update(&job, json!({ "skills": ["rust", "flash"] })).await.refused("INVALID");
        update(&app, &skill, json!({ "retired": false })).await.good();
        ada.update(&job, json!({ "skills": ["rust", "flash"] })).await.good();
    }
}
