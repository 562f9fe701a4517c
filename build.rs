//! Puts what the server shows to people into the binary: the compressed files of `web/graphiql/dist`, which
//! `scripts/build-web` fills, and the documentation. Without the web build that table is empty, and the server says how
//! to get the playground.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
};

const DIST: &str = "web/graphiql/dist";
const README: &str = "README.md";
const DOCS: &str = "docs";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    embed_playground(&root.join(DIST), &out.join("assets.rs"))?;
    embed_docs(&root, &out.join("docs.rs"))
}

fn embed_playground(dist: &Path, table: &Path) -> Result<(), Box<dyn std::error::Error>> {
    // Cargo runs this again, and builds all anew, each time that what it is to look at is missing. Where it cannot be
    // made, such as in a read-only source tree, that is the price.
    let _ = fs::create_dir_all(dist);
    println!("cargo::rerun-if-changed={DIST}");

    let page = dist.join("index.html");
    let mut names = Vec::new();
    // The page is written last: without it the build was cut off, or never begun.
    if page.is_file() {
        for entry in fs::read_dir(dist)? {
            let name = entry?.file_name().into_string().map_err(|_| "a name that is not UTF-8")?;
            names.extend(name.strip_suffix(".gz").map(ToOwned::to_owned));
        }
    }
    names.sort();

    let mut table = fs::File::create(table)?;
    if page.is_file() {
        writeln!(table, "const PAGE: Option<&str> = Some(include_str!({}));", literal(&page)?)?;
    } else {
        writeln!(table, "const PAGE: Option<&str> = None;")?;
    }
    writeln!(table, "const FILES: &[File] = &[")?;
    for name in names {
        let [br, gz] = ["br", "gz"].map(|coding| literal(&dist.join(format!("{name}.{coding}"))));
        writeln!(table, "    File {{ name: {name:?}, br: include_bytes!({}), gz: include_bytes!({}) }},", br?, gz?)?;
    }
    writeln!(table, "];")?;
    Ok(())
}

/// The README first, then the rest by name. What is missing is left out: images are built in steps.
fn embed_docs(root: &Path, table: &Path) -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed={README}");
    println!("cargo::rerun-if-changed={DOCS}");
    let mut paths = Vec::new();
    if let Ok(entries) = fs::read_dir(root.join(DOCS)) {
        paths.extend(entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?);
    }
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    paths.sort();
    paths.splice(0..0, Some(root.join(README)).filter(|path| path.is_file()));

    let mut table = fs::File::create(table)?;
    writeln!(table, "const DOCS: &[(&str, &str)] = &[")?;
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or("a name in UTF-8")?;
        writeln!(table, "    ({name:?}, include_str!({})),", literal(&path)?)?;
    }
    writeln!(table, "];")?;
    Ok(())
}

/// A path as Rust writes a string.
fn literal(path: &Path) -> Result<String, &'static str> {
    path.to_str().map(|path| format!("{path:?}")).ok_or("a path that is not UTF-8")
}
