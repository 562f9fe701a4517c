//! The log's share of `lancewire verify`: positions without a hole, audiences that a kind can have, and the seals.
//!
//! Knows no domain: what an event says is compared by those whose event it is, page by page, in [`Walk::next`]'s rows.
//! Called by [`crate::verify`] alone, on one snapshot.

use std::collections::VecDeque;

use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement, prelude::Uuid};

use super::{
    Audience, EventKind, Kinds, NewEvent,
    audience::{AUDIENCE, Columns},
    seal::{Hash, Sealing},
};
use crate::{db::Backend, error::InternalError};

/// What a seal is made of, by place.
pub(super) const COLUMNS: &str = "position, event_id, kind, subject_id, subject_version, is_public, owner_id, claimant_id, \
                                  payload, occurred_at, recipients, for_admins";

/// Events, and seals, that one query reads.
const PAGE: i64 = 1_000;
/// Events that are named of those whose list is wrong.
const MOST: usize = 1_000;

/// An invariant and the query for what breaks it: rows of `subject` (an id) and `detail` (a text).
pub fn checks(backend: Backend, kinds: Kinds) -> Vec<(&'static str, String)> {
    let last = match backend {
        Backend::Sqlite => "COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)",
        Backend::Postgres => "last_position",
    };
    let named = |are: fn(EventKind) -> bool| {
        let names = kinds.iter().filter(|kind| are(*kind)).map(|kind| format!("'{}'", kind.as_str()));
        names.collect::<Vec<_>>().join(", ")
    };
    let (known, public, admins) =
        (named(|_| true), named(EventKind::is_for_everybody), named(EventKind::is_told_to_admins));
    // What the triggers make of an event, with names for columns.
    let viewers = match backend {
        Backend::Sqlite => {
            "SELECT zeroblob(16) AS viewer_id, kind, position FROM events WHERE is_public \
             UNION SELECT unhex(value), e.kind, e.position FROM events e, json_each(e.recipients) WHERE NOT e.is_public \
             UNION SELECT owner_id, kind, position FROM events WHERE NOT is_public AND recipients IS NULL \
             UNION SELECT claimant_id, kind, position FROM events \
                 WHERE NOT is_public AND recipients IS NULL AND claimant_id IS NOT NULL \
             UNION SELECT x'00000000000000000000000000000001', kind, position FROM events \
                 WHERE NOT is_public AND COALESCE(for_admins, kind IN ({admins}))"
                .replace("{admins}", &admins)
        }
        Backend::Postgres => {
            "SELECT v AS viewer_id, e.kind, e.position FROM events e, \
             viewers_of(e.is_public, e.recipients, e.owner_id, e.claimant_id, e.for_admins, e.kind) AS v \
             WHERE e.position IS NOT NULL"
                .to_owned()
        }
    };
    vec![
        (
            "12 positions are contiguous, from the first that is kept to the last given out",
            format!(
                "SELECT NULL AS subject, p.held || ' positions from ' || COALESCE(p.first, 0) || ' to ' || \
                 COALESCE(p.last, 0) || ', and ' || (l.forgotten_position + 1) || ' to ' || l.last || ' should be there' \
                 AS detail FROM (SELECT COUNT(position) AS held, MIN(position) AS first, MAX(position) AS last \
                     FROM events WHERE position IS NOT NULL) p, \
                 (SELECT forgotten_position, {last} AS last FROM event_log WHERE id = 1) l \
                 WHERE p.held <> l.last - l.forgotten_position OR p.first <> l.forgotten_position + 1 OR p.last <> l.last"
            ),
        ),
        (
            "7 only what everybody may see of a job is public",
            format!(
                "SELECT event_id AS subject, kind || ' is public' AS detail FROM events \
                 WHERE is_public AND kind NOT IN ({public})"
            ),
        ),
        (
            "7 admins receive the events of which the kind says so",
            format!(
                "SELECT event_id AS subject, kind || ' for admins: ' || CAST(for_admins AS TEXT) AS detail FROM events \
                 WHERE for_admins <> (kind IN ({admins})) AND kind IN ({known})"
            ),
        ),
        (
            "7 an event is found by those whom it is for, and by nobody else",
            format!(
                "SELECT NULL AS subject, d.kind || ' at ' || d.position || ' is not found by all' AS detail \
                 FROM (SELECT * FROM ({viewers}) AS v EXCEPT SELECT viewer_id, kind, position FROM event_viewers) d \
                 UNION ALL SELECT NULL, w.kind || ' at ' || w.position || ' is found by others' \
                 FROM (SELECT viewer_id, kind, position FROM event_viewers EXCEPT SELECT * FROM ({viewers}) AS v) w"
            ),
        ),
    ]
}

/// The log from its first event to its last, page by page, with its seals.
pub struct Walk {
    kinds: Kinds,
    position: i64,
    seals: VecDeque<Seal>,
    /// Up to where seals were read, and the hash of the last one that was taken.
    sealed: i64,
    before: Option<Vec<u8>>,
    /// The seal that the position lies in, and its hash as far as it is made; of one that cannot be made, none.
    open: Option<(Seal, Option<Sealing>)>,
    /// Seals that were computed anew and are right.
    pub right: u64,
    /// What is wrong with the seals.
    pub broken: Vec<String>,
    /// Events whose list of users is not what the columns beside it say.
    pub unlisted: Vec<String>,
}

