//! Runs one use case at a time from one [`Point`] to the next.
//!
//! Between two points a use case runs alone, waiting for the database included: so what happens depends only on the
//! order in which the scheduler resumes them.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard},
    task::Poll,
};

use futures_util::future::{BoxFuture, FutureExt};
use lancewire::db::points::{CommitObserver, Point};

/// Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Stage(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Whether a use case runs. What the scheduler reads for itself is not stopped.
    acting: bool,
    stands: Option<Point>,
}

/// How far a use case has got.
pub(crate) enum Step<T> {
    At(Point),
    Done(T),
}

impl Stage {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("whole")
    }

    /// Runs a use case up to its next point, or to its end.
    pub(crate) async fn advance<T>(&self, task: &mut BoxFuture<'static, T>) -> Step<T> {
        self.state().acting = true;
        let step = poll_fn(|context| match task.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Step::Done(value)),
            Poll::Pending => match self.state().stands.take() {
                Some(point) => Poll::Ready(Step::At(point)),
                // The database works.
                None => Poll::Pending,
            },
        })
        .await;
        self.state().acting = false;
        step
    }
}

impl CommitObserver for Stage {
    fn reach(&self, point: Point) -> BoxFuture<'static, ()> {
        let (here, mut stood) = (self.clone(), false);
        poll_fn(move |_| {
            let mut state = here.state();
            if stood || !state.acting {
                return Poll::Ready(());
            }
            stood = true;
            state.stands = Some(point);
            Poll::Pending
        })
        .boxed()
    }
}
