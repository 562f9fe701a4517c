//! The GraphQL kit: what every part of the API is built with. It knows no domain.
//!
//! - [`language`] and [`limits`]: reads an operation, coerces its variables and weighs it before anything runs
//! - [`prices`] and [`returned`]: what a field costs, and what an operation cost in the end
//! - [`context`]: what a resolver may ask for
//! - [`errors`], [`classify`], [`nulls`]: what a failure looks like outside
//! - [`user_errors`], [`patch`]: failures and inputs that are data
//! - [`scalars`], [`connections`], [`loader`]: shapes

pub mod classify;
pub mod connections;
pub mod context;
pub mod errors;
pub mod language;
pub mod limits;
pub mod loader;
pub mod nulls;
pub mod patch;
pub mod prices;
pub mod returned;
pub mod scalars;
pub mod user_errors;
