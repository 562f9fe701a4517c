//! What every fault run has in common: one server or two nodes that are processes of their own, a crowd at work, and
//! clients that listen. [`super::proof`] has the end of it.

use std::{
    collections::HashMap,
    env,
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures_util::future::join;
use lancewire::{clock::Clock, events::EventKind, ids::Ids};
use lancewire::{
    jobs::events::{JOB_POSTED, JOB_UPDATED},
    notifications::events::NOTIFICATION_RECEIVED,
    wallet::events::WALLET_UPDATED,
};
use serde_json::json;

use super::{
    fleet::{Fleet, Heard, Listener},
    load::Load,
    readiness::Readiness,
};
use crate::support::{
    app::migrate,
    binary::{Home, Port, Server},
    cluster::Cluster,
    http::Http,
    people::text,
    postgres::{self, Mortal},
    proxy::Proxy,
};

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
    pub began: Instant,
}

/// A run under way.
pub struct Stage {
    pub scale: Scale,
    pub below: Below,
    /// Where the program finds the database: the server's own home, or one beside the nodes'.
    pub home: Home,
    /// Where the crowd works: the server, or the balancer in front of the nodes.
    pub addr: SocketAddr,
    /// The clients' wire to there.
    pub proxy: Proxy,
    pub load: Load,
    /// Where all clients begin.
    pub start: String,
    pub report: Report,
    /// The same numbers each time, so that a failure can be run again.
    pub random: Ids,
    pub name: &'static str,
    _port: Option<Port>,
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

    /// The numbers of the rounds, for as long as another one is wanted.
    pub fn rounds(&self) -> impl Iterator<Item = usize> {
        (0..).take_while(|round| *round < self.rounds || self.began.elapsed() < self.lasts)
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
        let home = settings.iter().fold(Home::new(), |home, (name, value)| home.with(name, *value));
        Self::set_in(home, name, below, (clients, rounds), wire_buffer, description).await
    }

    /// The same for a server that lives in a special home.
    pub async fn set_in(
        home: Home,
        name: &'static str,
        below: Below,
        (clients, rounds): (usize, usize),
        wire_buffer: Option<u32>,
        description: usize,
    ) -> (Self, Server) {
        let port = Port::reserve();
        let home = dressed(home).with("LANCEWIRE_HTTP__LISTEN", port.addr.to_string());
        let home = below.url().into_iter().fold(home, |home, url| home.with("LANCEWIRE_DATABASE__URL", url));
        let server = home.serve().await;
        let addr = port.addr;
        let stage = Self::at(name, below, home, addr, (clients, rounds), wire_buffer, description).await;
        (Self { _port: Some(port), ..stage }, server)
    }

    /// The same with two nodes on one `PostgreSQL`, each in a home that `dress` has added to.
    pub async fn set_cluster(
        name: &'static str,
        below: Below,
        (clients, rounds): (usize, usize),
        dress: impl Fn(Home) -> Home,
    ) -> (Self, Cluster, Readiness) {
        let url = below.url().expect("nodes share a PostgreSQL").to_owned();
        let cluster = Cluster::start(&url, |home| dress(dressed(home))).await;
        let home = dressed(Home::new()).with("LANCEWIRE_DATABASE__URL", url);
        let stage = Self::at(name, below, home, cluster.balancer.addr, (clients, rounds), None, 20).await;
        let readiness = Readiness::of(cluster.nodes.each_ref().map(|node| node.addr));
        (stage, cluster, readiness)
    }

    async fn at(
        name: &'static str,
        below: Below,
        home: Home,
        addr: SocketAddr,
        (clients, rounds): (usize, usize),
        wire_buffer: Option<u32>,
        description: usize,
    ) -> Self {
        let load = Load::new(addr, description).await;
        let reply = Http::new(addr).graphql(None, "{ streamCursor }", json!({})).await;
        Self {
            scale: Scale::new(clients, rounds),
            below,
            home,
            proxy: Proxy::to(addr, wire_buffer),
            addr,
            load,
            start: text(&reply.body, "/data/streamCursor"),
            report: Report::default(),
            random: Ids::seeded(Clock::system(), 20_261_124),
            name,
            _port: None,
        }
    }

