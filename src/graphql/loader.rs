//! Batching of look-ups: one statement for all the objects of a kind that one level of a query asks for.
//!
//! A loader lives as long as one operation, or as some that run at the same time, and keeps nothing: what it returned a
//! moment ago may have changed.
//!
//! A batch begins when its operations have nothing left to do but wait, which is when it holds all that they can ask
//! for. async-graphql's own way, a task that sleeps a millisecond first, cuts a batch in two whenever a page takes
//! longer than that to walk, makes every level of a query a millisecond slower, and lets a batch go on after its
//! operation was given up. Here batches run inside their operation and end with it.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use async_graphql::{
    dataloader::DataLoader,
    futures_util::{
        FutureExt, StreamExt, future,
        future::BoxFuture,
        stream::FuturesUnordered,
        task::{AtomicWaker, FutureObj, Spawn, SpawnError},
    },
    runtime::Timer,
};
use parking_lot::Mutex;

/// The batches of one operation, or of several at the same time, that wait for it to pause. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Batches(Arc<Mutex<Vec<FutureObj<'static, ()>>>>);

impl Batches {
    /// Wraps a domain's loader for the operation.
    pub fn loader<T>(&self, loader: T) -> DataLoader<T> {
        DataLoader::new(loader, self.clone(), NoDelay)
    }

    /// Runs the operation, and its batches whenever it waits.
    pub async fn drive<F: Future>(self, operation: F) -> F::Output {
        let mut operation = pin!(operation);
        let mut running = FuturesUnordered::new();
        let pause = Arc::new(Pause::default());
        let waker = Waker::from(Arc::clone(&pause));
        poll_fn(|cx| {
            pause.task.register(cx.waker());
            pause.woken.store(false, Ordering::Release);
            if let Poll::Ready(output) = operation.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Poll::Ready(output);
            }
            // Long lists give way now and then and are polled again at once: the operation is not waiting yet.
            if !pause.woken.load(Ordering::Acquire) {
                running.extend(self.take());
                while let Poll::Ready(Some(())) = running.poll_next_unpin(cx) {}
            }
            Poll::Pending
        })
        .await
    }

    fn take(&self) -> Vec<FutureObj<'static, ()>> {
        std::mem::take(&mut *self.0.lock())
    }
}

impl Spawn for Batches {
    fn spawn_obj(&self, batch: FutureObj<'static, ()>) -> Result<(), SpawnError> {
        self.0.lock().push(batch);
        Ok(())
    }
}

/// Wakes the operation's task and remembers that it did.
#[derive(Debug, Default)]
struct Pause {
    woken: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Pause {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.task.wake();
    }
}

/// Waiting for siblings is the affair of [`Batches::drive`].
struct NoDelay;

impl Timer for NoDelay {
    fn delay(&self, _: Duration) -> BoxFuture<'static, ()> {
        future::ready(()).boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::atomic::AtomicUsize};

    use async_graphql::{
        Context, EmptyMutation, EmptySubscription, Object, Request, Schema,
        dataloader::{DataLoader, Loader},
    };
    use tokio::sync::Barrier;

    use super::*;

    /// Counts its batches and takes its time.
    struct Numbers(Arc<AtomicUsize>);

    impl Loader<u32> for Numbers {
        type Value = u32;
        type Error = ();

        async fn load(&self, keys: &[u32]) -> Result<HashMap<u32, u32>, ()> {
            self.0.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok(keys.iter().map(|key| (*key, key + 1)).collect())
        }
    }

    struct Query;
    struct Node(u32);

    #[Object]
    impl Query {
        async fn node(&self) -> Node {
            Node(0)
        }
    }

    #[Object]
    impl Node {
        async fn number(&self) -> u32 {
            self.0
        }
        async fn next(&self, ctx: &Context<'_>) -> Node {
            let loaded = ctx.data_unchecked::<DataLoader<Numbers>>().load_one(self.0).await;
            Node(loaded.ok().flatten().unwrap_or_default())
        }
        async fn many(&self) -> Vec<Node> {
            // Longer than the lists that are polled in one go.
            (0..100).map(|number| Node(self.0 * 1_000 + number)).collect()
        }
    }

    async fn batches_of(query: &str) -> usize {
        let (batches, count) = (Batches::default(), Arc::new(AtomicUsize::new(0)));
        let schema = Schema::build(Query, EmptyMutation, EmptySubscription).finish();
        let request = Request::new(query).data(batches.loader(Numbers(Arc::clone(&count))));
        let response = batches.drive(schema.execute(request)).await;
        assert!(response.errors.is_empty(), "{:?}", response.errors);
        count.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn a_level_is_one_batch_however_long_it_is() {
        for (query, batches) in [
            ("{ node { number } }", 0),
            ("{ node { next { number } } }", 1),
            ("{ node { many { next { number } } } }", 1),
            // Ten thousand keys, and a thousand is the most that one batch takes.
            ("{ node { many { many { next { number } } } } }", 10),
            ("{ node { many { next { next { next { number } } } } } }", 3),
        ] {
            assert_eq!(batches_of(query).await, batches, "{query}");
        }
    }

    #[tokio::test]
    async fn a_batch_ends_with_its_operation() {
        struct Slow(Arc<Barrier>);

        impl Loader<u32> for Slow {
            type Value = u32;
            type Error = ();

            async fn load(&self, _: &[u32]) -> Result<HashMap<u32, u32>, ()> {
                self.0.wait().await;
                future::pending().await
            }
        }

        let (batches, begun) = (Batches::default(), Arc::new(Barrier::new(2)));
        let loader = batches.loader(Slow(Arc::clone(&begun)));
        let operation = batches.drive(async move { loader.load_one(1).await });
        tokio::select! {
            _ = operation => panic!("it never ends by itself"),
            _ = begun.wait() => {}
        }
        assert_eq!(Arc::strong_count(&begun), 1, "nothing is left of it");
    }
}
