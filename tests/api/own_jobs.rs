//! `jobUpdated(mine: true)`: parties receive all that happens to their jobs, drafts included, and other users receive
//! no more of them than before.

use serde_json::{Value, json};

use crate::{
    on_both,
    support::{
        app::TestApp,
        people::{Person, new_job, text},
        socket::{Socket, Subscription},
    },
};

const MINE: &str = "subscription($after: String, $filter: JobFilter, $job: ID) { \
    jobUpdated(mine: true, after: $after, filter: $filter, jobId: $job) { id cursor changes previousStatus \
    job { id title status version escrow { amount } } } }";

/// What of an event is compared: title, status, status before, changes.
fn brief(event: &Value) -> Value {
    let event = &event["data"]["jobUpdated"];
    json!([event["job"]["title"], event["job"]["status"], event["previousStatus"], event["changes"]])
}

/// Everything up to and with the event about the job with this title.
async fn until_title(socket: &Socket, id: &Subscription, title: &str) -> Vec<Value> {
    socket.drain_until(id, |event| event["data"]["jobUpdated"]["job"]["title"] == title).await
}

async fn drafted(client: &Person, title: &str) -> String {
    text(&client.draft(new_job(title, "10.00")).await.good(), "/job/id")
}

async fn cursor(app: &TestApp) -> String {
    text(&app.anonymous().run("{ streamCursor }", json!({})).await.body, "/data/streamCursor")
}

