//! Tells open sockets that what they were opened with has ended.
//!
//! A socket watches its session before it asks the database whether the session lives, so that an end in between is
//! not missed. Whoever ends a session calls [`Revocations::end_session`] or [`Revocations::end_user`] after the commit.
//! In memory: a restart closes the sockets anyway.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio_util::sync::CancellationToken;

use crate::ids::{SessionId, UserId};

/// The sessions that sockets are open for. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Revocations {
    watched: Arc<Mutex<HashMap<SessionId, Watched>>>,
}

#[derive(Debug)]
struct Watched {
    user: UserId,
    ended: CancellationToken,
    watches: usize,
}

/// One socket's view of its session. The last one dropped takes the session off the list.
#[derive(Debug)]
pub struct Watch {
    session: SessionId,
    ended: CancellationToken,
    revocations: Revocations,
}

impl Revocations {
    /// Begins to watch a session.
    pub fn watch(&self, session: SessionId, user: UserId) -> Watch {
        let mut watched = self.lock();
        let entry =
            watched.entry(session).or_insert_with(|| Watched { user, ended: CancellationToken::new(), watches: 0 });
        if entry.ended.is_cancelled() {
            // Others, told already, have not left yet. Whoever comes now is asked for their rights anew.
            entry.ended = CancellationToken::new();
        }
        entry.watches += 1;
        Watch { session, ended: entry.ended.clone(), revocations: self.clone() }
    }

    /// A session is over.
    pub fn end_session(&self, session: SessionId) {
        if let Some(watched) = self.lock().get(&session) {
            watched.ended.cancel();
        }
    }

    /// All sessions of a user are over, or their rights have changed and must be asked for again.
    pub fn end_user(&self, user: UserId) {
        for watched in self.lock().values().filter(|watched| watched.user == user) {
            watched.ended.cancel();
        }
    }

    /// How many sessions are watched.
    pub fn watched(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Cancelled when the session ends.
    pub fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = self.revocations.lock();
        if let Some(entry) = watched.get_mut(&self.session) {
            entry.watches -= 1;
            if entry.watches == 0 {
                watched.remove(&self.session);
            }
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
        let returned = revocations.watch(second, ada);
        assert!(!returned.ended().is_cancelled(), "one comes back while another has not left");
        revocations.end_user(ada);
        assert!(returned.ended().is_cancelled());
        drop((watches, returned));
        assert_eq!(revocations.watched(), 0);
        assert!(!revocations.watch(first, ada).ended().is_cancelled(), "an id is not poisoned for ever");
    }
}
