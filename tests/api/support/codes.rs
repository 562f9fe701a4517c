//! Error codes: those that the code knows, those that `docs/api.md` lists, and that nothing else is ever sent.

use std::{collections::BTreeSet, sync::LazyLock};

use serde_json::Value;

const SOURCE: &str = include_str!("../../../src/graphql/errors.rs");
const API: &str = include_str!("../../../docs/api.md");

/// The codes of `ErrorCode`, read from the one place where it names them.
pub static KNOWN: LazyLock<BTreeSet<&'static str>> = LazyLock::new(|| {
    let named = SOURCE.split("=> \"").skip(1).filter_map(|rest| rest.split_once('"'));
    named.map(|(code, _)| code).filter(|code| is_code(code)).collect()
});

/// The codes that `docs/api.md` lists.
pub fn listed() -> BTreeSet<&'static str> {
    let section = API.split_once("`extensions.code` from this list:").expect("the list").1;
    let section = section.split_once("\n\nWriting to").expect("its end").0;
    section.split('`').skip(1).step_by(2).filter(|code| is_code(code)).collect()
}

fn is_code(text: &str) -> bool {
    text.len() > 3 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

/// Fails if an error in this answer or message has no code, or one that no list names.
pub fn check(answer: &Value) {
    let payload = &answer["payload"];
    for errors in [&answer["errors"], &payload["errors"], payload] {
        for error in errors.as_array().into_iter().flatten() {
            let code = error.pointer("/extensions/code").and_then(Value::as_str);
            assert!(code.is_some_and(|code| KNOWN.contains(code)), "a code that no list names: {error:#}");
        }
    }
}
