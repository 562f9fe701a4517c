//! Measures lancewire beside its peers. `bench/run` builds everything and starts this; bench/README.md says what the
//! figures mean.
//!
//! - [`scenarios`]: what is measured
//! - [`servers`], [`lancewire`], [`cluster`], [`postgres`], [`redis`], [`process`]: what it is measured on
//! - [`load`]: the generator
//! - [`report`]: what comes out

mod api;
mod cluster;
mod lancewire;
mod load;
mod options;
mod postgres;
mod process;
mod redis;
mod report;
mod scenarios;
mod servers;

use std::{env, path::PathBuf};

use anyhow::{Context as _, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{options::Options, scenarios::Bench};

/// Files a process may have open: two ends of 10,000 sockets are in two processes, so this is plenty.
const FILES: u64 = 65_536;

fn main() -> Result<()> {
    let options = Options::read()?;
    let home = PathBuf::from(env::var_os("LANCEWIRE_BENCH_DATA").context("start me by bench/run")?);
    raise_file_limit()?;
    let mut bench = Bench::new(options, home);
    bench.report.add(&report::preamble(&bench.options));
    for scenario in bench.options.only.clone() {
        let outcome = match scenario.as_str() {
            "fanout" => scenarios::fanout::run(&mut bench),
            "ceiling" => scenarios::ceiling::run(&mut bench),
            "idle" => scenarios::idle::run(&mut bench),
            "private" => scenarios::private::run(&mut bench),
            "filters" => scenarios::filters::run(&mut bench),
            "reconnect" => scenarios::reconnect::run(&mut bench),
            "mutations" => scenarios::mutations::run(&mut bench),
            "list" => scenarios::list::run(&mut bench),
            "lives" => scenarios::money::lives(&mut bench),
            "contention" => scenarios::money::contention(&mut bench),
            "growth" => scenarios::growth::run(&mut bench),
            "cluster-latency" => scenarios::cluster::latency::run(&mut bench),
            "cluster-mutations" => scenarios::cluster::mutations::run(&mut bench),
            "cluster-storm" => scenarios::cluster::storm::run(&mut bench),
            "cluster-rolling" => scenarios::cluster::rolling::run(&mut bench),
            "cluster-revocation" => scenarios::cluster::revocation::run(&mut bench),
            "cluster-model" => scenarios::cluster::model::run(&mut bench),
            other => anyhow::bail!("no scenario {other}"),
        };
        // What has been found is worth keeping.
        bench.report.write(&bench.options)?;
        outcome.with_context(|| format!("scenario {scenario}"))?;
    }
    Ok(())
}

/// Children inherit the limit.
fn raise_file_limit() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: Some(FILES), maximum: Some(limit.maximum.unwrap_or(FILES).max(FILES)) };
    let allowed = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, wanted)
        .or_else(|_| setrlimit(Resource::Nofile, allowed))
        .context("the limit of open files")
}
