//! Search: what somebody types, and the texts that it finds.
//!
//! Owns the one way in which texts become tokens (`analysis`) and in which a query is read and matched (`query`). Both are
//! pure, so that whatever matches texts says the same.

pub mod analysis;
pub mod query;
