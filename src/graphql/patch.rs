//! Patches: what is left out stays, what is null is cleared or refused.

use async_graphql::MaybeUndefined;

use crate::error::Invalid;

/// A patch's field that may be left out but not be null.
pub fn not_null<T>(field: &str, value: MaybeUndefined<T>) -> Result<Option<T>, Invalid> {
    match value {
        MaybeUndefined::Undefined => Ok(None),
        MaybeUndefined::Null => Err(Invalid::value(field, "must not be null; leave it out to keep it")),
        MaybeUndefined::Value(value) => Ok(Some(value)),
    }
}

/// A patch's field that null clears.
pub fn clearable<T>(value: MaybeUndefined<T>) -> Option<Option<T>> {
    match value {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(None),
        MaybeUndefined::Value(value) => Some(Some(value)),
    }
}
