//! The end of every fault run: the proof that no client has missed, doubled or misordered anything or seen what is not
//! theirs, that nothing acknowledged is missing, and that the books and the log are right; and a short report.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write,
    net::SocketAddr,
    time::{Duration, Instant},
};

use lancewire::claims::events::CLAIM_UPDATED;
use lancewire::events::EventKind;
use lancewire::jobs::events::{JOB_POSTED, JOB_UPDATED};
use lancewire::notifications::events::NOTIFICATION_RECEIVED;
use lancewire::wallet::events::WALLET_UPDATED;
use serde_json::{Value, json};

use super::{
    fleet::{Fleet, Heard, Listener, position},
    report::Row,
    stage::Stage,
};
use crate::support::{
    binary::{Server, lines},
    http::Http,
    people::text,
};

const EVENTS: &str = "query($after: String) { events(first: 100, after: $after) { edges { cursor node { __typename id \
                      ... on JobPostedEvent { job { id version title } } ... on JobUpdatedEvent { job { id version } } \
                      ... on ClaimUpdatedEvent { claim { id version } } ... on WalletUpdatedEvent { wallet { id version } } \
                      ... on NotificationReceivedEvent { notification { id } } } } pageInfo { hasNextPage endCursor } } }";

/// What was proven.
#[derive(Debug)]
pub struct Proof {
    /// Changes that were acknowledged before a fault and delivered after it, over all subscriptions.
    pub late: usize,
    /// Private fields that came, over all subscriptions.
    pub private: usize,
}

/// What one viewer may hear of one kind, as `events` tells it.
type Truth = HashMap<Listener, Vec<Heard>>;

