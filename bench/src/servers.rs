//! The servers that are compared, and how each is started and spoken to.

use std::{path::Path, rc::Rc};

use anyhow::{Context as _, Result, bail};
use lancewire_bench::wire;
use serde_json::json;

use crate::{
    lancewire::{Lancewire, Settings},
    load::{
        Load, Numbered, Subscriber,
        publisher::Request,
        record::Hears,
        socket::{Opening, Protocol},
    },
    options::Options,
    process::{Process, Program, free_address},
};

/// Publishes a change; the title carries the mark.
pub const UPDATE_JOB: &str =
    "mutation($input: UpdateJobInput!) { updateJob(input: $input) { job { id version } errors { __typename } } }";

/// What every subscriber of a comparison asks for.
pub const JOB_UPDATED: &str = r#"{"query":"subscription { jobUpdated { id cursor job { id version title } } }"}"#;

/// Accounts that the subscribers of a comparison take turns with.
const ACCOUNTS: usize = 50;

/// A server of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Lancewire,
    Against,
    Raw,
    SocketIo,
    Stock,
    Mercurius,
    Yoga,
    Apollo,
}

impl Kind {
    /// All, in the order of the report.
    pub const ALL: [Self; 8] = [
        Self::Lancewire,
        Self::Against,
        Self::Raw,
        Self::SocketIo,
        Self::Stock,
        Self::Mercurius,
        Self::Yoga,
        Self::Apollo,
    ];

    /// As the command line has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lancewire => "lancewire",
            Self::Against => "against",
            Self::Raw => "raw",
            Self::SocketIo => "socketio",
            Self::Stock => "stock",
            Self::Mercurius => "mercurius",
            Self::Yoga => "yoga",
            Self::Apollo => "apollo",
        }
    }

    /// As the report has it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Lancewire => "**lancewire**",
            Self::Against => "lancewire, the other build",
            Self::Raw => "raw ceiling",
            Self::SocketIo => "Socket.IO",
            Self::Stock => "lancewire's schema over async-graphql-axum",
            Self::Mercurius => "Mercurius",
            Self::Yoga => "graphql-yoga, graphql-ws",
            Self::Apollo => "Apollo Server, graphql-ws",
        }
    }

    /// The one with this name.
    pub fn named(name: &str) -> Result<Self> {
        let known = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .with_context(|| format!("no server {name}; there are: {}", known()))
    }

    const fn protocol(self) -> Protocol {
        match self {
            Self::Raw => Protocol::Plain,
            Self::SocketIo => Protocol::SocketIo,
            Self::Stock => Protocol::Stock,
            _ => Protocol::Graphql,
        }
    }
}

/// A server that is ready for a comparison: everybody hears every change of its jobs.
pub struct Target {
    protocol: Protocol,
    server: Server,
    requests: Vec<Request>,
    openings: Vec<Opening>,
}

enum Server {
    Lancewire(Box<Lancewire>),
    Peer(Process),
}

impl Target {
    /// Starts a server with `jobs` jobs; what it writes goes below `home`.
    pub fn start(kind: Kind, jobs: usize, options: &Options, home: &Path) -> Result<Self> {
        match kind {
            Kind::Lancewire => Self::lancewire_on(&Settings::of(options), jobs, options, home),
            Kind::Against => {
                let other = options.other_build().context("--against names no build")?;
                Self::lancewire_on(&Settings::of(&other), jobs, &other, home)
            }
            // The same program, schema and database; the subscribers come to async-graphql-axum's own sockets.
            Kind::Stock => {
                let settings = Settings::of(options).set("LANCEWIRE_HTTP__STOCK_MOUNT", true);
                let target = Self::lancewire_on(&settings, jobs, options, home)?;
                Ok(Self { protocol: kind.protocol(), ..target })
            }
            _ => {
                let address = free_address()?;
                let program = peer(kind, &address.to_string(), options)?;
                let process = Process::start(&program, address, &home.join("server.log"))?;
                let requests = (0..jobs).map(|job| change_request(None, &format!("job_{job:026}"))).collect();
                Ok(Self {
                    protocol: kind.protocol(),
                    server: Server::Peer(process),
                    requests,
                    openings: vec![opening(None)],
                })
            }
        }
    }

    /// Starts lancewire with these settings.
    pub fn lancewire_on(settings: &Settings, jobs: usize, options: &Options, home: &Path) -> Result<Self> {
        let mut lancewire = Lancewire::start(options, settings, home)?;
        let requests = lancewire.change_requests(jobs)?;
        let openings = lancewire.accounts(ACCOUNTS)?.into_iter().map(|token| opening(Some(token))).collect();
        let server = Server::Lancewire(Box::new(lancewire));
        Ok(Self { protocol: Protocol::Graphql, server, requests, openings })
    }

    /// A generator with a connection for each job and no subscribers yet.
    pub fn load(&self) -> Result<Load> {
        Load::new(self.process().address, self.protocol, Numbered::Mark, self.requests.len(), self.requests.clone())
    }

    /// Subscribers to all changes; they take turns with the accounts.
    pub fn subscribers(&self, count: usize) -> impl Iterator<Item = Subscriber> {
        self.openings
            .iter()
            .cycle()
            .take(count)
            .map(|opening| Subscriber { opening: opening.clone(), hears: Hears::Every })
    }

    /// The server's process.
    pub fn process(&self) -> &Process {
        match &self.server {
            Server::Lancewire(lancewire) => &lancewire.process,
            Server::Peer(process) => process,
        }
    }

    /// Lancewire itself, if that is what this is.
    pub fn lancewire(&mut self) -> Option<&mut Lancewire> {
        match &mut self.server {
            Server::Lancewire(lancewire) => Some(lancewire),
            Server::Peer(_) => None,
        }
    }
}

fn opening(token: Option<Rc<str>>) -> Opening {
    Opening { token, subscriptions: Rc::new([JOB_UPDATED.to_owned()]) }
}

/// A change of a job's title, as long as titles are.
pub fn change_request(token: Option<&str>, job: &str) -> Request {
    let title = format!("Port a billing service to Rust {}", wire::blank_mark());
    Request::graphql(token, UPDATE_JOB, &json!({ "input": { "id": job, "patch": { "title": title } } }))
}

fn peer(kind: Kind, address: &str, options: &Options) -> Result<Program> {
    let node = |script: &str| {
        Program::new("node").argument(options.peers().join(script).display().to_string()).set("NODE_ENV", "production")
    };
    let program = match kind {
        Kind::Raw => Program::new(Options::sibling("raw")?),
        Kind::SocketIo => node("socketio.js"),
        Kind::Mercurius => node("mercurius.js"),
        Kind::Yoga => node("yoga.js"),
        Kind::Apollo => node("apollo.js"),
        Kind::Lancewire | Kind::Against | Kind::Stock => bail!("lancewire is no peer"),
    };
    Ok(program.argument(address))
}
