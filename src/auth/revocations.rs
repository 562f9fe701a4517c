//! Tells open sockets that what they were opened with has ended.
//!
//! A socket watches its session before it asks the database whether the session lives, so that an end in between is
//! not missed. Ends come out of the event log ([`Sessions::hear`](super::sessions::Sessions::hear)), on every node in
//! the same order as everything else: what is committed after the end of a session is not delivered to its sockets.
//! In memory: a restart closes the sockets anyway.

use std::{collections::HashMap, sync::Arc};

use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

use crate::ids::{SessionId, UserId};

/// The sessions that sockets are open for. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Revocations {
    watched: Arc<Mutex<HashMap<SessionId, Arc<Watched>>>>,
}

#[derive(Debug)]
struct Watched {
    user: UserId,
    ended: CancellationToken,
}

/// One socket's view of its session. The last one dropped takes the session off the list.
#[derive(Debug)]
pub struct Watch {
    session: SessionId,
    watched: Arc<Watched>,
    revocations: Revocations,
}

impl Revocations {
    /// Begins to watch a session.
    pub fn watch(&self, session: SessionId, user: UserId) -> Watch {
        let fresh = || Arc::new(Watched { user, ended: CancellationToken::new() });
        let watched = Arc::clone(self.lock().entry(session).or_insert_with(fresh));
        Watch { session, watched, revocations: self.clone() }
    }

    /// A session is over.
    pub fn end_session(&self, session: SessionId) {
        self.end(|known, _| known == session);
    }

    /// All sessions of a user are over, or their rights have changed and must be asked for again.
    pub fn end_user(&self, user: UserId) {
        self.end(|_, known| known == user);
    }

    /// How many sessions are watched.
    pub fn watched(&self) -> usize {
        self.lock().len()
    }

    fn end(&self, over: impl Fn(SessionId, UserId) -> bool) {
        // A client that comes back with a session that lives on watches it anew, while the old sockets are still closing.
        for (_, watched) in self.lock().extract_if(|session, watched| over(*session, watched.user)) {
            watched.ended.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Watched>>> {
        self.watched.lock()
    }
}

impl Watch {
    /// Cancelled when the session ends.
    pub fn ended(&self) -> CancellationToken {
        self.watched.ended.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut list = self.revocations.lock();
        let listed = list.get(&self.session).is_some_and(|listed| Arc::ptr_eq(listed, &self.watched));
        // This watch's own and the list's: nobody else watches, and under the lock nobody can begin to.
        if listed && Arc::strong_count(&self.watched) == 2 {
            list.remove(&self.session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, ids::Ids};

    #[test]
    fn only_the_sessions_meant_end_and_nothing_stays() {
        let (ids, revocations) = (Ids::seeded(Clock::system(), 3), Revocations::default());
        let (ada, ben) = (ids.next(), ids.next());
        let (first, second, other) = (ids.next(), ids.next(), ids.next());
        let watches = [(first, ada), (first, ada), (second, ada), (other, ben)].map(|(s, u)| revocations.watch(s, u));
        revocations.end_session(first);
        assert_eq!(watches.each_ref().map(|watch| watch.ended().is_cancelled()), [true, true, false, false]);
        revocations.end_user(ada);
        assert_eq!(watches.each_ref().map(|watch| watch.ended().is_cancelled()), [true, true, true, false]);
        let again = revocations.watch(second, ada);
        assert!(!again.ended().is_cancelled(), "who comes back is not taken for who was sent away");
        drop(watches);
        assert_eq!(revocations.watched(), 1, "the one that came back");
        drop(again);
        assert_eq!(revocations.watched(), 0);
    }
}
