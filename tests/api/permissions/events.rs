//! Which viewers receive each event, and what of it: the table of that name, with every viewer subscribed at once.
//!
//! A story never waits for nothing to arrive. It ends with an event that every viewer receives, and what came before it
//! is all that there was.

use serde_json::{Value, json};

use super::{
    cast::{Cast, Viewer, claimed, submitted},
    judge::{Judge, Steps},
    policy::may_see_private_fields,
    schema::{Schema, Show},
};
use crate::{
    on_both,
    support::{
        people::{Person, money, new_job, text},
        socket::{Socket, Subscription},
    },
};

/// What the world is told of a change.
const PUBLIC: [&str; 2] = ["DETAILS", "STATUS"];

on_both! {
    async fn each_change_of_a_job_reaches_everybody_in_the_form_that_is_theirs(app: TestApp) {
        let schema = Schema::read(&app).await;
        let cast = Cast::assemble(&app).await;
        let mut stage = Stage::set(&cast, &schema).await;
        let Cast { ada, eve, ben, admin, .. } = &cast;
        let between = [ada.clone(), eve.clone(), ben.clone()];

        let id = text(&ada.post_job("Told to all").await, "/id");
        stage.posted(&id, &between).await;
        ada.update(&id, json!({ "title": "Told again" })).await.good();
        stage.updated(&id, &["DETAILS"], &between).await;
        ada.update(&id, json!({ "budget": money("120.00") })).await.good();
        stage.updated(&id, &["DETAILS", "ESCROW"], &between).await;
        let given_back = claimed(eve, &id).await;
        stage.updated(&id, &["STATUS", "CLAIM"], &between).await;
        let work = submitted(eve, &given_back).await;
        stage.updated(&id, &["STATUS", "CLAIM", "DELIVERABLE"], &between).await;
        ada.request_revision(&work).await.good();
        stage.updated(&id, &["STATUS", "CLAIM", "DELIVERABLE"], &between).await;
        // From this event on eve is one of many.
        eve.release(&given_back).await.good();
        stage.updated(&id, &["STATUS", "CLAIM"], &between).await;
        stage.posted(&id, &between).await;
        let claim = claimed(ben, &id).await;
        stage.updated(&id, &["STATUS", "CLAIM"], &between).await;
        submitted(ben, &claim).await;
        stage.updated(&id, &["STATUS", "CLAIM", "DELIVERABLE"], &between).await;
        // Nothing of this is public: it reaches the parties and the admins alone.
        let work = submitted(ben, &claim).await;
        stage.updated(&id, &["CLAIM", "DELIVERABLE"], &between).await;
        ada.approve(&work).await.good();
        stage.updated(&id, &["STATUS", "CLAIM", "DELIVERABLE", "ESCROW"], &between).await;
        let id = text(&ada.post_job("Called off").await, "/id");
        stage.posted(&id, &between).await;
        admin.cancel(&id).await.good();
        stage.updated(&id, &["STATUS", "ESCROW"], &between).await;
        stage.nothing_is_left(&between).await;
        for step in [("JobPostedEvent", "job"), ("JobUpdatedEvent", "job")] {
            assert!(stage.steps.contains(&(step.0.into(), step.1.into())), "{step:?}");
        }
    }
}

on_both! {
    async fn a_job_that_was_never_posted_is_not_heard_of(app: TestApp) {
        let schema = Schema::read(&app).await;
        let cast = Cast::assemble(&app).await;
        let mut stage = Stage::set(&cast, &schema).await;
        let ada = &cast.ada;
        let quiet = text(&ada.draft(new_job("Quiet", "10.00")).await.good(), "/job/id");
        ada.update(&quiet, json!({ "title": "Still quiet", "budget": money("20.00") })).await.good();
        ada.cancel(&quiet).await.good();
        let loud = text(&ada.draft(new_job("Loud at last", "10.00")).await.good(), "/job/id");
        ada.publish(&loud).await.good();
        let between = [ada.clone()];
        stage.posted(&loud, &between).await;
        ada.cancel(&loud).await.good();
        stage.updated(&loud, &["STATUS", "ESCROW"], &between).await;
        stage.nothing_is_left(&between).await;
    }
}

