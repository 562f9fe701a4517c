//! The durable log: what happened, in order, for everybody who was not looking.
//!
//! Owns the `events` table. A domain records an event in the transaction of the fact itself ([`record`]), so a
//! committed change always has its events and a rolled-back one has none; nobody publishes anything else anywhere.
//! Events are append-only (triggers hold it) and get contiguous *positions* once committed ([`EventLog::stamp`]), which
//! is what makes a gap visible: see `log`. Payloads are snapshots that the domains write and read; this module knows no
//! domain. Only `realtime` delivers.

mod cursor;
mod event;
mod log;
mod marks;
mod retention;
pub mod seal;
mod settings;
mod source;
mod time;
pub mod verify;
mod viewers;

pub use cursor::{EventCursor, Mark, Point};
pub use event::{Audience, Event, EventKind, Hearing, NewEvent};
pub use log::{
    Advance, EventLog, FIRST_KEPT, FORGET_STEP, FORGOTTEN_SO_FAR, LAST_OF_STEP, Listener, Page, ResumeError, record,
};
pub use retention::OldEvents;
pub use settings::EventSettings;
pub use source::LogSource;
pub use time::DatabaseTime;

/// The events that are waited for in this process.
pub use crate::db::receipt::Arrivals;
