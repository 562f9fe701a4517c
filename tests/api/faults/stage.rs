//! What every fault run has in common: a server that is a process of its own, a crowd at work, clients that listen, and
//! in the end the proof that none of them has missed, doubled or misordered anything, with a short report.

use std::{
    collections::{HashMap, HashSet},
    env,
    fmt::Write,
    fs,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use futures_util::future::join;
use lancewire::{clock::Clock, events::EventKind, ids::Ids};
use serde_json::{Value, json};

use super::{
    fleet::{Fleet, Heard, Listener, position},
    load::Load,
};
use crate::support::{
    app::migrate,
    binary::{Home, Port, Server, lines},
    http::Http,
    people::text,
    postgres::{self, Mortal},
    proxy::Proxy,
};

const EVENTS: &str = "query($after: String) { events(first: 100, after: $after) { edges { cursor node { __typename id \
                      ... on JobPostedEvent { job { id version title } } ... on JobUpdatedEvent { job { id version } } \
                      ... on WalletUpdatedEvent { wallet { id version } } \
                      ... on NotificationReceivedEvent { notification { id } } } } pageInfo { hasNextPage endCursor } } }";

/// The database below a fault run.
pub enum Below {
    Sqlite,
    /// The one that all tests share.
    Postgres(postgres::Database),
    /// One of its own, which may crash.
    Mortal(Mortal),
}

/// How long and how large.
pub struct Scale {
    pub clients: usize,
    /// At least so many faults ..
    pub rounds: usize,
    /// .. and for at least so long.
    pub lasts: Duration,
    /// Whether this is the long run.
    pub soak: bool,
    began: Instant,
}

/// A run under way.
pub struct Stage {
    pub scale: Scale,
    pub below: Below,
    pub home: Home,
    pub port: Port,
    pub proxy: Proxy,
    pub load: Load,
    /// Where all clients begin.
    pub start: String,
    pub report: Report,
    /// The same numbers each time, so that a failure can be run again.
    pub random: Ids,
    name: &'static str,
}

/// What a run says in the end.
#[derive(Debug, Default)]
pub struct Report {
    pub faults: usize,
    /// Moments at which something broke.
    pub at: Vec<Instant>,
    /// More that a story has to say.
    pub remarks: Vec<String>,
}

/// What was proven.
#[derive(Debug)]
pub struct Proof {
    /// Changes that were acknowledged before a fault and delivered after it, over all subscriptions.
    pub late: usize,
}

/// What one viewer may hear of one kind, as `events` tells it.
type Truth = HashMap<Listener, Vec<Heard>>;

impl Scale {
    /// So many clients and faults in the short run; in the long one, as the environment says.
    fn new(clients: usize, rounds: usize) -> Self {
        let number = |name: &str| {
            let text = env::var(name).ok().filter(|text| !text.is_empty())?;
            Some(text.parse::<u32>().unwrap_or_else(|_| panic!("{name} is no number")))
        };
        let seconds = number("LANCEWIRE_SOAK_SECONDS");
        let more = number("LANCEWIRE_SOAK_CLIENTS").map(|clients| usize::try_from(clients).expect("small"));
        Self {
            clients: more.unwrap_or(clients),
            rounds,
            lasts: Duration::from_secs(seconds.unwrap_or(0).into()),
            soak: seconds.is_some(),
            began: Instant::now(),
        }
    }

    /// Whether another round is wanted.
    pub fn goes_on(&self, round: usize) -> bool {
        round < self.rounds || self.began.elapsed() < self.lasts
    }
}

impl Stage {
    /// Starts a server below which there is `below`, signs the crowd in and notes where the log stands.
    pub async fn set(
        name: &'static str,
        below: Below,
        (clients, rounds): (usize, usize),
        settings: &[(&'static str, &str)],
        wire_buffer: Option<u32>,
        description: usize,
    ) -> (Self, Server) {
        let port = Port::reserve();
        let mut home = Home::new()
            .with("LANCEWIRE_HTTP__LISTEN", port.addr.to_string())
            .with("LANCEWIRE_AUTH__ACCESS_TOKEN_SECONDS", "86400")
            .with("LANCEWIRE_MARKETPLACE__LIVE_CLAIMS", "1000000")
            .with("LANCEWIRE_SOCKETS__SOCKETS_PER_ADDRESS", "100000")
            .with("LANCEWIRE_SOCKETS__SOCKETS_PER_USER", "100000")
            .with("LANCEWIRE_BUDGETS__ANONYMOUS", "100000000")
            .with("LANCEWIRE_BUDGETS__SIGNED_IN", "100000000")
            .with("LANCEWIRE_DATABASE__ACQUIRE_TIMEOUT_MS", "1000")
            // What breaks is broken on purpose; panics are still told.
            .with("LANCEWIRE_TELEMETRY__FILTER", "off");
        match &below {
            Below::Sqlite => {}
            Below::Postgres(database) => home = home.with("LANCEWIRE_DATABASE__URL", database.url()),
            Below::Mortal(database) => home = home.with("LANCEWIRE_DATABASE__URL", database.url()),
        }
        home = settings.iter().fold(home, |home, (name, value)| home.with(name, *value));
        let server = home.serve().await;
        let load = Load::new(port.addr, description).await;
        let reply = Http::new(port.addr).graphql(None, "{ streamCursor }", json!({})).await;
        let stage = Self {
            scale: Scale::new(clients, rounds),
            below,
            home,
            proxy: Proxy::to(port.addr, wire_buffer),
            port,
            load,
            start: text(&reply.body, "/data/streamCursor"),
            report: Report::default(),
            random: Ids::seeded(Clock::system(), 20_261_124),
            name,
        };
        (stage, server)
    }

    /// Clients of every sort: strangers at the feed, strangers at the changes, people at all that is theirs, and people
    /// at the feed and the changes.
    pub async fn fleet(&self) -> Fleet {
        use EventKind::{JobPosted, JobUpdated, NotificationReceived, WalletUpdated};

        let people = self.load.people.len();
        let clients = (0..self.scale.clients).map(|number| {
            let person = Some((number / 4) % people);
            let (viewer, kinds): (_, &[EventKind]) = match number % 4 {
                0 => (None, &[JobPosted]),
                1 => (None, &[JobUpdated, JobPosted]),
                2 => (person, &[WalletUpdated, NotificationReceived]),
                _ => (person, &[JobPosted, JobUpdated, WalletUpdated]),
            };
            kinds.iter().map(|kind| Listener { viewer, kind: *kind }).collect()
        });
        self.fleet_of(clients.collect(), "").await
    }

    /// Clients, each by what it listens to, through the proxy, asking for more fields of each job.
    pub async fn fleet_of(&self, clients: Vec<Vec<Listener>>, more: &str) -> Fleet {
        let token = |viewer: usize| self.load.people[viewer].token.clone();
        Fleet::start(self.proxy.addr, &clients, token, &self.start, more).await
    }

    /// Proves that every record is what `events` says, that each acknowledged change is in it, and that the books and
    /// the log are right; then stops the server and reports.
    pub async fn prove(self, fleets: &[&Fleet], server: Server) -> Proof {
        let mut truth = Truth::new();
        let mut titles = HashMap::new();
        for viewer in [None].into_iter().chain((0..self.load.people.len()).map(Some)) {
            self.read_events(viewer, &mut truth, &mut titles).await;
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
                    for effect in &effects {
                        let fault = self.report.at.iter().find(|fault| **fault > effect.at);
                        let same = |(heard, _): &&(Heard, Instant)| {
                            (heard.version, &heard.subject) == (effect.version, &effect.subject)
                        };
                        let late_here =
                            fault.is_some_and(|fault| stream.iter().filter(same).any(|(_, arrived)| arrived > fault));
                        late += usize::from(late_here);
                    }
                }
            });
        }

        let mut report = String::new();
        let outages = self.load.outages();
        let unavailable = outages.iter().sum::<Duration>().as_secs_f64();
        let longest = outages.iter().max().map_or(0.0, Duration::as_secs_f64);
        let mut closed: Vec<(u64, usize)> = closed.into_iter().collect();
        closed.sort_unstable();
        let closed: Vec<String> = closed.iter().map(|(code, number)| format!("{code}: {number}")).collect();
        for (what, number) in [
            ("faults", self.report.faults.to_string()),
            ("seconds", format!("{:.1}", self.scale.began.elapsed().as_secs_f64())),
            ("without an answer, seconds", format!("{unavailable:.1}, at most {longest:.1} at once")),
            ("acknowledged changes", effects.len().to_string()),
            ("events", events.len().to_string()),
            ("subscriptions", fleets.iter().map(|fleet| fleet.listeners.len()).sum::<usize>().to_string()),
            ("delivered", heard.to_string()),
            ("lost", lost.to_string()),
            ("doubled", doubled.to_string()),
            ("records unlike events", strange.to_string()),
            ("dropped by the cursor check", seen.to_string()),
            ("acknowledged before a fault, delivered after it", late.to_string()),
            ("connections", connected.to_string()),
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
        self.publish(&report);

        assert!(lost + doubled + strange == 0, "{report}{complaints}");
        assert_eq!(errors.len(), 0, "a stock client gives up when its operation ends in errors\n{report}");
        self.acknowledged_changes_are_there(&truth, &titles);
        versions_are_in_order(&truth);
        let verified = self.home.run(&["verify"]).await;
        assert_eq!(verified.status.code(), Some(0), "{:#?}", lines(&verified.stdout));
        server.signal("TERM").await;
        assert_eq!(server.ended().await.code(), Some(0));
        Proof { late }
    }

    /// All that somebody may hear since the start, in the words of `events`.
    async fn read_events(&self, viewer: Option<usize>, truth: &mut Truth, titles: &mut HashMap<String, String>) {
        let http = Http::new(self.port.addr);
        let token = viewer.map(|viewer| self.load.people[viewer].token.as_str());
        let mut after = self.start.clone();
        loop {
            let page = http.graphql(token, EVENTS, json!({ "after": after })).await.data()["events"].clone();
            for edge in page["edges"].as_array().expect("edges") {
                let node = &edge["node"];
                let kind = kind_of(&text(node, "/__typename"));
                let subject = ["job", "wallet", "notification"].map(|subject| &node[subject]);
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

    fn publish(&self, report: &str) {
        let report = format!("{}\n{report}", self.name);
        println!("\n{report}");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults");
        fs::create_dir_all(&folder).expect("a folder for reports");
        fs::write(folder.join(format!("{}.txt", self.name)), report).expect("the report is written");
    }
}

impl Below {
    /// A database of one's own on the PostgreSQL that all tests share.
    pub async fn postgres() -> Self {
        Self::Postgres(postgres::shared().await.database(migrate).await)
    }

    pub async fn mortal() -> Self {
        Self::Mortal(Mortal::start().await)
    }
}

/// The crowd works while the story breaks things, and stops when it is told.
pub async fn meanwhile<T>(load: &Load, story: impl Future<Output = T>) -> T {
    let story = async {
        let told = story.await;
        load.stop();
        told
    };
    join(load.run(), story).await.1
}

/// How long after its answer a change that was made since `began` reached each subscription that hears of it, in order
/// of length.
pub fn delays(load: &Load, fleet: &Fleet, began: Instant) -> Vec<Duration> {
    let answered: HashMap<(String, i64), Instant> = load
        .effects()
        .into_iter()
        .filter(|effect| effect.at > began)
        .map(|effect| ((effect.subject, effect.version), effect.at))
        .collect();
    let delay = |(heard, arrived): &(Heard, Instant)| {
        let answered = answered.get(&(heard.subject.clone(), heard.version))?;
        Some(arrived.saturating_duration_since(*answered))
    };
    let mut delays: Vec<Duration> = fleet.look(|records| records.streams.iter().flatten().filter_map(delay).collect());
    delays.sort_unstable();
    delays
}

/// A number that the server keeps of itself, by its name and labels in `/metrics`; zero before it has any.
pub async fn metric(server: SocketAddr, name: &str) -> f64 {
    let http = Http::new(server);
    let metrics = http.request(reqwest::Method::GET, "/metrics").send().await.expect("metrics").text().await;
    let metrics = metrics.expect("a body");
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |number| number.parse().expect("a number"))
}

fn kind_of(name: &str) -> EventKind {
    match name {
        "JobPostedEvent" => EventKind::JobPosted,
        "JobUpdatedEvent" => EventKind::JobUpdated,
        "WalletUpdatedEvent" => EventKind::WalletUpdated,
        "NotificationReceivedEvent" => EventKind::NotificationReceived,
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
        for event in events.iter().filter(|_| listener.kind != EventKind::NotificationReceived) {
            let before = last.insert(&event.subject, event.version);
            let Some(before) = before else { continue };
            let next = if listener.kind == EventKind::WalletUpdated {
                event.version == before + 1
            } else {
                event.version > before
            };
            assert!(next, "{listener:?}: {event:?} comes after version {before}");
        }
    }
}
