//! The `Authorization` of a request, wherever it is one.

use axum::http::{HeaderMap, header::AUTHORIZATION};

pub(super) use crate::auth::authorization::Authorization;

/// Reads those of a request. Of several that say something none is taken.
pub(super) fn of_request(headers: &HeaderMap) -> Authorization<'_> {
    Authorization::of_all(headers.get_all(AUTHORIZATION).iter().map(|value| value.to_str().ok()))
}
