//! Logs and metrics of the process. [`catalogue`] describes each metric; `docs/operations.md` explains both to operators.
//!
//! Log lines are text for people or JSON for machines, with dotted field names. They never hold a token, a password, an
//! email or a variable: what could is not `Debug`, or is not logged.

use std::{
    env,
    io::{self, IsTerminal as _},
    sync::OnceLock,
};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    auth::passwords,
    http::{connections, websocket},
    settings::ConfigError,
};

mod catalogue;
mod settings;

pub use self::{
    catalogue::{Kind, METRICS},
    settings::{LogFormat, TelemetrySettings},
};

/// Upper bounds of the buckets of every duration, in seconds.
const SECONDS: [f64; 16] =
    [0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];

/// Sends log lines to standard error. Once a process.
pub fn init_logs(settings: &TelemetrySettings) -> Result<(), ConfigError> {
    let filter = EnvFilter::try_new(&settings.filter)
        .map_err(|error| ConfigError::new(format!("settings: telemetry.filter: {error}")))?;
    // Colours are for people: not in a file, and not for one who said no.
    let colours = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(colours);
    let registry = tracing_subscriber::registry().with(filter);
    let set = match settings.format {
        LogFormat::Text => registry.with(lines.with_target(false)).try_init(),
        // The list of spans has the innermost one, too.
        LogFormat::Json => {
            registry.with(lines.json().flatten_event(true).with_current_span(false).with_span_list(true)).try_init()
        }
    };
    set.map_err(|error| ConfigError::new(format!("settings: telemetry: {error}")))
}

/// The process's recorder of metrics, installed on the first call. None if another one is in its place.
pub fn metrics() -> Option<PrometheusHandle> {
    static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    let install = || {
        let builder = PrometheusBuilder::new();
        let builder = builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS).ok()?;
        let handle = builder.install_recorder().ok()?;
        catalogue::describe();
        metrics_process::Collector::default().describe();
        // There from the start: usually nothing ever waits.
        for name in [websocket::metrics::QUEUE_BYTES, connections::CONNECTIONS, passwords::HASHING] {
            metrics::gauge!(name).set(0.0);
        }
        metrics::gauge!("lancewire_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        Some(handle)
    };
    RECORDER.get_or_init(install).clone()
}
