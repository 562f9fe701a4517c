//! Values by their types: what a client sends for a variable, before anything runs (spec 6.1.2).
//!
//! Owns the coercion of one value: a number for an `ID` becomes its digits, `1.0` for an `Int` becomes 1, a single value
//! for a list becomes a list of one, and a custom scalar is parsed. What an input object leaves out stays out: the
//! resolver's own type fills in the schema's default. Called by [`super::prepared`] for variables and by
//! [`super::convert`] for defaults and literals.
//!
//! Own code: bluejay 0.5 checks variables but does not give them back coerced, and knows no parsers of custom scalars.
//! Linear in the value. Messages name the place, and what was sent there only where it is the name of an enum's value: it
//! may be a password.

use std::fmt::Write as _;

use async_graphql::{Name, Value, indexmap::IndexMap};

use super::{
    inputs::{InputField, InputType, Inputs, TypeRef},
    suggest::suggestion,
};

/// Mistakes that are reported of one value.
const MOST: usize = 50;

/// The coerced value, or what is wrong with it. `subject` begins each message: `Variable "$name` or alike, without the
/// closing quotation mark.
pub(super) fn coerce(inputs: &Inputs, subject: &str, value: Value, of: &TypeRef) -> Result<Value, Vec<String>> {
    let mut coercion = Coercion { inputs, subject, place: Vec::new(), mistakes: Vec::new() };
    let value = coercion.value(value, of);
    if coercion.mistakes.is_empty() { Ok(value) } else { Err(coercion.mistakes) }
}

/// A step from a value into it.
enum Step<'a> {
    Field(&'a str),
    Item(usize),
}

struct Coercion<'a> {
    inputs: &'a Inputs,
    subject: &'a str,
    place: Vec<Step<'a>>,
    mistakes: Vec<String>,
}

impl<'a> Coercion<'a> {
    fn value(&mut self, value: Value, of: &'a TypeRef) -> Value {
        if matches!(value, Value::Null) {
            if !of.nullable() {
                let declared = self.inputs.text(of);
                self.mistake(&format!("of non-null type \"{declared}\" must not be null."));
            }
            return value;
        }
        match of {
            TypeRef::Named { number, .. } => self.named(value, self.inputs.get(*number)),
            TypeRef::List { item, .. } => {
                // A single value stands for a list of one (spec 3.12).
                let Value::List(items) = value else { return Value::List(vec![self.value(value, item)]) };
                let coerced = items.into_iter().enumerate().map(|(index, value)| {
                    self.place.push(Step::Item(index));
                    let value = self.value(value, item);
                    self.place.pop();
                    value
                });
                Value::List(coerced.collect())
            }
        }
    }

    fn named(&mut self, value: Value, of: &'a InputType) -> Value {
        match (of, value) {
            (InputType::Int, Value::Number(number)) => {
                if let Some(whole) = whole(&number).and_then(|whole| i32::try_from(whole).ok()) {
                    return Value::from(whole);
                }
                let found =
                    if whole(&number).is_some() { "a number out of its range" } else { "a number with a fraction" };
                self.mistake(&format!("must be of type \"Int\", but is {found}."));
                Value::Null
            }
            (InputType::Id, Value::Number(number)) => match whole(&number) {
                Some(whole) => Value::String(whole.to_string()),
                None => self.misfit("ID", "a number with a fraction or out of range"),
            },
            (InputType::Float, value @ Value::Number(_))
            | (InputType::String | InputType::Id, value @ Value::String(_))
            | (InputType::Boolean, value @ Value::Boolean(_)) => value,
            (InputType::Enum { name, values }, Value::String(sent)) => {
                self.known(&sent, name, values);
                Value::String(sent)
            }
            (InputType::Enum { name, values }, Value::Enum(sent)) => {
                self.known(&sent, name, values);
                Value::Enum(sent)
            }
            (InputType::Object { name, fields, one_of }, Value::Object(sent)) => {
                self.object(sent, name, fields, *one_of)
            }
            (InputType::Scalar { parse, .. }, value) => {
                if let Some(Err(message)) = parse.map(|parse| parse(value.clone())) {
                    self.mistake(&format!("cannot be used: {message}."));
                }
                value
            }
            (of, value) => self.misfit(of.name(), kind(&value)),
        }
    }

    fn object(
        &mut self,
        mut sent: IndexMap<Name, Value>,
        name: &'a str,
        fields: &'a [InputField],
        one_of: bool,
    ) -> Value {
        let mut known = 0;
        for field in fields {
            match sent.get_mut(field.name.as_str()) {
                Some(value) => {
                    known += 1;
                    self.place.push(Step::Field(&field.name));
                    let coerced = self.value(std::mem::take(value), &field.of);
                    self.place.pop();
                    *value = coerced;
                }
                None if field.optional => {}
                None => {
                    let declared = self.inputs.text(&field.of);
                    let message = format!("lacks the field \"{}\" of required type \"{declared}\".", field.name);
                    self.mistake(&message);
                }
            }
        }
        if known < sent.len() {
            for unknown in sent.keys().filter(|key| !fields.iter().any(|field| field.name == **key)) {
                let near = suggestion(unknown, fields.iter().map(|field| field.name.as_str()));
                let message = format!("has a field \"{}\" that \"{name}\" does not know.{near}", short(unknown));
                self.mistake(&message);
            }
        }
        if one_of && (sent.len() != 1 || sent.values().any(|value| matches!(value, Value::Null))) {
            self.mistake(&format!("must have exactly one field of \"{name}\", and that must not be null."));
        }
        Value::Object(sent)
    }

    fn known(&mut self, sent: &str, name: &str, values: &[String]) {
        if !values.iter().any(|value| value == sent) {
            let near = suggestion(sent, values.iter().map(String::as_str));
            self.mistake(&format!("must be a value of the enum \"{name}\", and \"{}\" is none.{near}", short(sent)));
        }
    }

    fn misfit(&mut self, expected: &str, found: &str) -> Value {
        self.mistake(&format!("must be of type \"{expected}\", but is {found}."));
        Value::Null
    }

    fn mistake(&mut self, what: &str) {
        if self.mistakes.len() == MOST {
            return;
        }
        let mut message = self.subject.to_owned();
        for step in &self.place {
            // Writing to a string does not fail.
            let _ = match step {
                Step::Field(name) => write!(message, ".{name}"),
                Step::Item(index) => write!(message, ".{index}"),
            };
        }
        message.push_str("\" ");
        message.push_str(what);
        self.mistakes.push(message);
    }
}

/// A number without a fraction, however it is written: `1.0` and `1e3` are whole (JSON knows one kind of number).
fn whole(number: &async_graphql::Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let float = number.as_f64()?;
        // Beyond this, neighbouring whole numbers are one and the same float.
        let exact = float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0;
        #[expect(clippy::cast_possible_truncation, reason = "whole and within the range, as was checked")]
        exact.then_some(float as i64)
    })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Boolean(_) => "a boolean",
        Value::Binary(_) => "something else",
        Value::Enum(_) => "a name",
        Value::List(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// As much of a name as a message shows.
fn short(name: &str) -> String {
    name.chars().take(64).collect()
}
