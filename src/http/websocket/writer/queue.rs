//! What waits for a peer: frames in their order, and the room that they take.
//!
//! Pure. [`SocketWriter`](super::SocketWriter) alone holds it, behind its lock, so that everything that changes it is in
//! these two files. Invariant: `taken` and `answers` are the sums of the costs of what waits and of the rooms that are taken.

use std::{collections::VecDeque, sync::Arc};

use smallvec::SmallVec;
use tokio_util::sync::CancellationToken;

use crate::http::websocket::metrics::Counted;

/// The queue of one peer, and which operations may put frames into it.
#[derive(Default)]
pub(super) struct State {
    pub(super) waiting: VecDeque<Waiting>,
    /// Bytes of the first one that the kernel has.
    pub(super) sent: usize,
    /// Room taken by results: by those that wait, and by those for whose room somebody has asked.
    pub(super) taken: usize,
    pub(super) answers: usize,
    /// The operations whose frames are welcome.
    pub(super) open: SmallVec<[u64; 2]>,
    /// Subscriptions that left their groups because they lag, with their positions.
    pub(super) lagging: Vec<(u64, i64)>,
    pub(super) closed: bool,
    pub(super) broken: bool,
    /// Cancelled when the viewer's rights have ended: from then on no result is taken, before the session knows of it.
    pub(super) revoked: Option<CancellationToken>,
}

/// A frame that waits.
pub(super) struct Waiting {
    pub(super) operation: Option<u64>,
    /// The frame's header and the text before the payload.
    pub(super) head: Box<[u8]>,
    /// As it is shared with all who get it.
    pub(super) payload: Option<Arc<str>>,
    pub(super) tail: &'static str,
    pub(super) cost: Cost,
    pub(super) _counted: Counted,
}

#[derive(Clone, Copy)]
pub(super) enum Cost {
    Bytes(usize),
    Answer,
}

impl State {
    pub(super) fn give_back(&mut self, cost: Cost) {
        match cost {
            Cost::Bytes(bytes) => self.taken -= bytes,
            Cost::Answer => self.answers -= 1,
        }
    }

    /// The kernel has taken so many bytes from the front.
    pub(super) fn advance(&mut self, written: usize) {
        self.sent += written;
        while let Some(first) = self.waiting.front() {
            if self.sent < first.len() {
                return;
            }
            self.sent -= first.len();
            if let Some(Waiting { cost, .. }) = self.waiting.pop_front() {
                self.give_back(cost);
            }
        }
        // An empty queue keeps nothing.
        self.waiting = VecDeque::new();
    }

    /// Drops waiting frames, but never the rest of one that has begun to leave.
    pub(super) fn throw_away(&mut self, unwanted: impl Fn(&Waiting) -> bool) {
        let begun = usize::from(self.sent > 0 && !self.broken);
        let mut place = 0;
        let (mut bytes, mut answers) = (0, 0);
        self.waiting.retain(|waiting| {
            place += 1;
            let stays = place <= begun || !unwanted(waiting);
            if !stays {
                match waiting.cost {
                    Cost::Bytes(cost) => bytes += cost,
                    Cost::Answer => answers += 1,
                }
            }
            stays
        });
        self.taken -= bytes;
        self.answers -= answers;
    }
}

impl Waiting {
    pub(super) fn pieces(&self) -> [&[u8]; 3] {
        [&self.head, self.payload.as_ref().map_or(&[], |payload| payload.as_bytes()), self.tail.as_bytes()]
    }

    pub(super) fn len(&self) -> usize {
        self.pieces().iter().map(|piece| piece.len()).sum()
    }
}