on_both! {
    async fn parties_of_a_job_receive_all_that_happens_to_it_and_nobody_else_does(app: TestApp) {
        let (ada, cleo, admin) = (app.client("Ada").await, app.client("Cleo").await, app.admin().await);
        let (eve, ben) = (app.freelancer("Eve").await, app.freelancer("Ben").await);
        // An admin who is a client too has a page of their own jobs, and no more than that.
        let roles = json!({ "userId": admin.id, "roles": ["ADMIN", "CLIENT"] });
        admin.mutate("setUserRoles", roles, "user { id }").await.good();
        let admin = admin.sign_in_again().await;
        let began = cursor(&app).await;
        let mut seats = Vec::new();
        for person in [&ada, &cleo, &admin, &eve, &ben] {
            let socket = person.socket().await;
            let id = socket.subscribe(MINE, json!({}));
            seats.push((person, socket, id));
        }
        let (_, of_ada, _) = &seats[0];
        let drafts = of_ada.subscribe(MINE, json!({ "filter": { "status": ["DRAFT"] } }));
        app.listening(6).await;
        let hub = &app.app.services.hub;
        assert_eq!((hub.groups(), hub.sections()), (1, 2), "who selects the same shares a group, here too");

        let quiet = drafted(&ada, "Quiet").await;
        ada.update(&quiet, json!({ "title": "Still quiet" })).await.good();
        ada.cancel(&quiet).await.good();
        let loud = drafted(&ada, "Loud").await;
        ada.publish(&loud).await.good();
        let given_back = text(&eve.claim(&loud).await.good(), "/claim/id");
        eve.release(&given_back).await.good();
        let at_once = text(&ada.post_job("At once").await, "/id");
        let claim = text(&ben.claim(&at_once).await.good(), "/claim/id");
        ben.submit(&claim).await.good();
        ben.submit(&claim).await.good();
        for client in [&ada, &cleo, &admin] {
            drafted(client, "The marker").await;
        }
        let marker = text(&cleo.post_job("The marker").await, "/id");
        eve.claim(&marker).await.good();
        let other = text(&cleo.post_job("The marker").await, "/id");
        ben.claim(&other).await.good();

        let (details, status) = (json!(["DETAILS"]), json!(["STATUS"]));
        let claimed = json!(["STATUS", "CLAIM"]);
        let all = vec![
            json!(["Quiet", "DRAFT", null, ["DETAILS", "STATUS"]]),
            json!(["Still quiet", "DRAFT", null, details]),
            json!(["Still quiet", "CANCELLED", "DRAFT", status]),
            json!(["Loud", "DRAFT", null, ["DETAILS", "STATUS"]]),
            json!(["Loud", "OPEN", "DRAFT", ["STATUS", "ESCROW"]]),
            json!(["Loud", "CLAIMED", "OPEN", claimed]),
            json!(["Loud", "OPEN", "CLAIMED", claimed]),
            json!(["At once", "OPEN", null, ["DETAILS", "STATUS", "ESCROW"]]),
            json!(["At once", "CLAIMED", "OPEN", claimed]),
            json!(["At once", "IN_REVIEW", "CLAIMED", ["STATUS", "CLAIM", "DELIVERABLE"]]),
            json!(["At once", "IN_REVIEW", null, ["CLAIM", "DELIVERABLE"]]),
        ];
        // The one who gave the claim back hears of it as everybody does: the job has left the page.
        let of_eve = vec![all[5].clone(), json!(["Loud", "OPEN", "CLAIMED", status])];
        let due = [all.clone(), Vec::new(), Vec::new(), of_eve, all[8..].to_vec()];
        let mut told = Vec::new();
        for ((person, socket, id), due) in seats.iter().zip(&due) {
            let mut events = until_title(socket, id, "The marker").await;
            let last = events.pop().expect("the marker");
            assert_eq!(&events.iter().map(brief).collect::<Vec<_>>(), due, "{}, up to {last}", person.email);
            told.push(events);
        }
        assert_eq!(told[3][1]["data"]["jobUpdated"]["job"]["escrow"], Value::Null, "nothing private of what was given back");
        let heard = until_title(of_ada, &drafts, "The marker").await;
        assert_eq!(heard.iter().take(5).map(brief).collect::<Vec<_>>(), all[..5], "a filter hears a draft leave it");
        assert_eq!(brief(&heard[5])[0], "The marker", "and nothing of what was posted");

        // A replay is the same, byte for byte but for rights that were lost.
        for ((person, ..), told) in seats.iter().zip(&told).filter(|((person, ..), _)| person.id != eve.id) {
            let socket = person.socket().await;
            let id = socket.subscribe(MINE, json!({ "after": began }));
            let mut events = until_title(&socket, &id, "The marker").await;
            events.pop();
            assert_eq!(&events, told, "{}", person.email);
            socket.complete(&id);
        }
        // `events` has them for their author, and for nobody else.
        let query = "query($after: String) { events(first: 100, after: $after) { nodes { id ... on JobUpdatedEvent { \
                     job { id status } } } } }";
        for (person, hears) in [(&ada, true), (&cleo, false), (&admin, false), (&eve, false), (&app.anonymous(), false)] {
            let reply = person.run(query, json!({ "after": began })).await;
            let nodes = reply.data()["events"]["nodes"].as_array().expect("events").clone();
            let of_quiet = nodes.iter().filter(|node| node["job"]["id"] == quiet.as_str()).count();
            let of_draft = nodes.iter().filter(|node| node["job"]["id"] == loud.as_str() && node["job"]["status"] == "DRAFT");
            assert_eq!((of_quiet, of_draft.count()), if hears { (3, 1) } else { (0, 0) }, "{}", person.email);
        }
    }

    async fn it_needs_a_token_and_may_name_one_job(app: TestApp) {
        let ada = app.client("Ada").await;
        let (one, other) = (drafted(&ada, "One").await, drafted(&ada, "Other").await);
        let stranger = app.socket(None).await;
        let id = stranger.subscribe(MINE, json!({}));
        assert_eq!(stranger.error(&id).await[0]["extensions"]["code"], "UNAUTHENTICATED");
        let eve = app.client("Eve").await.socket().await;
        let id = eve.subscribe(MINE, json!({ "job": one }));
        assert_eq!(eve.error(&id).await[0]["extensions"]["code"], "BAD_USER_INPUT", "a draft of somebody else is no job");
        let socket = ada.socket().await;
        let id = socket.subscribe(MINE, json!({ "job": one }));
        // Without the argument, a subscription to a draft waits until it is posted.
        let plain = socket.subscribe("subscription($job: ID) { jobUpdated(jobId: $job) { job { title } } }", json!({ "job": one }));
        app.listening(2).await;
        ada.update(&other, json!({ "title": "Not meant" })).await.good();
        ada.update(&one, json!({ "title": "Meant" })).await.good();
        assert_eq!(brief(&socket.next(&id).await)[0], "Meant");
        ada.publish(&one).await.good();
        assert_eq!(brief(&socket.next(&id).await), json!(["Meant", "OPEN", "DRAFT", ["STATUS", "ESCROW"]]));
        ada.update(&one, json!({ "title": "Public" })).await.good();
        assert_eq!(brief(&socket.next(&id).await)[0], "Public");
        assert_eq!(socket.next(&plain).await["data"]["jobUpdated"]["job"]["title"], "Public", "nothing of the draft");
        socket.complete(&id);
        socket.complete(&plain);
    }
}
