//! Where the log is read from: the database, or in a simulation (`tests/sim`) what stands for one.
//!
//! As small as delivery can be told about: the tail asks for what follows, feeds ask for pages, both ask what is still
//! kept. In production there is no source but the database, and [`EventLog`](super::EventLog) finds that out by one look
//! at an empty option.

use std::fmt;

use futures_util::future::BoxFuture;
use sea_orm::DbErr;

use super::{Advance, Page};

/// A log in memory, whose answers may be late, old, or errors.
pub trait LogSource: Send + Sync + fmt::Debug {
    /// Numbers what has been committed, and reads up to `limit` events after `position` and what stands there, or at the
    /// head if that is earlier. Says how many were numbered by this call.
    fn advance(&self, position: i64, limit: u32) -> BoxFuture<'_, Result<(Advance, i64), DbErr>>;

    /// Up to `limit` events after `position`, in order, and what stands at `position`.
    fn page(&self, position: i64, limit: u32) -> BoxFuture<'_, Result<Page, DbErr>>;

    /// The oldest position that is kept.
    fn oldest(&self) -> BoxFuture<'_, Result<Option<i64>, DbErr>>;
}
