//! The schema's history, one module a step, for `SQLite` 3.37 and `PostgreSQL` 15 alike.
//!
//! Every CHECK, UNIQUE and FOREIGN KEY carries a name, since that name is what an error handler and an operator get to
//! see. A step is one transaction: it is there whole or not at all. On `PostgreSQL` two nodes that migrate together
//! queue on an advisory lock, and the second finds nothing left to do.

pub use sea_orm_migration::prelude::*;

mod m20261122_000001_initial;
mod m20261125_000001_commit_marks;

/// All steps, oldest first.
#[derive(Debug)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(m20261122_000001_initial::Migration), Box::new(m20261125_000001_commit_marks::Migration)]
    }
}
