//! Search: what somebody types, and the texts that it finds.
//!
//! Owns the one way in which texts become tokens (`analysis`), in which a query is read and matched (`query`),
//! and by which a text finds the queries that it may answer (`live`). All are pure, so that whatever matches texts says the same.

pub mod analysis;
pub mod live;
pub mod query;
