//! Who sees what, who may do what, and who is notified: every cell of the tables "Who may do what" and "Who receives
//! each event".
//!
//! Nothing here lists paths by hand. [`schema`] reads the API's own description and writes the queries from it;
//! [`policy`] says in the words of the table what each viewer should find, without knowledge of the server's code; a
//! [`judge`] compares. A type, field, mutation or event that is added to the API and not to the policy fails.

#![expect(clippy::missing_panics_doc, reason = "to panic is how a test says no")]

pub mod cast;
pub mod deeds;
pub mod judge;
pub mod policy;
pub mod schema;

mod events;
mod filters;
mod hidden;
mod lost_rights;
mod matrix;
mod refusals;
mod roles;
mod streams;
