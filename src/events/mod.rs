//! The durable log: what happened, in order, for everybody who was not looking.
//!
//! Owns the `events` table. A domain records an event in the transaction of the fact itself ([`record`]), so a
//! committed change always has its events and a rolled-back one has none; nobody publishes anything else anywhere.
//! Events are append-only (triggers hold it) and get contiguous *positions* once committed ([`EventLog::stamp`]), which
//! is what makes a gap visible: see `log`. Payloads are snapshots that the domains write and read; this module knows no
//! domain: each describes its kinds of events itself ([`EventKind`]), and [`EventLog`] is opened with all of them ([`Kinds`]).
//! Only `realtime`
//! delivers, and only [`consumers`] react.

mod audience;
pub mod consumers;
mod cursor;
mod event;
mod kind;
mod log;
mod marks;
mod retention;
pub mod seal;
mod settings;
mod source;
pub mod verify;
mod viewers;

pub use audience::{Audience, Hearing, MOST_USERS};
pub use cursor::{EventCursor, Mark, Point};
pub use event::{Event, NewEvent};
pub use kind::{EventKind, Kinds};
pub use log::{Advance, EventLog, Listener, Page, ResumeError, record};
pub use retention::{FIRST_KEPT, FORGET_STEP, FORGOTTEN_SO_FAR, LAST_OF_STEP, OldEvents};
pub use settings::EventSettings;
pub use source::LogSource;

/// The events that are waited for in this process.
pub use crate::db::receipt::Arrivals;
