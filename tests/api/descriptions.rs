//! Everything that the API offers says what it is: types, fields, arguments, fields of inputs, values of enums, directives.

use std::collections::BTreeSet;

use lancewire::schema::introspection;
use serde_json::{Value, json};

/// A description of fewer words says no more than a name.
const FEWEST_WORDS: usize = 3;

/// Words that say nothing by themselves.
const EMPTY_WORDS: &[&str] =
    &["the", "a", "an", "of", "this", "that", "its", "is", "in", "for", "to", "it", "and", "or"];

/// The specification's own scalars, of which it says itself what they are.
const BUILT_IN: &[&str] = &["Boolean", "Float", "ID", "Int", "String"];

/// All that is described, by its place: `(place, the names around it, description)`.
fn described() -> Vec<(String, String, String)> {
    fn list<'a>(of: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
        of[field].as_array().into_iter().flatten()
    }
    let mut all = Vec::new();
    let mut note = |place: String, of: &Value| {
        all.push((
            place,
            of["name"].as_str().expect("a name").to_owned(),
            of["description"].as_str().unwrap_or_default().to_owned(),
        ));
    };
    let schema = &introspection()["__schema"];
    for of in list(schema, "types") {
        let name = of["name"].as_str().expect("a name");
        if name.starts_with("__") || BUILT_IN.contains(&name) {
            continue;
        }
        note(name.to_owned(), of);
        for field in list(of, "fields").chain(list(of, "inputFields")).chain(list(of, "enumValues")) {
            let place = format!("{name}.{}", field["name"].as_str().expect("a name"));
            for argument in list(field, "args") {
                note(format!("{place}({})", argument["name"].as_str().expect("a name")), argument);
            }
            note(place, field);
        }
    }
    for directive in list(schema, "directives") {
        let name = format!("@{}", directive["name"].as_str().expect("a name"));
        for argument in list(directive, "args") {
            note(format!("{name}({})", argument["name"].as_str().expect("a name")), argument);
        }
        note(name, directive);
    }
    all
}

/// The words of a text or of a name: `jobUpdated`, `JOB_UPDATED` and "job updated" are the same two.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut last = ' ';
    for letter in text.chars() {
        let begins = letter.is_uppercase() && last.is_lowercase();
        if !letter.is_alphanumeric() || begins {
            words.push(String::new());
        }
        if letter.is_alphanumeric() {
            words.last_mut().expect("a word").extend(letter.to_lowercase());
        }
        last = letter;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// What is wrong with a description, if anything.
fn lacks(place: &str, description: &str) -> Option<&'static str> {
    let said = words(description);
    let named: BTreeSet<_> = words(place).into_iter().collect();
    let says = |word: &&String| !named.contains(*word) && !EMPTY_WORDS.contains(&word.as_str());
    match said.iter().filter(says).count() {
        _ if said.is_empty() => Some("says nothing"),
        _ if said.len() < FEWEST_WORDS => Some("says too little"),
        0 => Some("says its name"),
        _ => None,
    }
}

#[test]
fn everything_in_the_schema_says_what_it_is() {
    let all = described();
    let (arguments, rest): (Vec<_>, Vec<_>) = all.iter().partition(|(place, ..)| place.contains('('));
    assert!(arguments.len() > 80 && rest.len() > 500, "{} and {} are not all of it", arguments.len(), rest.len());
    let silent: Vec<String> =
        all.iter().filter_map(|(place, _, text)| Some(format!("{place} {}: {text:?}", lacks(place, text)?))).collect();
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}

#[test]
fn what_says_nothing_is_found() {
    assert_eq!(lacks("Job.title", ""), Some("says nothing"));
    assert_eq!(lacks("Job.title", "Title."), Some("says too little"));
    assert_eq!(lacks("Job.postedAt", "The job posted at."), Some("says its name"));
    assert_eq!(lacks("Job.title", "One line of 3 to 140 characters."), None);
    assert_eq!(words("jobUpdated(JOB_FILTER)"), ["job", "updated", "job", "filter"]);
}

/// What repeats is told in the same words everywhere.
#[test]
fn paging_is_told_alike() {
    let all = described();
    for argument in ["first", "after", "last", "before"] {
        // Completions are no pages: there are ten at the most.
        let pages = all
            .iter()
            .filter(|(place, name, _)| name == argument && place.contains('(') && !place.contains("searchSuggestions"));
        let said: BTreeSet<_> = pages.map(|all| &all.2).collect();
        assert!((1..=4).contains(&said.len()), "{argument}: {}", json!(said));
    }
}
