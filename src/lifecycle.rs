//! Owns every background task of the process and the order in which they stop.
//!
//! Four tokens: the *notice* is for load balancers (readiness fails, everything is still served), the *soft* one asks
//! (sockets send their close frames, requests in flight finish), the *drained* one says that the last socket and stream is gone, so
//! that delivery may end, which goes on until then; the *hard* one ends what has not left by then. Every task is
//! spawned here, so that each has an owner and an end and shutdown can wait for all of them; `tokio::spawn` elsewhere
//! is refused by `clippy.toml` and `tests/architecture.rs`.

use std::{future::Future, time::Duration};

use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A handle to the process's tasks and its end; clones share both.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    notice: CancellationToken,
    soft: CancellationToken,
    /// The hard one's child.
    drained: CancellationToken,
    hard: CancellationToken,
    failed: CancellationToken,
    tasks: TaskTracker,
}

impl Default for Lifecycle {
    fn default() -> Self {
        let hard = CancellationToken::new();
        Self {
            notice: CancellationToken::new(),
            soft: CancellationToken::new(),
            drained: hard.child_token(),
            hard,
            failed: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }
}

impl Lifecycle {
    /// A lifecycle that has not begun to end.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `task` until it returns or the hard end comes, whichever is first.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn<F>(&self, task: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let hard = self.hard.clone();
        // Boxed: a future that is moved into another one is stored twice, and there may be one for each of many
        // sockets.
        let task = Box::pin(task);
        let task = self.tasks.track_future(async move { hard.run_until_cancelled(task).await });
        tokio::spawn(task)
    }

    /// Runs `task`, which may be cut off anywhere, until the process has been asked to end.
    pub fn spawn_until_stopping(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.until_stopping().spawn(task));
    }

    /// The same lifecycle for those whose tasks may be cut off anywhere: each ends as soon as the process has been asked
    /// to. What such a task waits for may never come, and nobody waits for it.
    #[must_use]
    pub fn until_stopping(&self) -> Self {
        Self { hard: self.soft.clone(), ..self.clone() }
    }

    /// The same for those who deliver: each ends when the last socket and stream is gone, or with the hard end.
    #[must_use]
    pub fn until_drained(&self) -> Self {
        Self { hard: self.drained.clone(), ..self.clone() }
    }

    /// Says that nobody is left to deliver to, and that nobody will come. Safe to call more than once.
    pub fn set_drained(&self) {
        self.drained.cancel();
    }

    /// Completes when nobody is left to deliver to, or with the hard end.
    pub async fn drained(&self) {
        self.drained.cancelled().await;
    }

    /// Completes when the process has been asked to end.
    pub async fn stopping(&self) {
        self.soft.cancelled().await;
    }

    /// True once the process has been asked to end.
    pub fn is_stopping(&self) -> bool {
        self.soft.is_cancelled()
    }

    /// Says that the process is about to end; nothing ends yet. Safe to call more than once.
    pub fn announce(&self) {
        self.notice.cancel();
    }

    /// True once it is known that the process is about to end: no new traffic should come.
    pub fn is_announced(&self) -> bool {
        self.notice.is_cancelled()
    }

    /// Asks everything to end. Safe to call more than once.
    pub fn stop(&self) {
        self.announce();
        self.soft.cancel();
    }

    /// Says that the process cannot go on as it is and must be started anew.
    pub fn fail(&self) {
        self.failed.cancel();
    }

    /// Completes when the process must be started anew.
    pub async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// True once the process must be started anew.
    pub fn has_failed(&self) -> bool {
        self.failed.is_cancelled()
    }

    /// Asks everything to end, waits up to `grace` for the tasks, then cuts off those that remain.
    ///
    /// Returns whether all of them left by themselves.
    pub async fn shut_down(&self, grace: Duration) -> bool {
        self.stop();
        self.tasks.close();
        let in_time = tokio::time::timeout(grace, self.tasks.wait()).await.is_ok();
        self.hard.cancel();
        self.tasks.wait().await;
        in_time
    }

    /// How many tasks run now.
    pub fn running(&self) -> usize {
        self.tasks.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_will_not_leave_is_cut_off() {
        let lifecycle = Lifecycle::new();
        let polite = lifecycle.clone();
        let polite = lifecycle.spawn(async move { polite.stopping().await });
        let stubborn = lifecycle.spawn(std::future::pending::<()>());
        assert!(!lifecycle.shut_down(Duration::from_millis(10)).await);
        assert_eq!(polite.await.expect("joins"), Some(()));
        assert_eq!(stubborn.await.expect("joins"), None);
        assert_eq!(lifecycle.running(), 0);
    }

    #[tokio::test]
    async fn delivery_goes_on_until_nobody_is_left_or_the_time_is_over() {
        let lifecycle = Lifecycle::new();
        let delivery = lifecycle.until_drained().spawn(std::future::pending::<()>());
        lifecycle.stop();
        tokio::task::yield_now().await;
        assert!(!delivery.is_finished(), "there is somebody to deliver to");
        lifecycle.set_drained();
        assert!(lifecycle.shut_down(Duration::MAX).await);
        assert_eq!(delivery.await.expect("joins"), None);

        let lifecycle = Lifecycle::new();
        let delivery = lifecycle.until_drained().spawn(std::future::pending::<()>());
        assert!(!lifecycle.shut_down(Duration::from_millis(10)).await, "who is left is cut off");
        assert_eq!(delivery.await.expect("joins"), None);
    }

    #[tokio::test]
    async fn what_may_be_cut_off_keeps_nobody_waiting() {
        let lifecycle = Lifecycle::new();
        let endless = lifecycle.until_stopping().spawn(std::future::pending::<()>());
        lifecycle.spawn_until_stopping(std::future::pending());
        assert!(lifecycle.shut_down(Duration::MAX).await);
        assert_eq!(endless.await.expect("joins"), None);
    }
}