/// Everybody, listening to all jobs with every field there is.
struct Stage<'a> {
    judge: Judge<'a>,
    cast: &'a Cast,
    seats: Vec<Seat>,
    steps: Steps,
}

struct Seat {
    viewer: Viewer,
    socket: Socket,
    posted: Subscription,
    updated: Subscription,
}

impl<'a> Stage<'a> {
    async fn set(cast: &'a Cast, schema: &'a Schema) -> Self {
        let field = |name: &str| {
            let of = &schema.fields("Subscription").iter().find(|field| field.name == name).expect("a subscription").of;
            schema.subscription(&format!("{name} {}", schema.select(of, Show::All(""))))
        };
        let (posted, updated) = (field("jobPosted"), field("jobUpdated"));
        let mut seats = Vec::new();
        for viewer in cast.viewers() {
            let socket = viewer.person.socket().await;
            let [posted, updated] = [&posted, &updated].map(|query| socket.subscribe(query, json!({})));
            seats.push(Seat { viewer, socket, posted, updated });
        }
        cast.app.listening(seats.len() * 2).await;
        Self { judge: Judge::convene(cast, schema).await, cast, seats, steps: Steps::new() }
    }

    /// Everybody hears that the job was posted, and nobody more of it than they may.
    async fn posted(&mut self, id: &str, between: &[Person]) {
        self.judge.count(between).await;
        let mut events = Vec::new();
        for seat in &self.seats {
            events.push((&seat.viewer, data(&seat.socket.next(&seat.posted).await, "jobPosted")));
        }
        compare(&self.judge, id, &events, &mut self.steps);
    }

    /// Those whose affair it is hear that the job changed, and the world if any of it is the world's.
    async fn updated(&mut self, id: &str, changes: &[&str], between: &[Person]) {
        self.judge.count(between).await;
        let public: Vec<_> = changes.iter().filter(|change| PUBLIC.contains(change)).copied().collect();
        let mut events = Vec::new();
        for seat in &self.seats {
            let party = may_see_private_fields(&seat.viewer, self.judge.facts(id));
            if party || !public.is_empty() {
                let event = data(&seat.socket.next(&seat.updated).await, "jobUpdated");
                let due = if party { changes } else { &public };
                assert_eq!(event["changes"], json!(due), "{} hears of {changes:?}", seat.viewer.part);
                events.push((&seat.viewer, event));
            }
        }
        compare(&self.judge, id, &events, &mut self.steps);
    }

    /// One more change, which everybody hears at once: nothing was waiting before it.
    async fn nothing_is_left(&mut self, between: &[Person]) {
        let id = text(&self.cast.ada.post_job("The marker").await, "/id");
        self.posted(&id, between).await;
        self.cast.ada.cancel(&id).await.good();
        self.updated(&id, &["STATUS", "ESCROW"], between).await;
        for Seat { socket, posted, updated, .. } in self.seats.drain(..) {
            for subscription in [&posted, &updated] {
                socket.complete(subscription);
            }
            socket.close().await;
        }
    }
}

/// An event is the admin's without what the viewer may not see.
fn compare(judge: &Judge, id: &str, events: &[(&Viewer, Value)], steps: &mut Steps) {
    let (_, known) = events.iter().find(|(viewer, _)| viewer.is_admin()).expect("an admin hears all");
    assert_eq!(known["job"]["id"], id, "another event was expected");
    judge.note_steps(known, steps);
    for (viewer, event) in events {
        assert_eq!(event["job"], judge.shown(viewer, &known["job"]), "{} hears of {id}", viewer.part);
        for field in ["id", "cursor", "occurredAt", "previousStatus"] {
            assert_eq!(event.get(field), known.get(field), "{field}, for {}", viewer.part);
        }
    }
}

fn data(payload: &Value, field: &str) -> Value {
    assert!(payload.get("errors").is_none(), "{payload:#}");
    payload["data"][field].clone()
}
