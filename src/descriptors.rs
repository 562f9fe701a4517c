//! How many files and connections the process may have open at once.
//!
//! Owns the limit that the system sets (`RLIMIT_NOFILE`). Shells and service managers often set a soft limit of 1,024 below
//! a hard one that is a thousand times as large, for the sake of programs that use `select`; this one does not. `main`
//! raises it at the start, and `app` keeps the number of connections below what is left of it, so that the database, the
//! listener and files always have some. Leaf: knows nobody.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More than this is never asked for: some systems allow a billion, and the kernel's table of them takes memory.
const MOST: u64 = 1_048_576;

/// Raises the limit to the hard one, or to 1,048,576 where that is more, and returns what holds then. A system that
/// refuses leaves the limit as it is.
pub fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(MOST).min(MOST);
    if current.is_some_and(|current| current < wanted) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
    limit()
}

/// How many may be open at once.
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(MOST).min(MOST)
}
