//! A Redis of the run's own: on a loopback port, keeping nothing on disk.

use std::{net::SocketAddrV4, path::Path, time::Duration};

use anyhow::{Context as _, Result};

use crate::process::{Process, Program, free_address};

/// A running server; its end is the end of this value.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    address: SocketAddrV4,
}

impl Redis {
    /// Starts one on these cores, as `taskset` has them; what it says goes below `home`.
    pub fn start(cores: &str, home: &Path) -> Result<Self> {
        let address = free_address()?;
        let arguments = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", "/", "--port"];
        let program = arguments.into_iter().fold(Program::new("redis-server").on(cores), Program::argument);
        let program = program.argument(address.port().to_string());
        let process = Process::start(&program, address, &home.join("redis.log"))
            .context("no Redis (redis-server): `scripts/prepare-tests` says how to install it")?;
        Ok(Self { process, address })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// CPU time of its process.
    pub fn cpu(&self) -> Result<Duration> {
        self.process.cpu()
    }
}
