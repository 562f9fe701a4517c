//! The log's share of `lancewire verify`: positions without a hole, audiences that a kind can have, and the seals.
//!
//! Knows no domain: what an event says is compared by those whose event it is, page by page, in [`Walk::next`]'s rows.
//! Called by [`crate::verify`] alone, on one snapshot.

use std::collections::VecDeque;

use sea_orm::{ConnectionTrait, DbErr, Statement};

use super::{
    Audience, EventKind, NewEvent,
    seal::{Hash, Sealing},
};
use crate::{db::Backend, error::Fault, proof::Part};

/// The log's share of the proof, but for its seals, which [`Walk`] computes anew.
pub struct Proof;

impl Part for Proof {
    fn checks(&self, backend: Backend) -> Vec<(&'static str, String)> {
        checks(backend)
    }
}

/// What a seal is made of, by place.
pub(super) const COLUMNS: &str = "position, event_id, kind, subject_id, subject_version, is_public, owner_id, claimant_id, \
                                  payload, occurred_at";

/// Events, and seals, that one query reads.
const PAGE: i64 = 1_000;

/// An invariant and the query for what breaks it: rows of `subject` (an id) and `detail` (a text).
fn checks(backend: Backend) -> Vec<(&'static str, String)> {
    let last = match backend {
        Backend::Sqlite => "COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)",
        Backend::Postgres => "last_position",
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
            "SELECT event_id AS subject, kind || ' is public' AS detail FROM events \
             WHERE is_public AND kind NOT IN ('JOB_POSTED', 'JOB_UPDATED')"
                .into(),
        ),
    ]
}

/// The log from its first event to its last, page by page, with its seals.
#[derive(Default)]
pub struct Walk {
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
}

struct Seal {
    first: i64,
    last: i64,
    hash: Vec<u8>,
}

impl Walk {
    /// From the first event that is kept.
    pub async fn begin(db: &impl ConnectionTrait) -> Result<Self, Fault> {
        let sql = "SELECT forgotten_position FROM event_log WHERE id = 1";
        let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
        let row = row.ok_or_else(|| Fault::corrupt("event_log has no row"))?;
        Ok(Self { position: row.try_get_by_index(0)?, ..Self::default() })
    }

    /// The next events; none at the end.
    pub async fn next(&mut self, db: &impl ConnectionTrait) -> Result<Vec<NewEvent>, Fault> {
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
            events.push(NewEvent {
                id: row.try_get_by_index(1)?,
                kind: EventKind::recorded_as(&row.try_get_by_index::<String>(2)?),
                subject: row.try_get_by_index(3)?,
                subject_version: row.try_get_by_index(4)?,
                audience: Audience {
                    public: row.try_get_by_index(5)?,
                    owner: row.try_get_by_index(6)?,
                    claimant: row.try_get_by_index(7)?,
                },
                payload: row.try_get_by_index(8)?,
                occurred_at: row.try_get_by_index(9)?,
            });
        }
        if rows.is_empty() {
            self.reach(db, i64::MAX).await?;
        }
        Ok(events)
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