struct Seal {
    first: i64,
    last: i64,
    hash: Vec<u8>,
}

impl Walk {
    /// From the first event that is kept; what is not of these kinds is unknown.
    pub async fn begin(db: &impl ConnectionTrait, kinds: Kinds) -> Result<Self, InternalError> {
        let sql = "SELECT forgotten_position FROM event_log WHERE id = 1";
        let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
        let row = row.ok_or_else(|| InternalError::corrupt("event_log has no row"))?;
        Ok(Self {
            kinds,
            position: row.try_get_by_index(0)?,
            seals: VecDeque::new(),
            sealed: 0,
            before: None,
            open: None,
            right: 0,
            broken: Vec::new(),
            unlisted: Vec::new(),
        })
    }

    /// The next events; none at the end.
    pub async fn next(&mut self, db: &impl ConnectionTrait) -> Result<Vec<NewEvent>, InternalError> {
        let sql =
            format!("SELECT {COLUMNS} FROM events WHERE position > {} ORDER BY position LIMIT {PAGE}", self.position);
        let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
        let mut events = Vec::with_capacity(rows.len());
        for row in &rows {
            let position: i64 = row.try_get_by_index(0)?;
            self.position = position;
            self.reach(db, position).await?;
            if let Some((_, Some(sealing))) = &mut self.open {
                sealing.add(row)?;
            }
            let kind = self.kinds.recorded_as(&row.try_get_by_index::<String>(2)?);
            let audience = self.audience(row, kind)?;
            events.push(NewEvent {
                id: row.try_get_by_index(1)?,
                kind,
                subject: row.try_get_by_index(3)?,
                subject_version: row.try_get_by_index(4)?,
                audience,
                payload: row.try_get_by_index(8)?,
                occurred_at: row.try_get_by_index(9)?,
            });
        }
        if rows.is_empty() {
            self.reach(db, i64::MAX).await?;
        }
        Ok(events)
    }

    /// Who an event is for. Where the list is another one than the two columns of the version before say, these count, so
    /// that whose event it is will not agree; and it is told here, too.
    fn audience(&mut self, row: &QueryResult, kind: EventKind) -> Result<Audience, InternalError> {
        let columns = Columns::at(row, AUDIENCE)?;
        let audience = columns.audience(kind)?;
        let pair = columns.pair();
        if kind == EventKind::UNKNOWN || audience.users().iter().take(2).eq(pair.users()) {
            return Ok(audience);
        }
        if self.unlisted.len() < MOST {
            let id: Uuid = row.try_get_by_index(1)?;
            self.unlisted.push(format!("{id}: its list names others than its owner and its claimant"));
        }
        Ok(pair.public(audience.public).admins(audience.admins))
    }

    /// The hash of the last seal, for somebody to keep elsewhere.
    pub fn anchor(&self) -> Option<&[u8]> {
        self.before.as_deref()
    }

    /// Ends the seals that end before a position, and opens the one that it lies in.
    async fn reach(&mut self, db: &impl ConnectionTrait, position: i64) -> Result<(), DbErr> {
        loop {
            if let Some((seal, sealing)) = self.open.take_if(|(seal, _)| seal.last < position) {
                if let Some(sealing) = sealing {
                    self.compare(&seal, &sealing.end());
                }
                self.before = Some(seal.hash);
            }
            if self.open.is_some() {
                return Ok(());
            }
            if self.seals.is_empty() {
                self.read_seals(db).await?;
            }
            let Some(seal) = self.seals.pop_front() else { return Ok(()) };
            let before = self.before.clone().unwrap_or_else(|| vec![0; 32]);
            // Of one whose beginning is forgotten nothing can be computed.
            let whole = position <= seal.first || position == i64::MAX;
            let sealing = whole.then(|| Sealing::begin(&before, seal.first, seal.last));
            // At the end of the log: a seal over events that are not there.
            if position == i64::MAX && seal.last > self.position {
                self.broken.push(format!("sealed up to {}, and the log ends at {}", seal.last, self.position));
                self.before = Some(seal.hash);
                continue;
            }
            self.open = Some((seal, sealing.filter(|_| position != i64::MAX)));
        }
    }

    fn compare(&mut self, seal: &Seal, hash: &Hash) {
        if seal.hash == hash {
            self.right += 1;
        } else {
            self.broken.push(format!("the events from {} to {} are not those that were sealed", seal.first, seal.last));
        }
    }

    async fn read_seals(&mut self, db: &impl ConnectionTrait) -> Result<(), DbErr> {
        let sql = format!(
            "SELECT first_position, last_position, hash FROM event_seals WHERE last_position > {} \
             ORDER BY last_position LIMIT {PAGE}",
            self.sealed
        );
        for row in db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await? {
            let seal = Seal {
                first: row.try_get_by_index(0)?,
                last: row.try_get_by_index(1)?,
                hash: row.try_get_by_index(2)?,
            };
            self.sealed = seal.last;
            self.seals.push_back(seal);
        }
        Ok(())
    }
}
