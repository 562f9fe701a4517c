//! Entry points for the fuzz targets in `fuzz/`, and the test that keeps their seeds passing.
//!
//! Each takes the bytes of a stranger and panics where the code under it breaks a promise. Built for tests and with the
//! feature `fuzzing` alone. Called by `fuzz/fuzz_targets` and by the tests below.

use std::sync::LazyLock;

use crate::{
    graphql::{
        language::{Documents, SentVariables},
        limits::Limits,
    },
    http::{client_address, websocket},
    schema,
};

/// What a client sends over a socket, frame by frame.
///
/// # Panics
///
/// When a limit of the frame reader does not hold.
pub fn frames(bytes: &[u8]) {
    websocket::fuzz_frames(bytes);
}

/// What a client sends as a document: scanned, parsed, validated, unfolded, priced.
///
/// # Panics
///
/// When an accepted document is over a limit, a second reading differs, or a refusal has no reason or no code.
pub fn document(bytes: &[u8]) {
    static DOCUMENTS: LazyLock<Documents> =
        LazyLock::new(|| Documents::new(schema::language().expect("the schema is sound")));
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let limits = Limits::default();
    let prepare = || DOCUMENTS.prepare(text, None, &SentVariables::default(), &limits, schema::SINGLE_MUTATIONS);
    match (prepare(), prepare()) {
        (Ok(first), Ok(second)) => {
            assert!((1..=limits.cost).contains(&first.cost), "it costs {}", first.cost);
            assert!(first.fields <= limits.fields, "it has {} fields", first.fields);
            assert_eq!((first.cost, &first.root_fields), (second.cost, &second.root_fields));
            drop((first.request(), first.for_events().request()));
        }
        (Err(first), Err(second)) => {
            assert!(!first.is_empty(), "a refusal has a reason");
            for error in &first {
                let code = error.extensions.as_ref().and_then(|extensions| extensions.get("code"));
                assert!(code.is_some(), "a refusal has a code: {error:?}");
            }
            assert_eq!(first, second);
        }
        (first, second) => panic!("accepted once and refused once: {first:?}, {second:?}"),
    }
}

/// What a client and the proxies in front write into `X-Forwarded-For` or `Forwarded`.
///
/// # Panics
///
/// When a stranger is believed.
pub fn address(bytes: &[u8]) {
    client_address::fuzz(bytes);
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    /// Feeds the seeds of a target, whole and cut off at each byte, as a fuzzer does first.
    fn feed(target: &str, run: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
        let mut count = 0;
        for entry in fs::read_dir(&folder).expect("seeds") {
            let seed = fs::read(entry.expect("an entry").path()).expect("a seed");
            for end in 0..=seed.len() {
                run(&seed[..end]);
            }
            count += 1;
        }
        assert!(count >= 5, "{target} has {count} seeds");
    }

    #[test]
    fn the_seeds_of_frames_pass() {
        feed("frames", super::frames);
    }

    #[test]
    fn the_seeds_of_documents_pass() {
        feed("documents", super::document);
    }

    #[test]
    fn the_seeds_of_addresses_pass() {
        feed("addresses", super::address);
    }
}
