//! Named consumers of the log: what reacts to every event once, or at least once, on whichever node.
//!
//! A consumer has a row in `event_consumers`: how far it has come (`position`), and a *lease*, by which one node at a
//! time works for it. Each taking of the lease is one *attempt*, with a number of its own, and only the attempt that
//! holds the lease may write the position. A node that was frozen or cut off, and goes on after another one has taken
//! over, finds that its attempt is not the last one, and what it did in the transaction of its position is rolled back
//! with it.
//!
//! **No gap.** Positions are contiguous, and the position moves over an event in the transaction that ends the work on
//! it; so an event is passed over by nobody, whichever node dies at whichever moment. An effect inside the database
//! ([`Consumer::act_in`]) happens exactly once; one outside of it ([`Consumer::act`]) at least once, and in order,
//! since the next batch begins after this one has ended.
//!
//! **Retention** does not wait for a consumer. One that it has overtaken learns what it has missed
//! ([`Consumer::missed_in`]), in the transaction in which it goes on behind that: nothing is lost without a word.
//!
//! **Time.** The lease runs by the database's clock. An attempt works on a batch for at most two thirds of it, then
//! gives up that batch, and renews the lease before each batch; so work that was not frozen never overlaps with that of
//! another attempt. What fails is tried again after a pause, from the same event on: a consumer that must go on past
//! one that it cannot work on records that itself and returns `Ok`.
//!
//! The owner of a reaction implements [`Consumer`], and the composition runs [`run`] for it on every node. A new consumer
//! begins at the oldest event that is kept.

use std::{fmt, future::Future, ops::RangeInclusive, sync::Arc, time::Duration};

use sea_orm::{ConnectionTrait, DbErr, prelude::async_trait::async_trait};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{Event, EventLog};
use crate::{
    backoff::BackOff,
    db::{Backend, Db, Tx},
    error::{AsDbError, InternalError},
    lifecycle::Lifecycle,
};

/// The pauses after failures.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// How often the head of the log is read for [`WAITING`] while there is work.
const NOTED: Duration = Duration::from_secs(1);
/// Events that are still to be worked on, by consumer, as the node that holds the lease knows it; 0 on the others.
const WAITING: &str = "lancewire_consumer_waiting_events";
/// Batches that came to nothing, by consumer and reason.
const FAILURES: &str = "lancewire_consumer_failures_total";
/// Bytes of payloads in one batch. One event is always taken.
const BATCH_BYTES: usize = 1 << 20;

/// Something that reacts to the log.
#[async_trait]
pub trait Consumer: fmt::Debug + Send + Sync {
    /// Its name in the database, for ever: another name is another consumer, which begins at the beginning.
    fn name(&self) -> &'static str;

    /// What it does outside of the database, with the next events, in order. May be asked for the same events again, also
    /// with more or fewer behind them.
    async fn act(&self, _events: &[Event]) -> Result<(), InternalError> {
        Ok(())
    }

    /// What it does in the database, after [`Consumer::act`] with the same events: committed with its position, or not at
    /// all. May be run again in another transaction.
    async fn act_in(&self, _tx: &Tx, _events: &[Event]) -> Result<(), InternalError> {
        Ok(())
    }

    /// Retention has removed these positions before they were worked on. Committed with the position behind them.
    async fn missed_in(&self, tx: &Tx, missed: RangeInclusive<i64>) -> Result<(), InternalError>;
}

/// How a consumer is run.
#[derive(Clone, Copy, Debug)]
pub struct ConsumerPace {
    /// How long it looks at nothing where nobody rings.
    pub poll: Duration,
    /// After how long without a word another node takes over.
    pub lease: Duration,
    /// Events of one batch, at most.
    pub batch: u32,
}

impl Default for ConsumerPace {
    fn default() -> Self {
        Self { poll: Duration::from_secs(1), lease: Duration::from_secs(15), batch: 64 }
    }
}

/// An attempt that holds the lease.
#[derive(Debug)]
struct Held {
    attempt: i64,
    position: i64,
    /// Before the statement that renewed the lease was sent, so that it never counts as longer than it is.
    renewed: Instant,
}

/// Why a step came to nothing.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error("another attempt holds the lease")]
    Lost,
    #[error("the work has taken longer than its lease allows")]
    Late,
    #[error(transparent)]
    InternalError(#[from] InternalError),
}

impl StepError {
    /// As [`FAILURES`] names it.
    const fn label(&self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Late => "late",
            Self::InternalError(_) => "error",
        }
    }
}

impl From<DbErr> for StepError {
    fn from(error: DbErr) -> Self {
        Self::InternalError(error.into())
    }
}

impl AsDbError for StepError {
    fn as_db_error(&self) -> Option<&DbErr> {
        match self {
            Self::Lost | Self::Late => None,
            Self::InternalError(error) => error.as_db_error(),
        }
    }
}

