//! A right that is lost while somebody listens stops what it showed with the next event, and so it does on a socket
//! that comes back with the same token.

use serde_json::{Value, json};

use crate::{
    on_both,
    support::{
        app::TestApp,
        people::{Person, sign_up_admin, text},
        socket::{Socket, Subscription},
    },
};

const UPDATES: &str = "subscription { jobUpdated { changes job { id version escrow { amount } activeClaim { id } } } }";

on_both! {
    async fn an_admin_who_is_none_any_more_hears_what_everybody_hears(app: TestApp) {
        let (ada, former) = (app.client("Ada").await, sign_up_admin(&app).await);
        let job = text(&ada.post_job("Private").await, "/id");
        let (socket, id) = listen(&app, &former).await;
        ada.update(&job, json!({ "title": "One" })).await.good();
        assert_eq!(socket.next(&id).await["data"]["jobUpdated"]["job"]["escrow"], json!({ "amount": "100.00" }));

        let input = json!({ "userId": former.id, "roles": ["FREELANCER"] });
        app.admin().await.mutate("setUserRoles", input, "user { id }").await.good();
        ada.update(&job, json!({ "title": "Two" })).await.good();
        assert_eq!(socket.closed().await.0, 4403, "it comes back by itself, with the new roles");
        assert_eq!(socket.unread(&id), 0, "with the old ones it hears no more");

        let (socket, id) = listen(&app, &former).await;
        hears_as_one_of_many(&app, &ada, &job, (&socket, &id)).await;
    }
}

on_both! {
    async fn one_who_gave_the_claim_back_hears_what_everybody_hears(app: TestApp) {
        let (ada, eve) = (app.client("Ada").await, app.freelancer("Eve").await);
        let job = text(&ada.post_job("Private").await, "/id");
        let (socket, id) = listen(&app, &eve).await;
        let claim = text(&eve.claim(&job).await.good(), "/claim/id");
        let event = socket.next(&id).await["data"]["jobUpdated"].clone();
        assert_eq!(event["job"]["activeClaim"]["id"], claim);
        assert_eq!(event["changes"], json!(["STATUS", "CLAIM"]));
        eve.release(&claim).await.good();
        let event = socket.next(&id).await["data"]["jobUpdated"].clone();
        assert_eq!((&event["job"]["escrow"], &event["changes"]), (&Value::Null, &json!(["STATUS"])));
        hears_as_one_of_many(&app, &ada, &job, (&socket, &id)).await;
    }
}

on_both! {
    async fn one_who_is_shut_out_hears_nothing_and_cannot_come_back(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        let job = text(&ada.post_job("Private").await, "/id");
        let (socket, id) = listen(&app, &ben).await;
        let input = json!({ "userId": ben.id, "suspended": true, "reason": "Spam." });
        app.admin().await.mutate("setUserSuspended", input, "user { id }").await.good();
        ada.cancel(&job).await.good();
        assert_eq!(socket.closed().await.0, 4403);
        assert_eq!(socket.unread(&id), 0);
        let again = Socket::connect_raw(app.addr, &[]).await.expect("an upgrade");
        let token = ben.token.as_deref().expect("a token");
        again.send(&json!({ "type": "connection_init", "payload": { "Authorization": format!("Bearer {token}") } }));
        assert_eq!(again.closed().await.0, 4403);
        let refresh = json!({ "refreshToken": ben.refresh_token });
        app.anonymous().mutate("refreshSession", refresh, "user { id }").await.refused("INVALID_CREDENTIALS");
    }
}

async fn listen(app: &TestApp, person: &Person) -> (Socket, Subscription) {
    app.listening(0).await;
    let socket = person.socket().await;
    let id = socket.subscribe(UPDATES, json!({}));
    app.listening(1).await;
    (socket, id)
}

/// The next events show only what is public, and of a change that is not there is none.
async fn hears_as_one_of_many(app: &TestApp, ada: &Person, job: &str, (socket, id): (&Socket, &Subscription)) {
    let ben = app.freelancer("Ben").await;
    let claim = text(&ben.claim(job).await.good(), "/claim/id");
    ben.submit(&claim).await.good();
    // Not for the public.
    let work = text(&ben.submit(&claim).await.good(), "/deliverable/id");
    let approved = ada.approve(&work).await.good()["job"]["version"].clone();
    let events = socket.drain_until(id, |event| event["data"]["jobUpdated"]["job"]["version"] == approved).await;
    assert_eq!(events.len(), 3, "{events:#?}");
    for event in &events {
        let event = &event["data"]["jobUpdated"];
        assert_eq!(event["changes"], json!(["STATUS"]));
        assert_eq!((&event["job"]["escrow"], &event["job"]["activeClaim"]), (&Value::Null, &Value::Null));
    }
}
