//! "Did you mean": names that are nearly the one that was sent.
//!
//! Called where a name is not known, by [`super::words`] and [`super::coerce`]. The work is bounded: a long name is
//! compared with nothing.

/// The longest name that is compared, in bytes: the names of a schema are shorter.
const LONGEST: usize = 64;
/// How many names are suggested.
const MOST: usize = 5;

/// ` Did you mean "job", "jobs"?`, nearest first; nothing if no name is near.
pub(super) fn suggestion<'a>(sent: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    if sent.len() > LONGEST {
        return String::new();
    }
    let mut near: Vec<(usize, &str)> = known
        .into_iter()
        // What begins so belongs to introspection.
        .filter(|name| !name.starts_with("__"))
        .map(|name| (distance(sent, name), name))
        .filter(|(distance, name)| *distance < (sent.len() / 2).max(name.len() / 2).max(2))
        .collect();
    near.sort_unstable();
    near.truncate(MOST);
    if near.is_empty() {
        return String::new();
    }
    let names: Vec<_> = near.iter().map(|(_, name)| format!("\"{name}\"")).collect();
    format!(" Did you mean {}?", names.join(", "))
}

/// How many letters must be changed, added, taken out or swapped with the next; 1 if only the case of letters differs.
fn distance(one: &str, other: &str) -> usize {
    if one.eq_ignore_ascii_case(other) {
        return usize::from(one != other);
    }
    let (left, right) = (one.as_bytes(), other.as_bytes());
    let mut before_last = vec![0; left.len() + 1];
    let mut last: Vec<usize> = (0..=left.len()).collect();
    for row in 1..=right.len() {
        let mut next = vec![row; left.len() + 1];
        for at in 1..=left.len() {
            let change = last[at - 1] + usize::from(left[at - 1] != right[row - 1]);
            next[at] = change.min(next[at - 1] + 1).min(last[at] + 1);
            let swapped = at > 1 && row > 1 && left[at - 1] == right[row - 2] && left[at - 2] == right[row - 1];
            if swapped {
                next[at] = next[at].min(before_last[at - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, next);
    }
    last[left.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_come_nearest_first() {
        let known = ["job", "jobs", "node", "nodes", "viewer", "__schema"];
        assert_eq!(suggestion("jobz", known), " Did you mean \"job\", \"jobs\"?");
        assert_eq!(suggestion("viewr", known), " Did you mean \"viewer\"?");
        assert_eq!(suggestion("VIEWER", known), " Did you mean \"viewer\"?", "written in another case");
        assert_eq!(suggestion("frist", ["first", "last"]), " Did you mean \"first\"?", "two letters swapped");
        assert_eq!(suggestion("somethingElse", known), "");
        assert_eq!(suggestion("schema", known), "");
        assert_eq!(suggestion(&"j".repeat(100_000), known), "");
    }
}
