//! Authentication of messages between nodes.
//!
//! A sealed message is one byte of format, 16 bytes of HMAC-SHA-256 over the format and the content, and the content,
//! which begins with its sender, the sender's sequence number, and the time. The key is derived from a secret in the
//! database and from the log's identity ([`EventLog::shared_key`](crate::events::EventLog::shared_key)): a process with
//! access to the database is a node, one with access to Redis alone is not, and a message of another log is refused.
//!
//! **Replays.** A recorded message could be sent again. Known events have no effect, but a user's spending would be
//! counted twice. So of each sender only a sequence number higher than the last is accepted, and none more than
//! [`WINDOW_MS`] old or ahead, by the database's time, which is the one clock that all nodes share. A message dropped
//! by mistake, for example after a jump of that clock, costs the time of a poll.
//!
//! The content is not encrypted: this does not limit who may *read* it.

use std::{
    collections::HashMap,
    fmt,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::NodeId;
use crate::{ids::Ids, schedule::DatabaseTime};

/// Bytes of the code.
const CODE: usize = 16;
/// How far the time of a word may be from ours.
const WINDOW_MS: i64 = 30_000;
/// Nodes whose last words are remembered: those that have the key, within the window.
const NODES: usize = 1_024;

/// Seals what this node says, and opens what others do.
pub struct Seal {
    node: NodeId,
    ids: Ids,
    /// Before any message.
    code: Hmac<Sha256>,
    time: DatabaseTime,
    /// Words of this node so far.
    said: AtomicU64,
    /// The last word of each other node, and when it came.
    last: Mutex<HashMap<u64, (u64, i64)>>,
    /// Whether a stranger's word was reported.
    reported: AtomicBool,
}

/// Why a message is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dropped {
    /// No node of this log has sealed it, or it was changed.
    Forged,
    /// It was received before, or is from another time.
    Stale,
    /// A node's, and of another version: what it says of the log, the log says too.
    Unreadable,
}

impl Dropped {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Forged => "forged",
            Self::Stale => "stale",
            Self::Unreadable => "unreadable",
        }
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").field("node", &self.node).finish_non_exhaustive()
    }
}

/// Who says it, the how-manieth word of theirs, and when.
#[derive(Serialize, Deserialize)]
struct Head {
    node: u64,
    number: u64,
    at: i64,
}

impl Seal {
    /// The seal of one process.
    pub fn new(key: [u8; 32], ids: &Ids, time: DatabaseTime) -> Self {
        // As long as a block of the hash: what a shorter key is filled up to anyway.
        let mut block = [0; 64];
        block[..key.len()].copy_from_slice(&key);
        Self {
            node: NodeId(u64::from_be_bytes(ids.secret())),
            ids: ids.clone(),
            code: Hmac::new(&block.into()),
            time,
            said: AtomicU64::new(0),
            last: Mutex::default(),
            reported: AtomicBool::new(false),
        }
    }

    /// Whose it is.
    pub(super) const fn node(&self) -> NodeId {
        self.node
    }

    /// Where this node's randomness comes from.
    pub(super) const fn ids(&self) -> &Ids {
        &self.ids
    }

    /// Seals a message of this format.
    pub(super) fn seal(&self, format: u8, content: &impl Serialize) -> Vec<u8> {
        let head =
            Head { node: self.node.0, number: self.said.fetch_add(1, Ordering::Relaxed) + 1, at: self.time.now_ms() };
        let mut message = vec![0; 1 + CODE];
        message[0] = format;
        // Only a sequence without a length or a map could fail to be written.
        message = postcard::to_extend(&(head, content), message).unwrap_or_default();
        let code = self.code(format, message.get(1 + CODE..).unwrap_or_default()).finalize().into_bytes();
        if let Some(place) = message.get_mut(1..=CODE) {
            place.copy_from_slice(&code[..CODE]);
        }
        message
    }

    /// The content of a message of another node; none if this one wrote it.
    pub(super) fn open<'a, T: Deserialize<'a>>(&self, format: u8, message: &'a [u8]) -> Result<Option<T>, Dropped> {
        let (&[of, ref code @ ..], sealed) = message.split_first_chunk::<{ 1 + CODE }>().ok_or(Dropped::Forged)?;
        self.code(of, sealed).verify_truncated_left(code).map_err(|_| Dropped::Forged)?;
        if of != format {
            return Err(Dropped::Unreadable);
        }
        let (head, content) = postcard::take_from_bytes::<Head>(sealed).map_err(|_| Dropped::Unreadable)?;
        if head.node == self.node.0 {
            return Ok(None);
        }
        self.is_new(&head)?;
        postcard::from_bytes(content).map(Some).map_err(|_| Dropped::Unreadable)
    }

    /// Says once that a stranger speaks on the bus.
    pub(super) fn report(&self, bus: &'static str, dropped: Dropped) {
        super::report_dropped(bus, dropped.as_str());
        if dropped == Dropped::Forged && !self.reported.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                bus,
                "somebody who is no node of this log speaks on the bus, or a node of the version before this one; they are \
                 not believed (counted in lancewire_bus_dropped_total)"
            );
        }
    }

    fn is_new(&self, head: &Head) -> Result<(), Dropped> {
        let now = self.time.now_ms();
        if head.at.abs_diff(now) > WINDOW_MS.unsigned_abs() {
            return Err(Dropped::Stale);
        }
        let mut last = self.last.lock();
        if last.get(&head.node).is_some_and(|(number, _)| head.number <= *number) {
            return Err(Dropped::Stale);
        }
        if last.len() >= NODES {
            // What they said before is refused by its time.
            last.retain(|_, (_, at)| at.abs_diff(now) <= 2 * WINDOW_MS.unsigned_abs());
            if last.len() >= NODES {
                return Err(Dropped::Stale);
            }
        }
        last.insert(head.node, (head.number, head.at));
        Ok(())
    }

    fn code(&self, format: u8, sealed: &[u8]) -> Hmac<Sha256> {
        let mut code = self.code.clone();
        code.update(&[format]);
        code.update(sealed);
        code
    }
}
