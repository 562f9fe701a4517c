//! Every metric of the server with its meaning: the one home of their descriptions.
//!
//! The recorder gets them once, so that each has a HELP line from the first scrape on. `tests/api/metrics.rs` compares
//! the sources, the output of `/metrics` and `docs/operations.md`, and fails if a metric is in one of them alone. Names
//! follow Prometheus' rules: base units, `_total` for counters and for them alone.

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

use Kind::{Counter, Gauge, Histogram};

/// Name, kind, meaning; by name. Those of the process come from the library `metrics-process`.
pub const METRICS: &[(&str, Kind, &str)] = &[
    ("lancewire_budget_waits_total", Counter, "Times that a subscription waited for its subscriber's budget"),
    ("lancewire_build_info", Gauge, "Always 1; the version that runs is in the label"),
    ("lancewire_bus_bytes_total", Counter, "Bytes of messages between nodes, by bus and direction"),
    ("lancewire_bus_connected", Gauge, "1 while messages of the other nodes can arrive, by bus"),
    ("lancewire_bus_dropped_total", Counter, "Messages between nodes that were not sent or not believed, by reason"),
    (
        "lancewire_bus_holes_total",
        Counter,
        "Times that events of another node did not arrive in time and the log was read",
    ),
    ("lancewire_bus_messages_total", Counter, "Messages between nodes, by bus and direction"),
    (
        "lancewire_commit_to_socket_seconds",
        Histogram,
        "From an event's transaction to its results in the queues of subscribers",
    ),
    (
        "lancewire_consumer_failures_total",
        Counter,
        "Batches of events that a consumer could not finish, by consumer and reason (error, late, lost)",
    ),
    (
        "lancewire_consumer_waiting_events",
        Gauge,
        "Events that a consumer has yet to work on, by consumer; 0 on nodes that do not hold its lease",
    ),
    ("lancewire_database_connections", Gauge, "Open connections to the database, by pool"),
    ("lancewire_database_connections_in_use", Gauge, "Those of them that are in use, by pool"),
    ("lancewire_database_share_wait_seconds", Histogram, "How long callers waited for statements of their own to end"),
    ("lancewire_database_silences_total", Counter, "Connections given up because the database did not answer at all"),
    ("lancewire_database_statements_total", Counter, "SQL statements, by pool where there are several"),
    ("lancewire_database_stops_total", Counter, "Statements that were stopped because nobody waits for their outcome"),
    ("lancewire_database_wait_seconds", Histogram, "How long work waited for a connection to the database"),
    ("lancewire_deliveries_total", Counter, "Results put into the queues of subscribers, by execution (shared, own)"),
    ("lancewire_delivery_lag_seconds", Gauge, "The age that the oldest event which was not delivered can have"),
    ("lancewire_event_gaps_total", Counter, "Events that were forgotten before this node had delivered them"),
    ("lancewire_events_behind", Gauge, "Events of the log that this node has not delivered yet"),
    ("lancewire_events_forgotten_total", Counter, "Events deleted by retention"),
    ("lancewire_events_total", Counter, "Events published to subscribers of this node, by kind"),
    ("lancewire_executions_total", Counter, "Executions of subscriptions for an event, by execution (shared, own)"),
    ("lancewire_feed_lags_total", Counter, "Subscriptions that fell out of their group and catch up from ring or log"),
    ("lancewire_feed_waits_total", Counter, "Times that a subscription which catches up waited for the database"),
    ("lancewire_groups", Gauge, "Distinct selections that are subscribed to; each is executed once for an event"),
    (
        "lancewire_histories_left_total",
        Counter,
        "Times that the log had lost what was delivered (failover, restore), by what was lost",
    ),
    ("lancewire_http_connections", Gauge, "Open connections, WebSockets and streams included"),
    (
        "lancewire_http_connections_limit",
        Gauge,
        "How many there may be: http.connections, or what the limit of open files leaves",
    ),
    (
        "lancewire_http_connections_refused_total",
        Counter,
        "Connections refused or cut before their first request, by reason (address, total, head, rate)",
    ),
    ("lancewire_http_requests_total", Counter, "Requests over HTTP, by status"),
    ("lancewire_http_stalls_total", Counter, "Connections cut because their clients took nothing of an answer"),
    ("lancewire_operation_seconds", Histogram, "How long queries and mutations took, by kind and first root field"),
    ("lancewire_operations_rejected_total", Counter, "Operations that were not run, by reason (budget, document)"),
    ("lancewire_password_hash_seconds", Histogram, "How long a password took to be hashed, its wait included"),
    ("lancewire_password_hashes", Gauge, "Passwords that are being hashed or wait for their turn"),
    ("lancewire_password_hashes_refused_total", Counter, "Passwords that were not hashed because too many waited"),
    ("lancewire_presence_people", Gauge, "Places in conversations of people who are or were just there, at any node"),
    ("lancewire_reads_total", Counter, "Queries, by where they were read (primary, replica)"),
    (
        "lancewire_recoveries_total",
        Counter,
        "Subscriptions that came back with a cursor, by outcome (recovered, expired, refused)",
    ),
    (
        "lancewire_replayed_events_total",
        Counter,
        "Events read again for subscriptions that catch up, by source (ring, log)",
    ),
    ("lancewire_replica_lag_seconds", Gauge, "How old what the replica shows is"),
    (
        "lancewire_replica_passed_over_total",
        Counter,
        "Public queries that the replica could have answered and did not, by reason",
    ),
    ("lancewire_replica_serving", Gauge, "1 while the replica answers public queries"),
    (
        "lancewire_retention_lag_seconds",
        Gauge,
        "For how long the oldest row that is past its time should have been removed, by what it is",
    ),
    ("lancewire_retention_removed_total", Counter, "Rows removed because they were past their time, by what they are"),
    ("lancewire_ring_bytes", Gauge, "Memory of the latest events and what was made of them"),
    ("lancewire_search_build_seconds", Gauge, "How long the search index took when it was last built anew"),
    ("lancewire_search_builds_total", Counter, "Times that the search index was built anew from the database"),
    ("lancewire_search_commit_seconds", Histogram, "How long commits of the search index took"),
    ("lancewire_search_looks_total", Counter, "Searches, by outcome (index, failed, database)"),
    ("lancewire_search_ready", Gauge, "1 while searches are answered from the index"),
    ("lancewire_sections", Gauge, "Distinct interests that are subscribed to"),
    ("lancewire_socket_closes_total", Counter, "Ended WebSockets, by close code"),
    ("lancewire_socket_operations", Gauge, "Operations running over WebSockets, by kind"),
    ("lancewire_socket_queue_bytes", Gauge, "Bytes waiting for slow WebSocket peers"),
    ("lancewire_socket_refusals_total", Counter, "WebSocket upgrades refused, by reason"),
    ("lancewire_sockets", Gauge, "Open WebSockets"),
    ("lancewire_stream_ends_total", Counter, "Ended subscriptions over HTTP, by transport and reason"),
    ("lancewire_streams", Gauge, "Open subscriptions over HTTP, by transport"),
    ("lancewire_subscription_bytes", Gauge, "About what open subscriptions keep in memory, in bytes"),
    (
        "lancewire_subscription_millipoints_total",
        Counter,
        "Thousandths of a point that subscriptions were charged beyond their price, by what for (replay, live, own)",
    ),
    ("lancewire_subscriptions", Gauge, "Running subscriptions, by field"),
    (
        "lancewire_subscriptions_refused_total",
        Counter,
        "Subscriptions refused because their caller has as many as it may, by limit (groups, filters, bytes)",
    ),
    ("lancewire_tailed_events_total", Counter, "Events followed, by where they came from (bus, log)"),
    (
        "lancewire_tls_certificate_expiry_timestamp_seconds",
        Gauge,
        "When the certificate in use ends, in seconds since 1970",
    ),
    ("lancewire_tls_handshakes_total", Counter, "TLS handshakes, by outcome"),
    ("lancewire_tls_reloads_total", Counter, "Certificates found changed on disk, by outcome"),
    ("lancewire_transaction_retries_total", Counter, "Transactions run again because they collided with another one"),
    ("lancewire_uploads_total", Counter, "Files whose bytes were sent, by outcome: ready, rejected, refused, failed"),
];

/// Tells the recorder what the metrics mean.
pub(super) fn describe() {
    for (name, kind, meaning) in METRICS {
        match kind {
            Counter => describe_counter!(*name, *meaning),
            Gauge => describe_gauge!(*name, *meaning),
            Histogram => describe_histogram!(*name, *meaning),
        }
    }
}