    /// Clients of every sort: strangers at the feed, strangers at the changes, people at all that is theirs, and people
    /// at the feed and the changes.
    pub async fn fleet(&self) -> Fleet {
        let people = self.load.people.len();
        let clients = (0..self.scale.clients).map(|number| {
            let person = Some((number / 4) % people);
            let (viewer, kinds): (_, &[EventKind]) = match number % 4 {
                0 => (None, &[JOB_POSTED]),
                1 => (None, &[JOB_UPDATED, JOB_POSTED]),
                2 => (person, &[WALLET_UPDATED, NOTIFICATION_RECEIVED]),
                _ => (person, &[JOB_POSTED, JOB_UPDATED, WALLET_UPDATED]),
            };
            kinds.iter().map(|kind| Listener { viewer, kind: *kind }).collect()
        });
        self.fleet_of(clients.collect(), "").await
    }

    /// Clients, each by what it listens to, through the proxy, asking for more fields of each job.
    pub async fn fleet_of(&self, clients: Vec<Vec<Listener>>, more: &str) -> Fleet {
        self.fleet_at(self.proxy.addr, clients, more).await
    }

    /// The same, without the wire that can be cut.
    pub async fn fleet_at(&self, addr: SocketAddr, clients: Vec<Vec<Listener>>, more: &str) -> Fleet {
        let token = |viewer: usize| self.load.people[viewer].token.clone();
        Fleet::start(addr, &clients, token, &self.start, more).await
    }

    /// One stranger and a few of the people, who ask for what only the parties of a job may see.
    pub async fn curious(&self) -> Fleet {
        let viewers = [None, Some(0), Some(1), Some(3), Some(4), Some(self.load.people.len() - 1)];
        let kinds = [JOB_POSTED, JOB_UPDATED];
        let clients = viewers.map(|viewer| kinds.map(|kind| Listener { viewer, kind }).into());
        self.fleet_of(clients.into(), "escrow { amount }").await
    }
}

impl Below {
    /// What to connect to, unless it is the server's own file.
    pub fn url(&self) -> Option<&str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres(database) => Some(database.url()),
            Self::Mortal(database) => Some(database.url()),
        }
    }

    /// A database of one's own on the PostgreSQL that all tests share.
    pub async fn postgres() -> Self {
        Self::Postgres(postgres::shared().await.database(migrate).await)
    }

    pub async fn mortal() -> Self {
        Self::Mortal(Mortal::start().await)
    }
}

/// Settings under which a crowd may work for hours and what breaks is noticed soon.
fn dressed(home: Home) -> Home {
    home.with("LANCEWIRE_AUTH__ACCESS_TOKEN_SECONDS", "86400")
        .with("LANCEWIRE_MARKETPLACE__LIVE_CLAIMS", "1000000")
        .with("LANCEWIRE_SOCKETS__SOCKETS_PER_ADDRESS", "100000")
        .with("LANCEWIRE_SOCKETS__SOCKETS_PER_USER", "100000")
        .with("LANCEWIRE_SUBSCRIPTIONS__BYTES_PER_ADDRESS", "1000000000")
        .with("LANCEWIRE_SUBSCRIPTIONS__BYTES_PER_USER", "1000000000")
        .with("LANCEWIRE_SUBSCRIPTIONS__BYTES", "1000000000")
        .with("LANCEWIRE_AUTH__SIGN_UPS_PER_ADDRESS", "100000000")
        .with("LANCEWIRE_BUDGETS__ANONYMOUS", "100000000")
        .with("LANCEWIRE_BUDGETS__SIGNED_IN", "100000000")
        .with("LANCEWIRE_DATABASE__ACQUIRE_TIMEOUT_MS", "1000")
        // What breaks is broken on purpose; panics are still told.
        .with("LANCEWIRE_TELEMETRY__FILTER", "off")
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