/// Runs a consumer on this node until the process stops: holds its lease if no other node does, and waits for it else.
/// `bell` is rung where events have been published; without it they are found by polling.
pub async fn run(
    consumer: Arc<dyn Consumer>,
    (db, log): (Db, EventLog),
    bell: Arc<Notify>,
    pace: ConsumerPace,
    lifecycle: Lifecycle,
) {
    let mut pauses = BackOff::new(db.ids(), PAUSE);
    let runner = Runner { consumer, db, log, pace };
    let (mut held, mut noted) = (None, None);
    while !lifecycle.is_stopping() {
        let outcome = runner.turn(&mut held).await;
        if let Err(error) = &outcome {
            let name = runner.consumer.name();
            metrics::counter!(FAILURES, "consumer" => name, "reason" => error.label()).increment(1);
            if matches!(error, StepError::Lost) {
                held = None;
            }
        }
        let is_behind = !matches!(outcome, Ok(false));
        runner.note_waiting(held.as_ref(), is_behind, &mut noted).await;
        let wait = match outcome {
            Ok(true) => continue,
            Ok(false) => {
                pauses.reset();
                pace.poll
            }
            Err(StepError::Lost) => {
                tracing::warn!(consumer = runner.consumer.name(), "another node has taken over");
                pace.poll
            }
            Err(error) => {
                tracing::error!(consumer = runner.consumer.name(), error = %error, "events cannot be worked on now");
                pauses.length()
            }
        };
        tokio::select! {
            () = lifecycle.stopping() => {}
            () = bell.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
    if let Some(held) = held
        && let Err(error) = runner.give_up(&held).await
    {
        tracing::warn!(consumer = runner.consumer.name(), error = %error, "the lease runs out by itself");
    }
}

struct Runner {
    consumer: Arc<dyn Consumer>,
    db: Db,
    log: EventLog,
    pace: ConsumerPace,
}

impl Runner {
    /// Takes the lease if it can be had, and works on one batch. Says whether there may be more to do at once.
    async fn turn(&self, held: &mut Option<Held>) -> Result<bool, StepError> {
        if held.is_none() {
            *held = self.take().await?;
        }
        match held {
            Some(held) => self.step(held).await,
            None => Ok(false),
        }
    }

    /// Reports how many events wait, reading the head of the log at most once in [`NOTED`].
    async fn note_waiting(&self, held: Option<&Held>, is_behind: bool, noted: &mut Option<Instant>) {
        let waiting = match held {
            Some(held) if is_behind => {
                if noted.is_some_and(|noted| noted.elapsed() < NOTED) {
                    return;
                }
                *noted = Some(Instant::now());
                // Without the database the last figure stands; that it is away is reported elsewhere.
                let Ok(end) = self.log.head().await else { return };
                u32::try_from((end.position - held.position).max(0)).unwrap_or(u32::MAX)
            }
            _ => 0,
        };
        metrics::gauge!(WAITING, "consumer" => self.consumer.name()).set(f64::from(waiting));
    }

    /// Takes the lease, unless another attempt holds it.
    async fn take(&self) -> Result<Option<Held>, StepError> {
        let name = self.consumer.name();
        let begin = "INSERT INTO event_consumers (name, position, attempt, leased_until_ms) \
                     SELECT ?, forgotten_position, 0, 0 FROM event_log WHERE id = 1 ON CONFLICT (name) DO NOTHING";
        let free = format!("SELECT 1 AS free FROM event_consumers WHERE name = ? AND leased_until_ms > {}", self.now());
        let take = format!(
            "UPDATE event_consumers SET attempt = attempt + 1, leased_until_ms = {now} + CAST(? AS bigint) \
             WHERE name = ? AND leased_until_ms <= {now} RETURNING attempt, position",
            now = self.now()
        );
        // Read before it is written: those who wait for another node write nothing.
        let asked = self.db.writer().query_one_raw(self.db.statement(&free, [name.into()])).await?;
        if asked.is_some() {
            return Ok(None);
        }
        let (take, renewed) = (&take, Instant::now());
        let taken = self.db.transact(|tx| async move {
            tx.execute(begin, [name.into()]).await?;
            let rows = tx.query(take, [self.lease_ms().into(), name.into()]).await?;
            let Some(row) = rows.first() else { return Ok(None) };
            Ok::<_, StepError>(Some((row.try_get("", "attempt")?, row.try_get("", "position")?)))
        });
        Ok(taken.await?.map(|(attempt, position)| Held { attempt, position, renewed }))
    }

    async fn step(&self, held: &mut Held) -> Result<bool, StepError> {
        self.renew(held).await?;
        let events = within(self.log.after(held.position, self.pace.batch).await?, BATCH_BYTES);
        let first = events.first().map(|event| event.position);
        if first != Some(held.position + 1) {
            // Nothing is there, or what follows is gone.
            let gone = self.forgotten().await?;
            if gone > held.position {
                self.pass_over(held, held.position + 1..=gone).await?;
                return Ok(true);
            }
            if first.is_some() {
                return Err(InternalError::Unavailable("the event log has a hole".into()).into());
            }
            return Ok(false);
        }
        let Some(last) = events.last().map(|last| last.position) else { return Ok(false) };
        let (events, held_now) = (events.as_slice(), &*held);
        let work = async {
            self.consumer.act(events).await?;
            let renewed = Instant::now();
            self.move_to(held_now, last, |tx| async move { self.consumer.act_in(&tx, events).await }).await?;
            Ok::<_, StepError>(renewed)
        };
        // What is cut off here is rolled back, and begun anew from the same event. By the lease's own end too: the events may
        // have been read slowly since it was renewed.
        let end = (Instant::now() + self.pace.lease * 2 / 3).min(held.renewed + self.pace.lease);
        let renewed = timeout_at(end, work).await.map_err(|_| StepError::Late)??;
        (held.position, held.renewed) = (last, renewed);
        Ok(true)
    }

    /// Tells the consumer what is gone, and goes on behind it.
    async fn pass_over(&self, held: &mut Held, missed: RangeInclusive<i64>) -> Result<(), StepError> {
        let (name, last) = (self.consumer.name(), *missed.end());
        tracing::error!(
            consumer = name,
            first = missed.start(),
            last,
            "retention has removed events that were not worked on"
        );
        let (missed, renewed) = (&missed, Instant::now());
        self.move_to(held, last, |tx| async move { self.consumer.missed_in(&tx, missed.clone()).await }).await?;
        (held.position, held.renewed) = (last, renewed);
        Ok(())
    }

    /// Writes the position with what `work` does, if this attempt still holds the lease, and renews it.
    async fn move_to<F>(&self, held: &Held, position: i64, work: impl Fn(Tx) -> F) -> Result<(), StepError>
    where
        F: Future<Output = Result<(), InternalError>>,
    {
        let work = &work;
        self.db
            .transact(|tx| async move {
                work(tx.clone()).await?;
                self.hold_in(&tx, held, position).await
            })
            .await
    }

    /// Keeps the lease for work that is about to begin.
    async fn renew(&self, held: &mut Held) -> Result<(), StepError> {
        if held.renewed.elapsed() < self.pace.lease / 3 {
            return Ok(());
        }
        let (now, held_now) = (Instant::now(), &*held);
        self.db.transact(|tx| async move { self.hold_in(&tx, held_now, held_now.position).await }).await?;
        held.renewed = now;
        Ok(())
    }

    /// Moves the position of the attempt that holds the lease, and renews the lease. From where this attempt knows it to be:
    /// a commit of which nobody knows how it ended is not made again. Last in its transaction: its row is locked for no
    /// longer than the commit takes.
    async fn hold_in(&self, tx: &Tx, held: &Held, position: i64) -> Result<(), StepError> {
        let sql = format!(
            "UPDATE event_consumers SET position = ?, leased_until_ms = {} + CAST(? AS bigint) \
             WHERE name = ? AND attempt = ? AND position = ?",
            self.now()
        );
        let (name, lease) = (self.consumer.name(), self.lease_ms());
        let values = [position.into(), lease.into(), name.into(), held.attempt.into(), held.position.into()];
        if tx.execute(&sql, values).await? == 1 { Ok(()) } else { Err(StepError::Lost) }
    }

    /// Another node need not wait for the lease to run out.
    async fn give_up(&self, held: &Held) -> Result<(), DbErr> {
        let sql = "UPDATE event_consumers SET leased_until_ms = 0 WHERE name = ? AND attempt = ?";
        let given = self.db.statement(sql, [self.consumer.name().into(), held.attempt.into()]);
        self.db.writer().execute_raw(given).await.map(drop)
    }

    /// Up to where retention has come.
    async fn forgotten(&self) -> Result<i64, DbErr> {
        let sql = "SELECT forgotten_position FROM event_log WHERE id = 1";
        let row = self.db.writer().query_one_raw(self.db.statement(sql, [])).await?;
        row.ok_or_else(|| DbErr::RecordNotFound("event_log".into()))?.try_get_by_index(0)
    }

    /// The database's time in milliseconds since 1970, as SQL.
    fn now(&self) -> &'static str {
        match self.db.backend() {
            Backend::Postgres => "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)",
            Backend::Sqlite => "CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER)",
        }
    }

    fn lease_ms(&self) -> i64 {
        i64::try_from(self.pace.lease.as_millis()).unwrap_or(i64::MAX)
    }
}

/// The first of these whose payloads take up to `most` bytes; at least one.
fn within(mut events: Vec<Event>, most: usize) -> Vec<Event> {
    let mut bytes = 0;
    let fits = events.iter().take_while(|event| {
        bytes += event.recorded.payload.len();
        bytes <= most
    });
    let fits = fits.count().max(1);
    events.truncate(fits);
    events
}
