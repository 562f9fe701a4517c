//! One event on its way, shared by all who hear of it.

use std::{any::Any, sync::OnceLock};

use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::{
    clock::Timestamp,
    error::Fault,
    events::{Audience, Event, EventCursor, EventKind},
    ids::EventId,
};

/// An event with its place in the log. Its payload is parsed once, by whoever asks first.
#[derive(Debug)]
pub struct Delivery {
    event: Event,
    log: Uuid,
    payload: OnceLock<Option<Box<dyn Any + Send + Sync>>>,
}

impl Delivery {
    /// An event of the log with this identity.
    pub const fn new(event: Event, log: Uuid) -> Self {
        Self { event, log, payload: OnceLock::new() }
    }

    /// What happened.
    pub const fn kind(&self) -> EventKind {
        self.event.recorded.kind
    }

    /// Unique for ever.
    pub const fn id(&self) -> EventId {
        self.event.recorded.id
    }

    /// Its place in the log.
    pub const fn position(&self) -> i64 {
        self.event.position
    }

    /// Its place in the log, as clients resume from it.
    pub fn cursor(&self) -> String {
        EventCursor { log: self.log, position: self.event.position }.encode()
    }

    /// When it happened.
    pub const fn occurred_at(&self) -> Timestamp {
        self.event.recorded.occurred_at
    }

    /// Who may hear of it.
    pub const fn audience(&self) -> Audience {
        self.event.recorded.audience
    }

    /// The snapshot that the domain recorded for this kind of event.
    pub fn payload<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<&T, Fault> {
        let parsed = self.payload.get_or_init(|| {
            let payload = serde_json::from_str::<T>(&self.event.recorded.payload);
            payload.ok().map(|payload| Box::new(payload) as Box<dyn Any + Send + Sync>)
        });
        let payload = parsed.as_ref().and_then(|payload| payload.downcast_ref());
        payload.ok_or_else(|| Fault::corrupt(format!("the payload of {}", self.id())))
    }
}
