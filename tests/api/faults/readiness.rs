//! Asks each node all the time whether it is ready, as a balancer would, and remembers.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use reqwest::{Client, StatusCode};
use tokio::{sync::watch, time::MissedTickBehavior};
use tokio_util::task::AbortOnDropHandle;

/// How often each node is asked.
const TICK: Duration = Duration::from_millis(100);
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long anything that must come may take.
const GUARD: Duration = Duration::from_secs(60);

/// What a node says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    Ready,
    /// 503.
    NotReady,
    /// No answer.
    Nothing,
}

/// What one node has said so far.
#[derive(Clone, Copy, Debug)]
struct Said {
    last: Says,
    /// When that was asked.
    asked: Instant,
    /// How long it was not ready, in all.
    unready: Duration,
}

/// The answers of all nodes.
#[derive(Debug)]
pub struct Readiness {
    nodes: Vec<(watch::Receiver<Said>, AbortOnDropHandle<()>)>,
}

impl Readiness {
    /// Begins to ask nodes that are ready.
    #[expect(clippy::disallowed_methods, reason = "whoever asks is aborted with this value")]
    pub fn of(nodes: impl IntoIterator<Item = SocketAddr>) -> Self {
        let begin = |node: SocketAddr| {
            let said = watch::Sender::new(Said { last: Says::Ready, asked: Instant::now(), unready: Duration::ZERO });
            let answers = said.subscribe();
            (answers, AbortOnDropHandle::new(tokio::spawn(ask(node, said))))
        };
        Self { nodes: nodes.into_iter().map(begin).collect() }
    }

    /// Waits until a node that is asked from now on says one of these.
    pub async fn until(&self, node: usize, wanted: &[Says]) {
        let (mut said, now) = (self.nodes[node].0.clone(), Instant::now());
        let waited =
            tokio::time::timeout(GUARD, said.wait_for(|said| said.asked >= now && wanted.contains(&said.last)));
        let Ok(said) = waited.await else {
            panic!("node{} never said {wanted:?}: {:?}", node + 1, self.nodes[node].0.borrow())
        };
        said.expect("it is asked all the time");
    }

    /// How long each node was not ready, for the report.
    pub fn remark(&self) -> String {
        let unready = self.nodes.iter().map(|(said, _)| format!("{:.1}", said.borrow().unready.as_secs_f64()));
        format!("not ready, seconds by node: {}", unready.collect::<Vec<_>>().join(", "))
    }

    /// How long a node was not ready so far.
    pub fn unready(&self, node: usize) -> Duration {
        self.nodes[node].0.borrow().unready
    }
}

async fn ask(node: SocketAddr, said: watch::Sender<Said>) {
    // Each time anew: a connection that a frozen node keeps says nothing of one that is made now.
    let client = Client::builder().no_proxy().timeout(PATIENCE).pool_max_idle_per_host(0).build();
    let client = client.expect("an HTTP client");
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = Instant::now();
    loop {
        ticks.tick().await;
        let asked = Instant::now();
        let last = match client.get(format!("http://{node}/health/ready")).send().await.map(|answer| answer.status()) {
            Ok(StatusCode::OK) => Says::Ready,
            Ok(StatusCode::SERVICE_UNAVAILABLE) => Says::NotReady,
            Ok(other) => panic!("/health/ready answers {other}"),
            Err(_) => Says::Nothing,
        };
        let passed = before.elapsed();
        before = Instant::now();
        said.send_modify(|said| {
            let unready = said.unready + if last == Says::Ready { Duration::ZERO } else { passed };
            *said = Said { last, asked, unready };
        });
    }
}
