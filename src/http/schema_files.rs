//! The schema as files: for code generators, and for caches that must know the possible types.
//!
//! Owns `/schema.graphql` and the paths below `/schema/`. The content is made from the code once and named by its hash;
//! a client that has it is answered with 304.

use std::sync::LazyLock;

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::schema;

/// How long a copy need not be asked about again. Short: a deploy may bring another schema.
const FRESH: &str = "public, max-age=60";

/// One file.
struct File {
    content_type: &'static str,
    content: Bytes,
    etag: String,
}

static SDL: LazyLock<File> =
    LazyLock::new(|| File::new("application/graphql; charset=utf-8", schema::sdl().to_owned()));
static INTROSPECTION: LazyLock<File> = LazyLock::new(|| File::json(schema::introspection()));
static GRAPHCACHE: LazyLock<File> = LazyLock::new(|| File::json(&schema::graphcache()));
static POSSIBLE_TYPES: LazyLock<File> = LazyLock::new(|| File::json(&schema::possible_types()));

/// The routes of all of them.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/schema.graphql", get(|headers: HeaderMap| async move { SDL.respond(&headers) }))
        .route("/schema/introspection.json", get(|headers: HeaderMap| async move { INTROSPECTION.respond(&headers) }))
        .route("/schema/graphcache.json", get(|headers: HeaderMap| async move { GRAPHCACHE.respond(&headers) }))
        .route("/schema/possible-types.json", get(|headers: HeaderMap| async move { POSSIBLE_TYPES.respond(&headers) }))
}

impl File {
    fn new(content_type: &'static str, content: String) -> Self {
        let etag = format!("\"{}\"", BASE64_URL_SAFE_NO_PAD.encode(&Sha256::digest(&content)[..16]));
        Self { content_type, content: content.into(), etag }
    }

    fn json(value: &serde_json::Value) -> Self {
        Self::new("application/json; charset=utf-8", value.to_string())
    }

    fn respond(&self, headers: &HeaderMap) -> Response {
        let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let mut known = known.flat_map(|value| value.split(',')).map(str::trim);
        let is_this = |tag: &str| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.etag;
        let mut response = if known.any(is_this) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(header::CONTENT_TYPE, self.content_type)], self.content.clone()).into_response()
        };
        // It is made of letters and digits.
        if let Ok(etag) = HeaderValue::from_str(&self.etag) {
            response.headers_mut().insert(header::ETAG, etag);
        }
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(FRESH));
        response
    }
}
