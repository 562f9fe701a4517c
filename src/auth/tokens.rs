//! Access tokens: the short-lived proof of who is asking.
//!
//! Owns how they are made and judged: JWTs (RFC 7519) in the profile of RFC 9068, `typ: at+jwt`, signed with `EdDSA`
//! (RFC 8037) and nothing else. Called by the sign-in and refresh use cases, which issue, and by the HTTP and socket
//! boundaries, which verify before any query runs. A good token says that this service issued it to this user in this
//! session and that it has not run out; whether the session has been ended since is the caller's question.
//!
//! What holds for every token accepted here (RFC 8725 lists the attacks):
//!
//! - the algorithm is ours, never the header's wish; the `kid` names a key in the [`Keyring`]; an embedded or linked key
//!   (`jwk`, `jku`, `x5u`) is not looked at, an extension marked critical (`crit`) is refused;
//! - `typ` is `at+jwt`, so that no other JWT signed with these keys passes as one;
//! - `iss`, `aud`, `exp`, `nbf`, `iat`, `sub`, `sid` and `jti` are there, `iss` and `aud` are ours;
//! - no more than [`MAX_BYTES`] are looked at.
//!
//! RFC 9068 also has `client_id`: it is left out, as there are no OAuth clients to tell apart.
//!
//! # Time
//!
//! jsonwebtoken reads the system's clock and has one leeway for everything, so its checks are off and made here with the
//! injected [`Clock`]. `exp` has no leeway: it bounds what a stolen token is worth, and a client that meets the end a
//! second early merely refreshes. `nbf` has [`NOT_BEFORE_LEEWAY`]: a token issued by one machine must work at once on
//! another whose clock runs a little behind, and accepting it early gives nobody anything.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta};
use jsonwebtoken::{Algorithm, Header, Validation, jwk::JwkSet};
use moka::sync::Cache;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::keys::Keyring;
use crate::{
    clock::{Clock, Timestamp},
    ids::{Ids, SessionId, UserId},
};

/// Longer texts are refused unread; ours are around 500 bytes.
pub const MAX_BYTES: usize = 4 * 1024;

/// How far behind the issuer's clock a verifier's may be.
pub const NOT_BEFORE_LEEWAY: TimeDelta = TimeDelta::seconds(5);

/// The media type of a JWT access token (RFC 9068, section 2.1). We alone issue them: no other spelling is accepted.
const TYP: &str = "at+jwt";

/// What access tokens are made with.
#[derive(Clone, Debug)]
pub struct TokenSettings {
    /// Who issues them: this service's public URL.
    pub issuer: String,
    /// Whom they are for.
    pub audience: String,
    /// How long they work; cut to whole seconds.
    pub lifetime: Duration,
}

/// A new token. `Debug` hides the text.
#[derive(Clone)]
pub struct IssuedToken {
    /// What the client sends as its bearer token: a secret.
    pub text: String,
    /// The moment from which it is refused.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedToken").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// Tokens whose signatures are remembered.
const VERIFIED: u64 = 100_000;

/// What a good token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessClaims {
    /// Who is asking.
    pub user: UserId,
    /// The sign-in that the token descends from.
    pub session: SessionId,
    /// The moment from which it is refused.
    pub expires_at: Timestamp,
}

/// Why a token is refused. Says no more than a client may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It was good once: the client refreshes.
    #[error("the access token has expired")]
    Expired,
    /// It is not one of ours, is damaged or does not work yet.
    #[error("the access token is not valid")]
    Invalid,
}

/// Why no token could be made: a fault of ours.
#[derive(Debug, thiserror::Error)]
pub enum TokenFault {
    /// The lifetime reaches past the end of the calendar.
    #[error("auth.access_token_seconds is too long")]
    Lifetime,
    /// The signing library refused.
    #[error("cannot sign an access token")]
    Signing(#[source] jsonwebtoken::errors::Error),
}

/// Issues and verifies access tokens.
#[derive(Debug)]
pub struct AccessTokens {
    keys: RwLock<Keys>,
    settings: TokenSettings,
    validation: Validation,
    /// Tokens whose signature was found good, by their digest: a client shows the same one with each request, and a
    /// signature costs more to verify than all else about a small one. Of use while the keys are the same; the time, and
    /// whether the session lives, are looked at each time.
    verified: Cache<[u8; 32], Signed>,
    clock: Clock,
    ids: Ids,
}

/// The keys in use.
#[derive(Clone, Debug)]
struct Keys {
    keyring: Arc<Keyring>,
    /// How often they have changed.
    generation: u64,
}

/// What a token with a good signature says.
#[derive(Clone, Copy, Debug)]
struct Signed {
    /// By which keys the signature was found good.
    generation: u64,
    claims: AccessClaims,
    not_before: Timestamp,
}

/// The payload. Times are in whole seconds since 1970.
#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: UserId,
    sid: SessionId,
    jti: String,
    iat: i64,
    nbf: i64,
    exp: i64,
}

