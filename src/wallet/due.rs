//! When the sandbox settles a transaction: where the due time stands, and what writes it.
//!
//! `service` writes due times and guards by them, `sandbox` acts on them.

use chrono::TimeDelta;

use crate::schedule::{DueRows, Schedule};

/// Transactions that the sandbox is to settle.
pub(super) const ROWS: DueRows =
    DueRows { table: "transactions", due: "settle_due_at", open: "settle_due_at IS NOT NULL AND status = 'PENDING'" };

/// How the sandbox settles.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// How long after it was asked for.
    pub delay: TimeDelta,
    /// Where it is scheduled.
    pub schedule: Schedule,
}
