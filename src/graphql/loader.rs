//! Batching of look-ups: one statement for all the objects of a kind that one level of a query asks for.
//!
//! A loader lives as long as one operation and keeps nothing: what it returns may depend on the viewer, and for a
//! subscription it must not outlive the event.

use std::time::Duration;

use async_graphql::{
    dataloader::DataLoader,
    futures_util::{
        FutureExt,
        future::BoxFuture,
        task::{FutureObj, Spawn, SpawnError},
    },
    runtime::Timer,
};

use crate::lifecycle::Lifecycle;

/// Wraps a domain's loader for one operation.
pub fn data_loader<T>(loader: T, lifecycle: &Lifecycle) -> DataLoader<T> {
    DataLoader::new(loader, Spawner(lifecycle.clone()), Delay)
}

/// Runs batches as tasks that the process's lifecycle owns.
struct Spawner(Lifecycle);

impl Spawn for Spawner {
    fn spawn_obj(&self, future: FutureObj<'static, ()>) -> Result<(), SpawnError> {
        drop(self.0.spawn(future));
        Ok(())
    }
}

/// How long a batch waits for its siblings.
struct Delay;

impl Timer for Delay {
    fn delay(&self, duration: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed()
    }
}