impl AccessTokens {
    /// Tokens of `settings.issuer` for `settings.audience`, signed with `keyring`.
    pub fn new(keyring: Arc<Keyring>, settings: TokenSettings, clock: Clock, ids: Ids) -> Self {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[&settings.issuer]);
        validation.set_audience(&[&settings.audience]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp", "nbf"]);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let verified = Cache::new(VERIFIED);
        Self { keys: RwLock::new(Keys { keyring, generation: 0 }), settings, validation, verified, clock, ids }
    }

    /// The keys in use.
    pub fn keyring(&self) -> Arc<Keyring> {
        self.keys().keyring
    }

    /// Signs and verifies with other keys from now on. Tokens of keys that are not among them are refused at once.
    pub fn use_keys(&self, keyring: Keyring) {
        let mut keys = self.keys.write();
        *keys = Keys { keyring: Arc::new(keyring), generation: keys.generation + 1 };
    }

    fn keys(&self) -> Keys {
        // One value is exchanged for another: both are whole.
        self.keys.read().clone()
    }

    /// A token for `user` in `session`, good from now on for the set lifetime, and no longer than until `session_ends_at`.
    pub fn issue(
        &self,
        user: UserId,
        session: SessionId,
        session_ends_at: Timestamp,
    ) -> Result<IssuedToken, TokenFault> {
        let now = self.clock.now().timestamp();
        let expires_at = i64::try_from(self.settings.lifetime.as_secs())
            .ok()
            .and_then(|lifetime| now.checked_add(lifetime))
            .map(|exp| exp.min(session_ends_at.timestamp()))
            .and_then(|exp| DateTime::from_timestamp(exp, 0))
            .ok_or(TokenFault::Lifetime)?;
        let claims = Claims {
            iss: self.settings.issuer.clone(),
            aud: self.settings.audience.clone(),
            sub: user,
            sid: session,
            jti: URL_SAFE_NO_PAD.encode(self.ids.secret::<16>()),
            iat: now,
            nbf: now,
            exp: expires_at.timestamp(),
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYP.to_owned());
        let keyring = self.keyring();
        header.kid = Some(keyring.signing_kid().to_owned());
        let text = jsonwebtoken::encode(&header, &claims, keyring.signing_key()).map_err(TokenFault::Signing)?;
        Ok(IssuedToken { text, expires_at })
    }

    /// What `token` says, if it is one of ours and now is within its time. [`TokenError::Expired`] is said only of a
    /// token that was good once.
    pub fn verify(&self, token: &str) -> Result<AccessClaims, TokenError> {
        if token.len() > MAX_BYTES {
            return Err(TokenError::Invalid);
        }
        let digest: [u8; 32] = Sha256::digest(token).into();
        let keys = self.keys();
        let known = self.verified.get(&digest).filter(|signed| signed.generation == keys.generation);
        let signed = if let Some(signed) = known {
            signed
        } else {
            let signed = self.read(token, &keys)?;
            self.verified.insert(digest, signed);
            signed
        };
        let now = self.clock.now();
        if signed.not_before - now > NOT_BEFORE_LEEWAY {
            return Err(TokenError::Invalid);
        }
        // "On or after" the moment of expiry: RFC 7519, section 4.1.4.
        if now >= signed.claims.expires_at {
            return Err(TokenError::Expired);
        }
        Ok(signed.claims)
    }

