//! What stands at the positions that this process has to do with, in memory.
//!
//! A ping, a heartbeat or the id of a server-sent event names a position in a cursor, and a cursor says what stands there.
//! The log is not asked for that: whatever this process has read or published is put down here, in two tables of a fixed
//! size in which a position has one slot. The last [`RECENT`] positions have theirs to themselves; older ones, which
//! subscriptions that catch up read, share [`OLDER`] slots, and the last one put down stays.
//!
//! Where a position is no longer known there is no cursor: a ping goes without, and the client keeps its last one. A cursor
//! without a mark would be taken for a place in a history in which something else stands there.
//!
//! Readers take no lock: every result of every stream asks. Called by [`EventLog`](super::EventLog) alone.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::cursor::Mark;

/// Slots for the end of the log; 1 MiB.
const RECENT: usize = 1 << 16;
/// Slots for all that is older; 256 KiB.
const OLDER: usize = 1 << 14;
/// No position.
const EMPTY: i64 = -1;

/// See the module.
#[derive(Debug)]
pub(super) struct Marks {
    recent: Box<[Slot]>,
    older: Box<[Slot]>,
    writing: Mutex<()>,
}

#[derive(Debug)]
struct Slot {
    position: AtomicI64,
    mark: AtomicU64,
}

impl Default for Marks {
    fn default() -> Self {
        let slots = |count| (0..count).map(|_| Slot { position: AtomicI64::new(EMPTY), mark: AtomicU64::new(0) });
        Self { recent: slots(RECENT).collect(), older: slots(OLDER).collect(), writing: Mutex::default() }
    }
}

impl Marks {
    /// What stands at `position`, if that is known here. Nothing stands at 0.
    pub(super) fn at(&self, position: i64) -> Option<Mark> {
        if position == 0 {
            return Some(Mark::NONE);
        }
        slot(&self.recent, position)?.read(position).or_else(|| slot(&self.older, position)?.read(position))
    }

    /// Puts down what stands at a position, in place of what was known.
    pub(super) fn set(&self, position: i64, mark: Mark) {
        let Some((recent, older)) = slot(&self.recent, position).zip(slot(&self.older, position)) else { return };
        let writing = self.writing.lock();
        if recent.position.load(Ordering::Relaxed) <= position {
            recent.write(position, mark);
        } else {
            older.write(position, mark);
        }
        drop(writing);
    }
}

/// The slot of a position; none for what is no position.
fn slot(slots: &[Slot], position: i64) -> Option<&Slot> {
    // Both lengths are powers of two.
    let index = usize::try_from(position).ok().filter(|position| *position > 0)? & (slots.len() - 1);
    slots.get(index)
}

impl Slot {
    /// The mark, if the slot is that of `position` before and after it is read.
    fn read(&self, position: i64) -> Option<Mark> {
        let is_its = || self.position.load(Ordering::SeqCst) == position;
        if !is_its() {
            return None;
        }
        let mark = self.mark.load(Ordering::SeqCst);
        is_its().then_some(Mark::from_bits(mark))
    }

    fn write(&self, position: i64, mark: Mark) {
        if self.position.load(Ordering::SeqCst) == position {
            self.mark.store(mark.to_bits(), Ordering::SeqCst);
            return;
        }
        self.position.store(EMPTY, Ordering::SeqCst);
        self.mark.store(mark.to_bits(), Ordering::SeqCst);
        self.position.store(position, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(position: i64) -> Mark {
        Mark::from_bits(position.unsigned_abs() | 1 << 63)
    }

    #[test]
    fn the_end_of_the_log_is_known_and_what_is_older_while_nothing_else_takes_its_slot() {
        let marks = Marks::default();
        assert_eq!((marks.at(0), marks.at(1), marks.at(-1), marks.at(i64::MAX)), (Some(Mark::NONE), None, None, None));
        let window = i64::try_from(RECENT).expect("small");
        let head = 3 * window;
        for position in head - window + 1..=head {
            marks.set(position, mark(position));
        }
        // Somebody far behind reads the log: the end of it stays known.
        for position in 1..=1_000 {
            marks.set(position, mark(position));
        }
        for position in (head - window + 1..=head).chain(1..=1_000) {
            assert_eq!(marks.at(position), Some(mark(position)));
        }
        assert_eq!(marks.at(head - window), None);
        marks.set(500, mark(7));
        assert_eq!(marks.at(500), Some(mark(7)), "the last word counts");
        let sharing = 500 + i64::try_from(OLDER).expect("small");
        marks.set(sharing, mark(sharing));
        assert_eq!((marks.at(500), marks.at(sharing)), (None, Some(mark(sharing))));
        marks.set(-5, mark(1));
        marks.set(head, Mark::NONE);
        assert_eq!(marks.at(head), Some(Mark::NONE), "known to be unknown");
    }
}
