//! The values of variables as a client sent them: kept as text until it is known which of them the operation declares.
//!
//! A tree of values takes up to 45 times the text that it was sent as (`[[0,0,..],..]`). So a request has one only from
//! the moment at which its operation is chosen, of what that declares alone; the rest is skipped by the reader and never
//! becomes a value. What lives longer than a request keeps its values in this form, too
//! ([`Prepared::for_events`](super::Prepared::for_events)).

use std::fmt;

use async_graphql::{Name, Value, Variables};
use serde::{
    Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use serde_json::Map;

/// A JSON object of variables, or none. Clones copy the text.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SentVariables(Option<Box<str>>);

impl SentVariables {
    /// The values of this object.
    pub fn new(values: &Map<String, serde_json::Value>) -> Self {
        // Values that are in memory as JSON can be written as JSON.
        let text = (!values.is_empty()).then(|| serde_json::to_string(values).ok()).flatten();
        Self(text.map(String::into_boxed_str))
    }

    /// Those of these values whose names are `kept`.
    pub(super) fn of(values: &Variables, kept: impl Fn(&str) -> bool) -> Self {
        let kept = values
            .iter()
            .filter(|(name, _)| kept(name))
            .filter_map(|(name, value)| Some((name.to_string(), value.clone().into_json().ok()?)));
        Self::new(&kept.collect())
    }

    /// How many bytes it takes.
    pub fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |text| text.len())
    }

    /// The values whose names are `wanted`, the last one of each.
    pub(super) fn read(&self, wanted: impl Fn(&str) -> bool) -> Variables {
        let Some(text) = &self.0 else { return Variables::default() };
        // We wrote it ourselves.
        serde_json::Deserializer::from_str(text).deserialize_map(Reading(wanted)).unwrap_or_default()
    }
}

/// Shows nothing of the values, which may be secret.
impl fmt::Debug for SentVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentVariables").field("bytes", &self.bytes()).finish()
    }
}

/// Reads an object and skips what is not wanted.
struct Reading<F>(F);

impl<'de, F: Fn(&str) -> bool> Visitor<'de> for Reading<F> {
    type Value = Variables;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Variables, A::Error> {
        let mut values = Variables::default();
        while let Some(name) = object.next_key_seed(Key)? {
            if (self.0)(&name) {
                values.insert(Name::new(name), object.next_value::<Value>()?);
            } else {
                object.next_value::<IgnoredAny>()?;
            }
        }
        Ok(values)
    }
}

/// A name, in place where it needs no unescaping.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = std::borrow::Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = std::borrow::Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(name.into())
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(name.to_owned().into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sent(values: serde_json::Value) -> SentVariables {
        let serde_json::Value::Object(values) = values else { panic!("an object") };
        SentVariables::new(&values)
    }

    #[test]
    fn what_is_not_wanted_never_becomes_a_value() {
        let many = vec![vec![0; 100]; 100];
        let sent = sent(json!({ "a": { "b": [1, "x", null, true, 1.5] }, "many": many, "d\"": "é\n" }));
        let read = sent.read(|name| name != "many");
        assert_eq!(
            serde_json::to_value(&read).expect("JSON"),
            json!({ "a": { "b": [1, "x", null, true, 1.5] }, "d\"": "é\n" })
        );
        assert!((20_000..21_000).contains(&sent.bytes()), "as many as were sent: {}", sent.bytes());
        assert!(!format!("{sent:?}").contains('x'));
        assert_eq!(SentVariables::of(&read, |name| name == "d\"").bytes(), r#"{"d\"":"é\n"}"#.len());
        assert_eq!(SentVariables::new(&Map::new()), SentVariables::default());
        assert!(SentVariables::default().read(|_| true).is_empty());
    }
}
