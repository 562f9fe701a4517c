//! Liveness, readiness and metrics, for operators and their machines.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use tokio::{sync::Mutex, time::Instant};

use crate::{db::Db, lifecycle::Lifecycle, migrations::SchemaWatch, realtime::Hub};

/// How many committed events may wait for delivery before the node says it is not ready.
const MAX_BEHIND: i64 = 10_000;

/// How long the database may take to answer: less than probes and balancers wait, so that they are told and do not
/// guess.
const TIME_LIMIT: Duration = Duration::from_secs(1);

/// How long what the database said is good for everybody who asks meanwhile: nobody pays for a probe, so however many come,
/// the database is asked no more often than this.
const FRESH: Duration = Duration::from_millis(50);

/// What these questions are answered from. Clones share it.
#[derive(Clone)]
pub struct Probes {
    db: Db,
    hub: Hub,
    lifecycle: Lifecycle,
    metrics: Option<PrometheusHandle>,
    schema: Arc<SchemaWatch>,
    readiness: Arc<Readiness>,
}

impl Probes {
    /// `metrics` is what `/metrics` prints.
    pub fn new(db: Db, hub: Hub, lifecycle: Lifecycle, metrics: Option<PrometheusHandle>) -> Self {
        Self { db, hub, lifecycle, metrics, schema: Arc::default(), readiness: Arc::default() }
    }
}

/// What the database said last, and when. One looks at a time, the others wait for what it finds.
#[derive(Debug, Default)]
struct Readiness(Mutex<Option<(Instant, Found)>>);

/// What the database says.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    database: bool,
    schema: Option<bool>,
    head: Option<i64>,
    writes: bool,
}

impl Readiness {
    async fn look(&self, probes: &Probes) -> Found {
        // Silence is no answer, and neither is a long wait for somebody else's.
        let looked = tokio::time::timeout(TIME_LIMIT, async {
            let mut last = self.0.lock().await;
            if let Some((_, found)) = last.filter(|(at, _)| at.elapsed() < FRESH) {
                return found;
            }
            let database = probes.db.ping().await.is_ok();
            // One that does not answer is waited for once.
            let schema = if database { probes.schema.fits(&probes.db).await.ok() } else { None };
            let head = probes.hub.log().head().await.ok().map(|head| head.position);
            let found = Found { database, schema, head, writes: database && probes.db.takes_writes().await };
            *last = Some((Instant::now(), found));
            found
        });
        looked.await.unwrap_or_default()
    }
}

/// The process runs. Nothing else is looked at: a database that is away must not get the process restarted.
pub async fn live() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

/// Traffic may come: the database answers, takes writes and is still this version's, delivery keeps up and is not late
/// ([`Lag`](crate::realtime::Lag)), and the process is not about to end.
pub async fn ready(State(probes): State<Probes>) -> Response {
    let Found { database, schema, head, writes } = probes.readiness.look(&probes).await;
    let behind = head.map(|head| (head - probes.hub.head()).max(0));
    let stopping = probes.lifecycle.is_announced();
    let lag = probes.hub.lag();
    let keeps_up = behind.is_some_and(|behind| behind <= MAX_BEHIND) && !lag.is_late();
    let ready = database && writes && schema == Some(true) && keeps_up && !stopping;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "status": if ready { "ready" } else { "not ready" },
        "database": if !database { "unreachable" } else if writes { "ok" } else { "takes no writes" },
        "schema": schema.map_or("unknown", |fits| if fits { "ok" } else { "too new" }),
        "delivery": if lag.is_late() { "late" } else { "ok" },
        "eventsBehind": behind,
        // No reason to be sent no traffic: without it events come by the poll.
        "bus": if probes.hub.hears_other_nodes() { "ok" } else { "away" },
        "stopping": stopping,
    });
    (status, Json(body)).into_response()
}

/// Counters, gauges and histograms in Prometheus' text format.
pub async fn metrics(State(probes): State<Probes>) -> Response {
    probes.db.report_pools();
    // Those of the process are taken now.
    metrics_process::Collector::default().collect();
    let text = probes.metrics.map(|metrics| metrics.render()).unwrap_or_default();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
