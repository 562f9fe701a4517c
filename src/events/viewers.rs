//! Which events are meant for one viewer, found along indexes: a read costs what lies for them, not what lies between.
//!
//! Everybody may be meant by the events of jobs, which have an index of their own; the other kinds are for their owner
//! alone, and those of claims for the claimant, too. So what is for a viewer is in at most seven places, each in the order
//! of positions, and a page is made of the first rows of each. The indexes are those of the migration
//! `m20261128_000504_event_viewers`; each condition here is written as there, in constants, or no database would use them.
//!
//! Called by [`EventLog::heard_by`](super::EventLog::heard_by) and [`EventLog::next_for`](super::EventLog::next_for).

use sea_orm::Value;
use uuid::Uuid;

use super::{EventKind, Listener};
use crate::db::Backend;

/// Of jobs: for everybody, or for the parties and admins.
const JOBS: [EventKind; 2] = [EventKind::JobPosted, EventKind::JobUpdated];
/// For their owner, and some for the claimant.
const OWN: [EventKind; 4] =
    [EventKind::DraftUpdated, EventKind::ClaimUpdated, EventKind::WalletUpdated, EventKind::NotificationReceived];

/// One place to look, and the values that its condition takes.
struct Part {
    condition: String,
    values: Vec<Value>,
}

/// The first positions between two, both excluded, of events of these kinds that `listener` was entitled to: a query with
/// one column, `position`, and its values. From each place up to `most`; they are not sorted, and one may be there twice.
pub(super) fn positions(
    backend: Backend,
    listener: Listener,
    kinds: &[EventKind],
    (after, before): (i64, i64),
    most: u32,
    backward: bool,
) -> (String, Vec<Value>) {
    let entitled = listener.user.map(Uuid::from);
    let jobs = |user: Option<Uuid>| match (listener.admin, user) {
        (true, _) => (String::new(), Vec::new()),
        // Nobody's id, for those who are not signed in.
        (false, user) => {
            let user = user.unwrap_or(Uuid::nil());
            let condition = " AND (is_public = ? OR owner_id = ? OR claimant_id = ?)";
            (condition.to_owned(), vec![true.into(), user.into(), user.into()])
        }
    };
    union(backend, parts(kinds, entitled, &jobs(entitled)), (after, before), most, backward)
}

/// The same of events that somebody might be meant by: all of jobs, since who has left one is named in its payload alone.
pub(super) fn candidates(
    backend: Backend,
    user: Option<Uuid>,
    kinds: &[EventKind],
    bounds: (i64, i64),
) -> (String, Vec<Value>) {
    union(backend, parts(kinds, user, &(String::new(), Vec::new())), bounds, 1, false)
}

fn parts(kinds: &[EventKind], user: Option<Uuid>, jobs: &(String, Vec<Value>)) -> Vec<Part> {
    let named = |kind: &EventKind| format!("'{}'", kind.as_str());
    let mut parts = Vec::new();
    let of_jobs: Vec<String> = JOBS.iter().filter(|kind| kinds.contains(kind)).map(named).collect();
    if !of_jobs.is_empty() {
        let (entitled, values) = jobs;
        let all = JOBS.iter().map(named).collect::<Vec<_>>().join(", ");
        let some = of_jobs.join(", ");
        // The first condition is that of the index.
        let narrower = if all == some { String::new() } else { format!(" AND kind IN ({some})") };
        parts.push(Part { condition: format!("kind IN ({all}){narrower}{entitled}"), values: values.clone() });
    }
    let Some(user) = user else { return parts };
    // That a kind is one of these no planner finds out by itself.
    let indexed = OWN.iter().map(named).collect::<Vec<_>>().join(", ");
    for kind in OWN.iter().filter(|kind| kinds.contains(kind)) {
        let condition = format!("kind IN ({indexed}) AND owner_id = ? AND kind = {}", named(kind));
        parts.push(Part { condition, values: vec![user.into()] });
        if *kind == EventKind::ClaimUpdated {
            let condition = format!("claimant_id = ? AND kind = {}", named(kind));
            parts.push(Part { condition, values: vec![user.into()] });
        }
    }
    parts
}

fn union(
    backend: Backend,
    parts: Vec<Part>,
    (after, before): (i64, i64),
    most: u32,
    backward: bool,
) -> (String, Vec<Value>) {
    // On SQLite the row's id, which every index ends with.
    let position = if backend == Backend::Sqlite { "id" } else { "position" };
    let direction = if backward { "DESC" } else { "ASC" };
    let mut values = Vec::new();
    let selects: Vec<String> = parts
        .into_iter()
        .enumerate()
        .map(|(place, part)| {
            values.extend(part.values);
            values.extend([Value::from(after), before.into(), i64::from(most).into()]);
            format!(
                "SELECT position FROM (SELECT {position} AS position FROM events WHERE {} AND {position} > ? \
                 AND {position} < ? ORDER BY {position} {direction} LIMIT ?) AS part{place}",
                part.condition
            )
        })
        .collect();
    (selects.join(" UNION ALL "), values)
}