impl Stage {
    /// Proves that every record is what `events` says, that each acknowledged change is in it, and that the books and
    /// the log are right; then stops the servers and reports.
    pub async fn prove(self, fleets: &[&Fleet], servers: impl Into<Vec<Server>>) -> Proof {
        let servers = servers.into();
        let (truth, titles) = self.read_all_events(servers[0].addr).await;
        for server in &servers[1..] {
            assert!(self.read_all_events(server.addr).await.0 == truth, "two nodes tell different events");
        }
        let settled = Instant::now();
        for fleet in fleets {
            let ends: Vec<i64> = fleet.listeners.iter().map(|listener| end_of(&truth, listener)).collect();
            let caught_up =
                |stream: &[(Heard, Instant)], end: i64| stream.last().map_or(0, |last| last.0.position) >= end;
            fleet
                .until("every client has heard the last event", |records| {
                    records.streams.iter().zip(&ends).all(|(stream, end)| caught_up(stream, *end))
                })
                .await;
        }
        let settled = settled.elapsed();

        let (mut lost, mut doubled, mut strange, mut late) = (0, 0, 0, 0);
        let (mut events, mut heard, mut seen, mut connected) = (HashSet::new(), 0, 0, 0);
        let (mut closed, mut errors) = (HashMap::new(), Vec::new());
        let (mut private, mut leaked) = (0, Vec::new());
        let effects = self.load.effects();
        let mut complaints = String::new();
        for fleet in fleets {
            fleet.look(|records| {
                heard += records.heard();
                seen += records.seen;
                connected += records.connected;
                errors.extend(records.errors.iter().map(ToString::to_string));
                for (code, number) in &records.closed {
                    *closed.entry(*code).or_insert(0) += number;
                }
                private += records.private.len();
                leaked.extend(records.private.iter().filter_map(|(stream, job)| {
                    let listener = fleet.listeners[*stream];
                    let may_see = listener.viewer.is_some_and(|viewer| self.load.is_party(viewer, job, &titles[job]));
                    (!may_see).then_some((listener, job.clone()))
                }));
                for (listener, stream) in fleet.listeners.iter().zip(&records.streams) {
                    let expected = truth.get(listener).map_or(&[] as &[Heard], Vec::as_slice);
                    let record: Vec<&Heard> = stream.iter().map(|(heard, _)| heard).collect();
                    let unique: HashSet<&str> = record.iter().map(|heard| heard.id.as_str()).collect();
                    let missing: Vec<&Heard> =
                        expected.iter().filter(|event| !unique.contains(event.id.as_str())).collect();
                    events.extend(expected.iter().map(|event| event.id.clone()));
                    lost += missing.len();
                    doubled += record.len() - unique.len();
                    if !record.iter().copied().eq(expected) {
                        strange += 1;
                        let first = record.iter().zip(expected).find(|(one, two)| **one != *two);
                        let _ = writeln!(complaints, "{listener:?}: lost {missing:?}, first difference {first:?}");
                    }
                    let arrivals: HashMap<(i64, &str), Instant> = stream
                        .iter()
                        .map(|(heard, arrived)| ((heard.version, heard.subject.as_str()), *arrived))
                        .collect();
                    for effect in &effects {
                        let fault = self.report.at.iter().find(|fault| **fault > effect.at);
                        let arrived = arrivals.get(&(effect.version, effect.subject.as_str()));
                        late += usize::from(fault.zip(arrived).is_some_and(|(fault, arrived)| arrived > fault));
                    }
                }
            });
        }

        let mut report = String::new();
        let clients = fleets.iter().map(|fleet| fleet.clients).sum::<usize>();
        let outages = self.load.outages();
        let unavailable = outages.iter().sum::<Duration>().as_secs_f64();
        let longest = outages.iter().max().map_or(0.0, Duration::as_secs_f64);
        let mut closed: Vec<(u64, usize)> = closed.into_iter().collect();
        closed.sort_unstable();
        let closed: Vec<String> = closed.iter().map(|(code, number)| format!("{code}: {number}")).collect();
        for (what, number) in [
            ("faults", self.report.faults.to_string()),
            ("clients", clients.to_string()),
            ("seconds", format!("{:.1}", self.scale.began.elapsed().as_secs_f64())),
            ("without an answer, seconds", format!("{unavailable:.1}, at most {longest:.1} at once")),
            ("requests that were sent again", self.load.asked_again().to_string()),
            ("acknowledged changes", effects.len().to_string()),
            ("events", events.len().to_string()),
            ("subscriptions", fleets.iter().map(|fleet| fleet.listeners.len()).sum::<usize>().to_string()),
            ("delivered", heard.to_string()),
            ("lost", lost.to_string()),
            ("doubled", doubled.to_string()),
            ("records unlike events", strange.to_string()),
            ("dropped by the cursor check", seen.to_string()),
            ("private fields to who may see them", (private - leaked.len()).to_string()),
            ("private fields to others", leaked.len().to_string()),
            ("acknowledged before a fault, delivered after it", late.to_string()),
            ("connections", connected.to_string()),
            ("of which came back", (connected - clients).to_string()),
            ("closes by code", closed.join(", ")),
            ("operations that ended in errors", errors.len().to_string()),
            ("last one caught up after, seconds", format!("{:.1}", settled.as_secs_f64())),
        ] {
            let _ = writeln!(report, "  {what:48} {number}");
        }
        for remark in &self.report.remarks {
            let _ = writeln!(report, "  {remark}");
        }
        if let Some(error) = errors.last() {
            let _ = writeln!(report, "  the last error: {error}");
        }
        println!("\n{}\n{report}", self.name);
        let row = Row {
            name: self.name,
            faults: self.report.faults,
            clients,
            lasted: self.scale.began.elapsed(),
            outages,
            events: events.len(),
            checked: heard,
            lost,
            doubled,
            recoveries: connected - clients,
        };
        row.leave(&report);

        assert!(lost + doubled + strange == 0, "{report}{complaints}");
        assert_eq!(errors.len(), 0, "a stock client gives up when its operation ends in errors\n{report}");
        assert_eq!(leaked, [], "private fields reached others\n{report}");
        self.acknowledged_changes_are_there(&truth, &titles);
        each_hears_of_their_own(&truth);
        versions_are_in_order(&truth);
        let verified = self.home.run(&["verify"]).await;
        let said = (lines(&verified.stdout), lines(&verified.stderr));
        assert_eq!(verified.status.code(), Some(0), "{said:#?}");
        for server in &servers {
            server.signal("TERM").await;
        }
        for server in servers {
            assert_eq!(server.ended().await.code(), Some(0));
        }
        Proof { late, private }
    }

    /// All that everybody may hear since the start, and the titles of jobs, as one node tells it.
    async fn read_all_events(&self, server: SocketAddr) -> (Truth, HashMap<String, String>) {
        let (mut truth, mut titles) = (Truth::new(), HashMap::new());
        let http = Http::new(server);
        for viewer in [None].into_iter().chain((0..self.load.people.len()).map(Some)) {
            self.read_events(&http, viewer, &mut truth, &mut titles).await;
        }
        (truth, titles)
    }

