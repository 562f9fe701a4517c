//! The files of the playground, embedded in the binary as the web build left them: compressed.
//!
//! Owns their addresses, `/assets/graphiql/<name>`, and how they are sent. Each name holds a hash of its content, so a
//! file never changes and is cached for good. `build.rs` makes the table; without the web build it is empty.
//!
//! A client that takes neither Brotli nor gzip gets the file unpacked. That is done once per file and kept, so that
//! asking for it again and again costs nothing.

use std::{
    collections::HashMap,
    sync::{LazyLock, OnceLock},
};

use axum::{
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::pages;

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// How long a browser may keep a file: for good, since its name changes with its content.
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// What a worker that is made of one of these files may do: run code of ours, and nothing else.
const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; script-src 'self'");

/// The size of a gzip header without optional fields, which is what the web build writes, and of its trailer.
const GZIP_HEADER: usize = 10;
const GZIP_TRAILER: usize = 8;

/// One file, as it is embedded.
struct File {
    name: &'static str,
    br: &'static [u8],
    gz: &'static [u8],
}

/// A file, and the same unpacked once somebody has asked for that.
struct Asset {
    file: &'static File,
    plain: OnceLock<Option<Vec<u8>>>,
}

static ASSETS: LazyLock<HashMap<&'static str, Asset>> =
    LazyLock::new(|| FILES.iter().map(|file| (file.name, Asset { file, plain: OnceLock::new() })).collect());

/// The page of the playground, if the web was built before the binary was.
pub const fn playground() -> Option<&'static str> {
    PAGE
}

/// How a file is packed on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Brotli,
    Gzip,
    Identity,
}

/// `/assets/graphiql/{name}`
pub async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some(asset) = ASSETS.get(name.as_str()) else { return pages::not_found().await };
    let Some(coding) = coding(&headers) else {
        let words = "This file can be had with Accept-Encoding br, gzip or identity.\n";
        return (StatusCode::NOT_ACCEPTABLE, words).into_response();
    };
    let (body, coded): (&'static [u8], _) = match coding {
        Coding::Brotli => (asset.file.br, Some("br")),
        Coding::Gzip => (asset.file.gz, Some("gzip")),
        Coding::Identity => match asset.plain.get_or_init(|| unpacked(asset.file.gz)) {
            Some(plain) => (plain.as_slice(), None),
            None => return pages::not_found().await,
        },
    };
    // One for each form of it (RFC 9110, section 8.8.3.3).
    let tag = format!("\"{name}-{:x}-{}\"", asset.file.gz.len(), coded.unwrap_or("plain"));
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let fresh = known
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.trim_start_matches("W/") == tag);
    let mut response = if fresh { StatusCode::NOT_MODIFIED.into_response() } else { body.into_response() };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(&name)));
    headers.insert(header::CACHE_CONTROL, CACHE);
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    if let Some(coded) = coded.filter(|_| !fresh) {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coded));
    }
    response
}

/// The best coding that the client accepts (RFC 9110, section 12.5.3): the smallest of those that it likes best.
///
/// A client that says nothing is given the file unpacked: by the letter it would accept anything, but it is a tool that
/// prints what it gets.
fn coding(headers: &HeaderMap) -> Option<Coding> {
    let offers = [("br", Coding::Brotli), ("gzip", Coding::Gzip), ("identity", Coding::Identity)];
    let lines = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let ranges: Vec<(String, u16)> = lines.flat_map(|line| line.split(',')).filter_map(range).collect();
    let quality = |name: &str| ranges.iter().find(|(range, _)| range == name).map(|(_, quality)| *quality);
    let mut best = None;
    for (name, coding) in offers {
        let quality = quality(name).or_else(|| quality("*"));
        // Unless it is ruled out, unpacked is always accepted, as the last resort.
        let quality = quality.unwrap_or(u16::from(coding == Coding::Identity));
        if quality > best.map_or(0, |(highest, _)| highest) {
            best = Some((quality, coding));
        }
    }
    best.map(|(_, coding)| coding)
}

/// `gzip;q=0.5` is gzip with 500 thousandths. `x-gzip` is another name of it.
fn range(element: &str) -> Option<(String, u16)> {
    let mut parts = element.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?.to_ascii_lowercase();
    let name = if name == "x-gzip" { "gzip".to_owned() } else { name };
    let mut quality = 1_000;
    for part in parts {
        let (key, value) = part.split_once('=')?;
        if key.trim().eq_ignore_ascii_case("q") {
            let value: f32 = value.trim().parse().ok().filter(|value| (0.0..=1.0).contains(value))?;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
            {
                quality = (value * 1_000.0) as u16;
            }
        }
    }
    Some((name, quality))
}

fn unpacked(gz: &[u8]) -> Option<Vec<u8>> {
    let packed = gz.get(GZIP_HEADER..gz.len().checked_sub(GZIP_TRAILER)?)?;
    miniz_oxide::inflate::decompress_to_vec(packed).ok()
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("ttf") => "font/ttf",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))])
    }

    #[test]
    fn the_smallest_form_that_is_liked_best_is_sent() {
        for (value, expected) in [
            ("gzip, deflate, br, zstd", Some(Coding::Brotli)),
            ("gzip, deflate", Some(Coding::Gzip)),
            ("x-gzip", Some(Coding::Gzip)),
            ("GZIP;q=1.0, br;q=0.5", Some(Coding::Gzip)),
            ("br;q=0, gzip;q=.8", Some(Coding::Gzip)),
            ("*", Some(Coding::Brotli)),
            ("*;q=0.1, br;q=0", Some(Coding::Gzip)),
            ("identity", Some(Coding::Identity)),
            ("deflate", Some(Coding::Identity)),
            ("", Some(Coding::Identity)),
            ("identity;q=0", None),
            ("*;q=0", None),
            ("deflate, identity;q=0, *;q=0", None),
        ] {
            assert_eq!(coding(&accepts(value)), expected, "{value:?}");
        }
        assert_eq!(coding(&HeaderMap::new()), Some(Coding::Identity));
    }

    #[test]
    fn each_file_can_be_unpacked() {
        for file in FILES {
            let plain = unpacked(file.gz).unwrap_or_else(|| panic!("{} is no gzip of ours", file.name));
            let size = file.gz.last_chunk().map(|size| u32::from_le_bytes(*size));
            assert_eq!(u32::try_from(plain.len()).ok(), size, "{}", file.name);
        }
        assert_eq!(unpacked(b"short"), None);
    }
}
