//! Asks each node all the time whether it is ready, as a balancer would, and remembers.

use std::{
    collections::BTreeMap,
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
#[derive(Clone, Debug)]
struct Said {
    last: Says,
    /// When that was asked.
    asked: Instant,
    /// How long it was not ready, in all.
    unready: Duration,
    /// How often it was not, by what it said of it.
    reasons: BTreeMap<String, usize>,
}

/// The answers of all nodes.
#[derive(Debug)]
pub struct Readiness {
    nodes: Vec<(watch::Receiver<Said>, AbortOnDropHandle<()>)>,
}

impl Readiness {
    /// Begins to ask nodes that are ready.
    #[expect(clippy::disallowed_methods, reason = "the task is aborted with this value")]
    pub fn of(nodes: impl IntoIterator<Item = SocketAddr>) -> Self {
        let begin = |node: SocketAddr| {
            let (asked, unready) = (Instant::now(), Duration::ZERO);
            let said = watch::Sender::new(Said { last: Says::Ready, asked, unready, reasons: BTreeMap::new() });
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
        let reasons: Vec<_> = self.nodes.iter().map(|(said, _)| said.borrow().reasons.clone()).collect();
        format!("not ready, seconds by node: {}; {reasons:?}", unready.collect::<Vec<_>>().join(", "))
    }

    /// How long a node was not ready so far.
    pub fn unready(&self, node: usize) -> Duration {
        self.nodes[node].0.borrow().unready
    }

    /// What a node said when it was not ready, and how often.
    pub fn reasons(&self, node: usize) -> BTreeMap<String, usize> {
        self.nodes[node].0.borrow().reasons.clone()
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
        let answer = client.get(format!("http://{node}/health/ready")).send().await;
        let (last, reason) = match answer {
            Ok(answer) => match answer.status() {
                StatusCode::OK => (Says::Ready, None),
                StatusCode::SERVICE_UNAVAILABLE => (Says::NotReady, answer.text().await.ok()),
                other => panic!("/health/ready answers {other}"),
            },
            Err(_) => (Says::Nothing, Some("no answer".to_owned())),
        };
        let passed = before.elapsed();
        before = Instant::now();
        said.send_modify(|said| {
            let unready = said.unready + if last == Says::Ready { Duration::ZERO } else { passed };
            if let Some(reason) = reason {
                *said.reasons.entry(reason).or_default() += 1;
            }
            (said.last, said.asked, said.unready) = (last, asked, unready);
        });
    }
}