    /// All that somebody may hear since the start, in the words of `events`.
    async fn read_events(
        &self,
        http: &Http,
        viewer: Option<usize>,
        truth: &mut Truth,
        titles: &mut HashMap<String, String>,
    ) {
        let token = viewer.map(|viewer| self.load.people[viewer].token.as_str());
        let mut after = self.start.clone();
        loop {
            let page = http.graphql(token, EVENTS, json!({ "after": after })).await.data()["events"].clone();
            for edge in page["edges"].as_array().expect("edges") {
                let node = &edge["node"];
                let kind = kind_of(&text(node, "/__typename"));
                let subject = ["claim", "job", "wallet", "notification"].map(|subject| &node[subject]);
                let subject = subject.into_iter().find(|subject| subject.is_object()).expect("a subject");
                if let Some(title) = subject["title"].as_str() {
                    titles.insert(text(subject, "/id"), title.to_owned());
                }
                truth.entry(Listener { viewer, kind }).or_default().push(Heard {
                    position: position(&text(edge, "/cursor")),
                    id: text(node, "/id"),
                    subject: text(subject, "/id"),
                    version: subject["version"].as_i64().unwrap_or_default(),
                });
            }
            after = text(&page, "/pageInfo/endCursor");
            if page["pageInfo"]["hasNextPage"] == Value::Bool(false) {
                return;
            }
        }
    }

    /// Nothing that was acknowledged is missing, and what was asked for again was done once.
    fn acknowledged_changes_are_there(&self, truth: &Truth, titles: &HashMap<String, String>) {
        let known: HashSet<(&str, i64)> =
            truth.values().flatten().map(|event| (event.subject.as_str(), event.version)).collect();
        for effect in self.load.effects() {
            assert!(known.contains(&(effect.subject.as_str(), effect.version)), "{effect:?} has no event");
        }
        let posted = self.load.posted();
        let mut jobs: HashMap<&str, HashSet<&str>> = HashMap::new();
        for (job, title) in titles {
            jobs.entry(title.as_str()).or_default().insert(job.as_str());
        }
        for (title, job) in &posted {
            assert_eq!(jobs.get(title.as_str()), Some(&HashSet::from([job.as_str()])), "{title} was posted once");
        }
    }
}

fn kind_of(name: &str) -> EventKind {
    match name {
        "JobPostedEvent" => JOB_POSTED,
        "JobUpdatedEvent" => JOB_UPDATED,
        "ClaimUpdatedEvent" => CLAIM_UPDATED,
        "WalletUpdatedEvent" => WALLET_UPDATED,
        "NotificationReceivedEvent" => NOTIFICATION_RECEIVED,
        _ => panic!("{name} is no event"),
    }
}

fn end_of(truth: &Truth, listener: &Listener) -> i64 {
    truth.get(listener).and_then(|events| events.last()).map_or(0, |event| event.position)
}

/// Of each job and wallet, as far as one viewer hears of it; a wallet's owner hears of every version.
fn versions_are_in_order(truth: &Truth) {
    for (listener, events) in truth {
        let mut last: HashMap<&str, i64> = HashMap::new();
        for event in events.iter().filter(|_| listener.kind != NOTIFICATION_RECEIVED) {
            let before = last.insert(&event.subject, event.version);
            let Some(before) = before else { continue };
            let next =
                if listener.kind == WALLET_UPDATED { event.version == before + 1 } else { event.version > before };
            assert!(next, "{listener:?}: {event:?} comes after version {before}");
        }
    }
}

/// A wallet and a notification are one person's alone, and no stranger's.
fn each_hears_of_their_own(truth: &Truth) {
    let mut owners: HashMap<&str, usize> = HashMap::new();
    for (listener, events) in truth {
        if !matches!(listener.kind, WALLET_UPDATED | NOTIFICATION_RECEIVED) {
            continue;
        }
        for event in events {
            let viewer = listener.viewer.unwrap_or_else(|| panic!("a stranger hears {event:?}"));
            let owner = *owners.entry(&event.subject).or_insert(viewer);
            assert_eq!(owner, viewer, "{event:?} is heard by two people");
        }
    }
}