    /// What a token of ours says, whatever the time.
    fn read(&self, token: &str, keys: &Keys) -> Result<Signed, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        if header.typ.as_deref() != Some(TYP) || header.crit.is_some() {
            return Err(TokenError::Invalid);
        }
        let key = header.kid.and_then(|kid| keys.keyring.verifying_key(&kid)).ok_or(TokenError::Invalid)?;
        let claims =
            jsonwebtoken::decode::<Claims>(token, key, &self.validation).map_err(|_| TokenError::Invalid)?.claims;
        let not_before = DateTime::from_timestamp(claims.nbf, 0).ok_or(TokenError::Invalid)?;
        let expires_at = DateTime::from_timestamp(claims.exp, 0).ok_or(TokenError::Invalid)?;
        let claims = AccessClaims { user: claims.sub, session: claims.sid, expires_at };
        Ok(Signed { generation: keys.generation, claims, not_before })
    }

    /// The public keys that verify these tokens, for `/.well-known/jwks.json`.
    pub fn jwks(&self) -> JwkSet {
        self.keyring().jwks()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use jsonwebtoken::EncodingKey;
    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::*;
    use crate::auth::keys::KeyPolicy;

    const NOW: i64 = 1_600_000_000; // Long past: a look at the system's clock would show.
    const SECRET_A: &str = "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC";
    const SECRET_B: &str = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";

    fn pem(secret: &str) -> String {
        format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n")
    }

    /// An issuer whose one key is `a`, and what is needed to forge its tokens.
    struct Stage {
        dir: TempDir,
        clock: Clock,
        ids: Ids,
        tokens: AccessTokens,
    }

    impl Stage {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("makes a directory");
            fs::write(dir.path().join("a.pem"), pem(SECRET_A)).expect("writes");
            let clock = Clock::manual(DateTime::from_timestamp(NOW, 0).expect("valid"));
            let ids = Ids::seeded(clock.clone(), 1);
            let tokens = tokens(dir.path(), None, &clock, &ids);
            Self { dir, clock, ids, tokens }
        }

        fn claims(&self) -> Value {
            let (user, session): (UserId, SessionId) = (self.ids.next(), self.ids.next());
            json!({
                "iss": "https://lancewire.test", "aud": "lancewire", "sub": user, "sid": session, "jti": "1",
                "iat": NOW, "nbf": NOW, "exp": NOW + 900,
            })
        }

        /// The good claims with one changed; null takes it away.
        fn claims_but(&self, name: &str, value: Value) -> Value {
            let mut claims = self.claims();
            let fields = claims.as_object_mut().expect("is an object");
            fields.insert(name.to_owned(), value);
            fields.retain(|_, value| !value.is_null());
            claims
        }
    }

    fn tokens(dir: &Path, signing: Option<&str>, clock: &Clock, ids: &Ids) -> AccessTokens {
        let keyring = Keyring::load(dir, signing, KeyPolicy::Require, ids).expect("loads");
        let settings = TokenSettings {
            issuer: "https://lancewire.test".to_owned(),
            audience: "lancewire".to_owned(),
            lifetime: Duration::from_mins(15),
        };
        AccessTokens::new(Arc::new(keyring), settings, clock.clone(), ids.clone())
    }

    fn header() -> Header {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some("a".to_owned());
        header
    }

    fn sign(header: &Header, claims: &Value, secret: &str) -> String {
        let key = EncodingKey::from_ed_pem(pem(secret).as_bytes()).expect("is a key");
        jsonwebtoken::encode(header, claims, &key).expect("signs")
    }

    #[test]
    fn an_issued_token_says_who_and_until_when() {
        let stage = Stage::new();
        stage.clock.advance(Duration::from_millis(999));
        let (user, session) = (stage.ids.next(), stage.ids.next());
        let issued = stage.tokens.issue(user, session, Timestamp::MAX_UTC).expect("issues");
        assert_eq!(issued.expires_at.timestamp(), NOW + 900);
        let expected = AccessClaims { user, session, expires_at: issued.expires_at };
        assert_eq!(stage.tokens.verify(&issued.text), Ok(expected));
        assert!(!format!("{issued:?}").contains(&issued.text));
        assert_ne!(
            stage.tokens.issue(user, session, Timestamp::MAX_UTC).expect("issues").text,
            issued.text,
            "jti differs"
        );
    }

    #[test]
    fn a_token_ends_at_its_expiry_to_the_millisecond() {
        let stage = Stage::new();
        let token = stage.tokens.issue(stage.ids.next(), stage.ids.next(), Timestamp::MAX_UTC).expect("issues").text;
        stage.clock.advance(Duration::from_millis(899_999));
        assert!(stage.tokens.verify(&token).is_ok());
        stage.clock.advance(Duration::from_millis(1));
        assert_eq!(stage.tokens.verify(&token), Err(TokenError::Expired));
    }

    #[test]
    fn every_claim_is_needed_and_checked() {
        let stage = Stage::new();
        let verify = |claims: &Value| stage.tokens.verify(&sign(&header(), claims, SECRET_A)).map(|_| ());
        assert_eq!(verify(&stage.claims()), Ok(()), "the forger's tools work");
        for name in ["iss", "aud", "exp", "nbf", "iat", "sub", "sid", "jti"] {
            assert_eq!(verify(&stage.claims_but(name, Value::Null)), Err(TokenError::Invalid), "without {name}");
        }
        for (name, value) in [
            ("iss", json!("https://else.test")),
            ("iss", json!(["https://lancewire.test"])),
            ("aud", json!("else")),
            ("aud", json!(["lancewire", "else"])),
            ("sub", json!("root")),
            ("sub", stage.claims()["sid"].clone()),
            ("exp", json!("tomorrow")),
            ("exp", json!(i64::MAX)),
            ("nbf", json!(i64::MIN)),
            ("nbf", json!(NOW + 6)),
        ] {
            assert_eq!(verify(&stage.claims_but(name, value.clone())), Err(TokenError::Invalid), "{name} {value}");
        }
        assert_eq!(verify(&stage.claims_but("nbf", json!(NOW + 5))), Ok(()), "within the leeway");
        assert_eq!(verify(&stage.claims_but("exp", json!(NOW))), Err(TokenError::Expired));
        assert_eq!(verify(&stage.claims_but("exp", json!(NOW + 1))), Ok(()));
    }

    #[test]
    fn a_forged_header_is_refused() {
        let stage = Stage::new();
        let claims = stage.claims();
        let refused = |change: &dyn Fn(&mut Header)| {
            let mut header = header();
            change(&mut header);
            assert_eq!(stage.tokens.verify(&sign(&header, &claims, SECRET_A)), Err(TokenError::Invalid), "{header:?}");
        };
        refused(&|header| header.typ = Some("JWT".to_owned()));
        refused(&|header| header.typ = None);
        refused(&|header| header.kid = None);
        refused(&|header| header.kid = Some("b".to_owned()));
        refused(&|header| header.kid = Some("../a".to_owned()));
        refused(&|header| header.crit = Some(vec!["b64".to_owned()]));
    }

    #[test]
    fn only_the_key_that_the_kid_names_can_sign() {
        let stage = Stage::new();
        assert!(stage.tokens.verify(&sign(&header(), &stage.claims(), SECRET_A)).is_ok());
        assert_eq!(stage.tokens.verify(&sign(&header(), &stage.claims(), SECRET_B)), Err(TokenError::Invalid));
    }

    #[test]
    fn the_algorithm_is_not_the_forgers_choice() {
        let stage = Stage::new();
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        for alg in ["none", "None", "EdDSA"] {
            let head = encode(&json!({ "alg": alg, "typ": "at+jwt", "kid": "a" }));
            let unsigned = format!("{head}.{}.", encode(&stage.claims()));
            assert_eq!(stage.tokens.verify(&unsigned), Err(TokenError::Invalid), "{alg}");
        }
        let set = serde_json::to_value(stage.tokens.jwks()).expect("JSON");
        let public = set["keys"][0]["x"].as_str().expect("has x").to_owned();
        let raw = URL_SAFE_NO_PAD.decode(&public).expect("is base64");
        let mut header = header();
        header.alg = Algorithm::HS256;
        for secret in [raw.as_slice(), public.as_bytes()] {
            let key = EncodingKey::from_secret(secret);
            let confused = jsonwebtoken::encode(&header, &stage.claims(), &key).expect("signs");
            assert_eq!(stage.tokens.verify(&confused), Err(TokenError::Invalid));
        }
    }

    #[test]
    fn a_token_that_was_touched_is_refused() {
        let stage = Stage::new();
        let good = sign(&header(), &stage.claims(), SECRET_A);
        let parts: Vec<&str> = good.split('.').collect();
        let payload = URL_SAFE_NO_PAD.encode(stage.claims_but("exp", json!(NOW + 9_000)).to_string());
        let tampered = format!("{}.{payload}.{}", parts[0], parts[2]);
        let padded = sign(&header(), &stage.claims_but("jti", json!("x".repeat(MAX_BYTES))), SECRET_A);
        for bad in ["", ".", "..", "a.b.c", &good[1..], &format!("{good}="), &format!("{good}."), &tampered, &padded] {
            assert_eq!(stage.tokens.verify(bad), Err(TokenError::Invalid), "{bad}");
        }
    }

    #[test]
    fn keys_rotate_without_refusing_anyone() {
        let stage = Stage::new();
        let issue = |tokens: &AccessTokens| {
            tokens.issue(stage.ids.next(), stage.ids.next(), Timestamp::MAX_UTC).expect("issues").text
        };
        let before = issue(&stage.tokens);
        fs::write(stage.dir.path().join("b.pem"), pem(SECRET_B)).expect("writes");
        let published = tokens(stage.dir.path(), Some("a"), &stage.clock, &stage.ids);
        let rotated = tokens(stage.dir.path(), Some("b"), &stage.clock, &stage.ids);
        let after = issue(&rotated);
        assert_eq!(jsonwebtoken::decode_header(&after).expect("has a header").kid.as_deref(), Some("b"));
        for token in [&before, &after, &issue(&published)] {
            assert!(published.verify(token).is_ok() && rotated.verify(token).is_ok());
        }
        fs::remove_file(stage.dir.path().join("a.pem")).expect("removes");
        let done = tokens(stage.dir.path(), None, &stage.clock, &stage.ids);
        assert_eq!(done.verify(&before), Err(TokenError::Invalid));
        assert!(done.verify(&after).is_ok());
    }
}
