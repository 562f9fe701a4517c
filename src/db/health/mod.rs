//! What is known of the database's health: whether it answers ([`Db::ping`]), whether it can be reached ([`reach`]),
//! whether it takes writes ([`writes`]), and how busy its pools are.

use sea_orm::{ConnectionTrait, DbErr};

use super::{Backend, Db, Pool, Reader};

mod reach;
mod write_probe;

pub(super) use write_probe::Writes;

impl Db {
    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), DbErr> {
        self.reader.query_one_raw(self.statement("SELECT 1", [])).await.map(drop)
    }

    /// Sets the gauges of the pools: connections that are open, and those of them that are in use.
    pub fn report_pools(&self) {
        let report = |name: &'static str, pool: &Pool| {
            let (size, in_use) = pool.usage();
            metrics::gauge!("lancewire_database_connections", "pool" => name).set(size);
            metrics::gauge!("lancewire_database_connections_in_use", "pool" => name).set(in_use);
        };
        report("tail", &self.shared.tail);
        match self.shared.backend {
            Backend::Postgres => report("primary", &self.shared.writer),
            Backend::Sqlite => {
                report("writer", &self.shared.writer);
                if let Reader::Pool(readers) = &*self.reader {
                    report("readers", readers);
                }
            }
        }
    }
}
