//! Puts what the web build has left into the binary: a table of the compressed files of `web/graphiql/dist`, which
//! `scripts/build-web` fills. Without that folder the table is empty, and the server says how to get the playground.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
};

const DIST: &str = "web/graphiql/dist";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dist = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join(DIST);
    // Cargo runs this again, and builds all anew, each time that what it is to look at is missing. Where it cannot be
    // made, such as in a read-only source tree, that is the price.
    let _ = fs::create_dir_all(&dist);
    println!("cargo::rerun-if-changed={DIST}");

    let page = dist.join("index.html");
    let mut names = Vec::new();
    // The page is written last: without it the build was cut off, or never begun.
    if page.is_file() {
        for entry in fs::read_dir(&dist)? {
            let name = entry?.file_name().into_string().map_err(|name| format!("{name:?} is no file of a build"))?;
            names.extend(name.strip_suffix(".gz").map(ToOwned::to_owned));
        }
    }
    names.sort();

    let mut table = fs::File::create(Path::new(&env::var("OUT_DIR")?).join("assets.rs"))?;
    if page.is_file() {
        writeln!(table, "const PAGE: Option<&str> = Some(include_str!({page:?}));")?;
    } else {
        writeln!(table, "const PAGE: Option<&str> = None;")?;
    }
    writeln!(table, "const FILES: &[File] = &[")?;
    for name in names {
        let (br, gz) = (dist.join(format!("{name}.br")), dist.join(format!("{name}.gz")));
        writeln!(table, "    File {{ name: {name:?}, br: include_bytes!({br:?}), gz: include_bytes!({gz:?}) }},")?;
    }
    writeln!(table, "];")?;
    Ok(())
}
