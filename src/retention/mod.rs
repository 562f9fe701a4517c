//! Removes what is past its time, in steps that nobody notices.
//!
//! One task a process looks once a minute at everything that grows: each owner of a table hands in a [`Prune`] which
//! removes a bounded number of its oldest rows at a time, along an index. All take turns, one step each, so that a table
//! with millions of rows to remove keeps no other waiting.
//!
//! **How much at a time** is measured and not set: a step aims at [`TARGET`], which a writer of `SQLite` that waits for it
//! does not notice, and after each the task rests for [`REST`] times as long. So removing takes at most a fifth of the one
//! writer, however slow the disk is. A step that fails, as one does that passes `database.statement_timeout_ms`, is tried
//! again with an eighth of the rows: no size that is too large for ever stops the removal.
//!
//! Every node does so; a row that another node has removed is not found any more. The time is the database's. How late the
//! removal is, is reported as `lancewire_retention_lag_seconds`.
//!
//! Called by [`app`](crate::app), which knows whose rows there are.

use std::{
    fmt,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use metrics::{counter, gauge};
use sea_orm::{DbErr, prelude::async_trait::async_trait};

use crate::{db::Db, error::cause, lifecycle::Lifecycle};

mod settings;

pub use settings::RetentionSettings;

/// How often it looks.
const PERIOD: Duration = Duration::from_mins(1);
/// What one step may take.
const TARGET: Duration = Duration::from_millis(10);
/// How long it rests after a step, in the time that the step took.
const REST: u32 = 4;
/// Rows of a step: at first, at the least and at the most.
const FIRST: u32 = 250;
const LEAST: u32 = 10;
const MOST: u32 = 5_000;
/// Failed steps one after the other after which a look is over: the next one begins with the size to which these have led.
const FAILURES: u32 = 5;

const REMOVED: &str = "lancewire_retention_removed_total";
const LAG: &str = "lancewire_retention_lag_seconds";

/// Something of which old rows are removed.
#[async_trait]
pub trait Prune: fmt::Debug + Send + Sync {
    /// What the metrics and the log call it: plural, with underscores.
    fn what(&self) -> &'static str;

    /// What is to be put down before a look.
    async fn prepare(&self) -> Result<(), DbErr> {
        Ok(())
    }

    /// Removes up to about `most` of the oldest rows that are past their time at `now`; 0 if there are none. One short
    /// transaction, or several.
    async fn step(&self, now: DateTime<Utc>, most: u32) -> Result<u64, DbErr>;

    /// For how long the oldest row that is there should have been gone at `now`.
    async fn overdue(&self, now: DateTime<Utc>) -> Result<TimeDelta, DbErr>;
}

/// One owner's rows and the size of their steps.
#[derive(Debug)]
struct Turn {
    rows: Box<dyn Prune>,
    size: u32,
    failures: u32,
    open: bool,
}

impl Turn {
    fn new(rows: Box<dyn Prune>) -> Self {
        Self { rows, size: FIRST, failures: 0, open: false }
    }

    /// One step. Returns how long it took.
    async fn take(&mut self, now: DateTime<Utc>) -> Duration {
        let started = Instant::now();
        let step = self.rows.step(now, self.size).await;
        let took = started.elapsed();
        match step {
            Ok(0) => self.open = false,
            Ok(removed) => {
                counter!(REMOVED, "what" => self.rows.what()).increment(removed);
                self.failures = 0;
                self.size = next_size(self.size, took);
            }
            Err(error) => {
                self.size = (self.size / 8).max(LEAST);
                self.failures += 1;
                self.open = self.failures < FAILURES;
                if !self.open {
                    let what = self.rows.what();
                    tracing::error!(what, error = %cause(&error), "old rows cannot be removed");
                }
            }
        }
        took
    }

    async fn report(&self, now: DateTime<Utc>) {
        if let Ok(late) = self.rows.overdue(now).await {
            let seconds = late.to_std().unwrap_or_default().as_secs_f64();
            gauge!(LAG, "what" => self.rows.what()).set(seconds);
        }
    }
}

/// Removes what is past its time until the process stops. May be cut off anywhere.
pub async fn run(rows: Vec<Box<dyn Prune>>, db: Db, lifecycle: Lifecycle) {
    let mut turns: Vec<Turn> = rows.into_iter().map(Turn::new).collect();
    let mut ticks = tokio::time::interval(PERIOD);
    loop {
        tokio::select! {
            () = lifecycle.stopping() => return,
            _ = ticks.tick() => look(&mut turns, &db, &lifecycle).await,
        }
    }
}

async fn look(turns: &mut [Turn], db: &Db, lifecycle: &Lifecycle) {
    let now = match db.now().await {
        Ok(now) => now,
        Err(error) => {
            tracing::error!(error = %cause(&error), "the database does not say what time it is; nothing is removed");
            return;
        }
    };
    for turn in &mut *turns {
        (turn.open, turn.failures) = (true, 0);
        if let Err(error) = turn.rows.prepare().await {
            tracing::error!(what = turn.rows.what(), error = %cause(&error), "how old rows are cannot be put down");
        }
        turn.report(now).await;
    }
    let mut rounds = 0_u32;
    while turns.iter().any(|turn| turn.open) && !lifecycle.is_stopping() {
        for turn in turns.iter_mut().filter(|turn| turn.open) {
            let took = turn.take(now).await;
            tokio::time::sleep(took * REST).await;
        }
        rounds = rounds.wrapping_add(1);
        // A removal that takes longer than a look is logged while it goes on.
        if rounds.is_multiple_of(1_000) {
            for turn in &*turns {
                turn.report(now).await;
            }
        }
    }
    for turn in &*turns {
        turn.report(now).await;
    }
}

/// The size of the next step, by what this one took: half or twice as many rows at the most.
fn next_size(size: u32, took: Duration) -> u32 {
    let fits = if took > TARGET {
        size / 2
    } else if took * 2 < TARGET {
        size * 2
    } else {
        size
    };
    fits.clamp(LEAST, MOST)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use super::*;

    /// A disk on which a row takes so long, and a step that takes too long fails.
    #[derive(Debug)]
    struct Slow {
        row: Duration,
        left: AtomicU32,
        failed: AtomicU32,
    }

    #[async_trait]
    impl Prune for Arc<Slow> {
        fn what(&self) -> &'static str {
            "rows"
        }

        async fn step(&self, _: DateTime<Utc>, most: u32) -> Result<u64, DbErr> {
            if self.row * most > TARGET * 20 {
                self.failed.fetch_add(1, Ordering::Relaxed);
                return Err(DbErr::Custom("canceling statement due to statement timeout".into()));
            }
            let left = self.left.load(Ordering::Relaxed);
            let removed = left.min(most);
            self.left.store(left - removed, Ordering::Relaxed);
            Ok(removed.into())
        }

        async fn overdue(&self, _: DateTime<Utc>) -> Result<TimeDelta, DbErr> {
            Ok(TimeDelta::zero())
        }
    }

    #[test]
    fn a_step_takes_as_many_rows_as_fit_into_its_time() {
        for row in
            [Duration::from_nanos(500), Duration::from_micros(20), Duration::from_millis(1), Duration::from_secs(1)]
        {
            let mut size = FIRST;
            for _ in 0..20 {
                size = next_size(size, row * size);
            }
            let took = row * size;
            assert!((LEAST..=MOST).contains(&size), "{row:?}: {size}");
            assert!(took <= TARGET || size == LEAST, "{row:?}: {size} rows take {took:?}");
            assert!(took * 4 > TARGET || size == MOST, "{row:?}: {size} rows take {took:?}");
        }
    }

    #[tokio::test]
    async fn a_step_that_is_too_large_does_not_fail_for_ever() {
        let slow = Arc::new(Slow { row: Duration::from_millis(10), left: 200.into(), failed: 0.into() });
        let mut turn = Turn::new(Box::new(Arc::clone(&slow)));
        turn.open = true;
        let mut steps = 0;
        while turn.open {
            turn.take(DateTime::UNIX_EPOCH).await;
            steps += 1;
            assert!(steps < 1_000, "{turn:?} comes to no end");
        }
        assert_eq!(slow.left.load(Ordering::Relaxed), 0, "{turn:?} gives up");
        assert!(slow.failed.load(Ordering::Relaxed) > 0);
    }
}
