//! Several lancewires on one PostgreSQL, with what connects them.
//!
//! All of them may use every core: there are more servers than cores, and which one waits for which is what a scenario
//! wants to see. So the figures of these scenarios are not those of a core each.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Result;

use crate::{
    lancewire::{Lancewire, Settings, serving},
    options::{Bus, Database, Options},
    postgres::Postgres,
    process::{Process, all_cores},
    redis::Redis,
};

/// Nodes with a PostgreSQL, and a Redis if that is their bus, of their own.
pub struct Cluster {
    // A field is dropped after those before it: what others need goes last.
    nodes: Vec<Lancewire>,
    redis: Option<Redis>,
    postgres: Postgres,
    settings: Settings,
    options: Options,
    home: PathBuf,
}

impl Cluster {
    /// Starts the first node of a cluster, with the demo people in its database; its data is below `home`.
    pub fn start(bus: Bus, settings: &Settings, options: &Options, home: PathBuf) -> Result<Self> {
        let cores = all_cores();
        let postgres = Postgres::start(&cores)?;
        let redis = (bus == Bus::Redis).then(|| Redis::start(&cores, &home)).transpose()?;
        let mut settings = settings.clone().on_cores(&cores);
        settings = settings.set("LANCEWIRE_BUS__KIND", bus.name());
        settings = settings.set("LANCEWIRE_AUTH__KEYS_DIR", home.join("keys").display());
        if let Some(redis) = &redis {
            settings = settings.set("LANCEWIRE_BUS__REDIS_URL", redis.url());
        }
        let mut cluster = Self { nodes: Vec::new(), redis, postgres, settings, options: options.clone(), home };
        cluster.join()?;
        Ok(cluster)
    }

    /// The settings of a run's nodes.
    pub fn settings() -> Settings {
        Settings::on(Database::Postgres)
    }

    /// Starts one more node.
    pub fn join(&mut self) -> Result<()> {
        let home = self.home.join(format!("node-{}", self.nodes.len()));
        fs::create_dir(&home)?;
        self.nodes.push(Lancewire::start_on(&self.options, &self.settings, &self.postgres.url(), None, &home)?);
        Ok(())
    }

    /// A node by its number.
    pub fn node(&mut self, number: usize) -> &mut Lancewire {
        &mut self.nodes[number]
    }

    /// Starts a node that has ended again, at the same address.
    pub fn start_again(&mut self, number: usize) -> Result<()> {
        let address = self.nodes[number].process.address;
        let home = self.home.join(format!("node-{number}"));
        let program = self.settings.program(&self.options, &self.postgres.url(), &home);
        let process = Process::start(&serving(program, address), address, &home.join("lancewire.log"))?;
        self.nodes[number] = Lancewire::of(process)?;
        Ok(())
    }

    /// The database, for what no use case can ask.
    pub fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// CPU time so far: of each node, of PostgreSQL, and of Redis, if there is one.
    pub fn cpu(&self) -> Result<Vec<Duration>> {
        let nodes = self.nodes.iter().map(|node| node.process.cpu());
        let redis = self.redis.iter().map(Redis::cpu);
        nodes.chain([self.postgres.cpu()]).chain(redis).collect()
    }
}
