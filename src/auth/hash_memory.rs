//! The memory that Argon2 works in, and its return to the system.
//!
//! A hash takes 19 MiB by default. Taken from the allocator in the usual way it stays with the process: glibc raises its
//! threshold for mapped allocations to the size of the first one that is freed, serves the next ones out of an arena for
//! each thread, and gives nothing of those back. What stays now is measured by
//! `cargo test --test api -- memory:: --include-ignored --nocapture --test-threads=1`. So:
//!
//! - a block of memory is asked for in a size above [`MAPPED`], from which glibc always maps and unmaps; the part that no
//!   hash touches is never resident;
//! - there are as many blocks as hashes at once, and one is used again for as long as somebody waits for the next hash;
//! - when nobody waits it is wiped and unmapped.
//!
//! Used by [`passwords`](super::passwords) alone, on the blocking pool.

use argon2::Block;
use parking_lot::{Mutex, MutexGuard};
use zeroize::Zeroize as _;

/// The largest allocation that glibc may serve out of an arena (`DEFAULT_MMAP_THRESHOLD_MAX`), in bytes.
const MAPPED: usize = 32 * 1024 * 1024;

/// Memory that is not in use now, though somebody will want it soon.
#[derive(Debug, Default)]
pub(super) struct HashMemory {
    spare: Mutex<Vec<Vec<Block>>>,
}

impl HashMemory {
    /// Calls `work` with so many blocks of memory, whose content is of no meaning. `wanted` says afterwards whether
    /// somebody waits for the memory; it is given back to the system otherwise.
    pub(super) fn lend<T>(
        &self,
        blocks: usize,
        wanted: impl FnOnce() -> bool,
        work: impl FnOnce(&mut [Block]) -> T,
    ) -> T {
        // The lock is not held meanwhile.
        let spare = self.spare().pop();
        let mut memory = Lent { memory: spare.unwrap_or_default() };
        memory.make_room(blocks);
        let result = work(&mut memory.memory[..blocks]);
        if wanted() {
            let kept = std::mem::take(&mut memory.memory);
            self.spare().push(kept);
        } else {
            // What others have left, too: they may have believed that somebody would come.
            let left = std::mem::take(&mut *self.spare());
            for memory in left {
                drop(Lent { memory });
            }
        }
        result
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Vec<Block>>> {
        // A vector that is pushed to or popped from is whole whenever anything panics.
        self.spare.lock()
    }

    /// How many blocks of memory are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.spare().len()
    }
}

/// Wipes what it holds when it is dropped, also by a panic.
struct Lent {
    memory: Vec<Block>,
}

impl Lent {
    fn make_room(&mut self, blocks: usize) {
        if self.memory.capacity() < blocks {
            // Old hashes may have been made with other parameters.
            self.memory.zeroize();
            self.memory = Vec::with_capacity(blocks.max(MAPPED / Block::SIZE + 1));
        }
        if self.memory.len() < blocks {
            self.memory.resize(blocks, Block::new());
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // Block by block: a vector would also wipe, and so touch, what it has room for and does not hold.
        self.memory.iter_mut().for_each(zeroize::Zeroize::zeroize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_while_somebody_waits_and_given_back_afterwards() {
        let memory = HashMemory::default();
        let first = memory.lend(8, || true, |blocks| (blocks.as_ptr() as usize, blocks.len()));
        assert_eq!((first.1, memory.kept()), (8, 1));
        let again = memory.lend(4, || true, |blocks| (blocks.as_ptr() as usize, blocks.len()));
        assert_eq!((again.0, again.1, memory.kept()), (first.0, 4, 1));
        let larger = memory.lend(64 * 1024, || true, |blocks| blocks.len());
        assert_eq!((larger, memory.kept()), (64 * 1024, 1), "an old hash had other parameters");
        memory.lend(4, || false, |_| ());
        assert_eq!(memory.kept(), 0);
    }
}
