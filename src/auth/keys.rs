//! The keys that sign access tokens.
//!
//! Owns a directory of Ed25519 private keys (RFC 8032), each a PKCS#8 PEM file (RFC 8410) named `<kid>.pem`; the file's
//! name is the key's id in a token's header and in the published key set. Read at the start and every few seconds by
//! [`super::rotation`]; [`super::tokens`] signs and verifies with it and `/.well-known/jwks.json` publishes it. Private
//! bytes leave neither this module nor the signing call: only the signing key's are kept, and no error, log line or
//! `Debug` shows any.
//!
//! # Rotation
//!
//! Every key in the directory verifies; one signs: the greatest file name that all live nodes know ([`super::rotation`]),
//! so keys are best named by date (`2026-01.pem`). Put the new key into every node's directory, in any order, with or
//! without restarts. Once the last token of the old key has run out (`auth.access_token_seconds` after the new one has
//! begun to sign), remove the old file. A stolen key is removed at once instead: its tokens die and clients refresh.
//! Others who verify tokens by the published set must look at it again when they meet a key that they do not know.
//!
//! # Development
//!
//! Under [`KeyPolicy::CreateIfMissing`] an empty directory gets one key, made under an advisory lock and moved into
//! place whole, so that processes that start together end up with the same one. Its id begins with `dev-`, and
//! [`KeyPolicy::Require`] refuses such ids: a secret that a machine made by default never signs in production.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{
    SigningKey,
    pkcs8::{DecodePrivateKey, EncodePrivateKey, spki::der::pem::LineEnding},
};
use jsonwebtoken::{
    DecodingKey, EncodingKey,
    jwk::{
        AlgorithmParameters, CommonParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, OctetKeyPairParameters,
        OctetKeyPairType, PublicKeyUse,
    },
};
use zeroize::Zeroizing;

use crate::ids::Ids;

/// How ids of keys made here begin; never accepted in production.
const DEVELOPMENT: &str = "dev-";

/// What to do about a directory without keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPolicy {
    /// Development: make the directory and a key.
    CreateIfMissing,
    /// Production: refuse to start; refuse development keys too.
    Require,
}

/// Why there is no usable set of keys. One line each: the setting, the place and the way out; never key material.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The directory or a file in it cannot be read.
    #[error("auth.keys_dir: cannot read {}: {source}; make it exist and be readable by the server's user", path.display())]
    Unreadable {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A development key cannot be made.
    #[error("auth.keys_dir: cannot make a development key in {}: {source}; name a writable directory", path.display())]
    Unwritable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Production needs a key and the directory has none.
    #[error(
        "auth.keys_dir: {} has no signing key; make one with `openssl genpkey -algorithm ed25519 -out {}/<kid>.pem`",
        path.display(), path.display()
    )]
    Empty {
        /// The directory.
        path: PathBuf,
    },
    /// A file's name cannot be a key id.
    #[error("auth.keys_dir: {} must be named <kid>.pem, <kid> being 1 to 64 of A-Z a-z 0-9 _ -; rename it", path.display())]
    Name {
        /// The file.
        path: PathBuf,
    },
    /// A file does not hold an Ed25519 private key.
    #[error(
        "auth.keys_dir: {} is not an unencrypted Ed25519 private key in PKCS#8 PEM form; \
         make one with `openssl genpkey -algorithm ed25519`",
        path.display()
    )]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
    /// A key made for development is in a production directory.
    #[error("auth.keys_dir: {} is a development secret; remove it and make a key of your own", path.display())]
    Development {
        /// The file.
        path: PathBuf,
    },
    /// The key that is to sign is not there.
    #[error("auth.signing_kid: {} has no {kid}.pem; add the file or name one that is there", path.display())]
    NoSuchKey {
        /// The directory.
        path: PathBuf,
        /// The id asked for.
        kid: String,
    },
}

/// The public keys of a directory by their ids, each as a JWK's `x`.
pub type PublicKeys = BTreeMap<String, String>;

/// The key that signs and all keys that verify. Never empty.
pub struct Keyring {
    signing_kid: String,
    signing: EncodingKey,
    verifying: BTreeMap<String, VerifyingPart>,
}

struct VerifyingPart {
    key: DecodingKey,
    /// The public key as a JWK's `x`.
    x: String,
}

impl VerifyingPart {
    fn jwk(&self, kid: &str) -> Jwk {
        Jwk {
            common: CommonParameters {
                public_key_use: Some(PublicKeyUse::Signature),
                key_algorithm: Some(KeyAlgorithm::EdDSA),
                key_id: Some(kid.to_owned()),
                ..CommonParameters::default()
            },
            algorithm: AlgorithmParameters::OctetKeyPair(OctetKeyPairParameters {
                key_type: OctetKeyPairType::OctetKeyPair,
                curve: EllipticCurve::Ed25519,
                x: self.x.clone(),
            }),
        }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kids: Vec<_> = self.verifying.keys().collect();
        f.debug_struct("Keyring").field("signing", &self.signing_kid).field("verifying", &kids).finish_non_exhaustive()
    }
}

impl Keyring {
    /// Reads every `<kid>.pem` of `dir`; `signing_kid`, or else the greatest name, signs. Files with other endings and
    /// hidden files are passed over. Blocks on the file system.
    pub fn load(dir: &Path, signing_kid: Option<&str>, policy: KeyPolicy, ids: &Ids) -> Result<Self, KeyError> {
        let files = match policy {
            KeyPolicy::Require => list(dir)?,
            KeyPolicy::CreateIfMissing => list_or_create(dir, ids)?,
        };
        if policy == KeyPolicy::Require
            && let Some((_, path)) = files.iter().find(|(kid, _)| kid.starts_with(DEVELOPMENT))
        {
            return Err(KeyError::Development { path: path.clone() });
        }
        let Some((greatest, _)) = files.last_key_value() else {
            return Err(KeyError::Empty { path: dir.to_owned() });
        };
        let signing_kid = signing_kid.unwrap_or(greatest).to_owned();
        let mut signing = None;
        let mut verifying = BTreeMap::new();
        for (kid, path) in files {
            let key = read_key(&path)?;
            if kid == signing_kid {
                let der = key.to_pkcs8_der().map_err(|_| KeyError::NotAKey { path })?;
                signing = Some(EncodingKey::from_ed_der(der.as_bytes()));
            }
            let public = key.verifying_key();
            let part = VerifyingPart {
                key: DecodingKey::from_ed_der(public.as_bytes()),
                x: URL_SAFE_NO_PAD.encode(public.as_bytes()),
            };
            verifying.insert(kid, part);
        }
        match signing {
            Some(signing) => Ok(Self { signing_kid, signing, verifying }),
            None => Err(KeyError::NoSuchKey { path: dir.to_owned(), kid: signing_kid }),
        }
    }

    /// The public keys as a JWK Set (RFC 7517; Ed25519 as RFC 8037 has it), safe to publish.
    pub fn jwks(&self) -> JwkSet {
        JwkSet { keys: self.verifying.iter().map(|(kid, part)| part.jwk(kid)).collect() }
    }

    /// The public keys by their ids.
    pub fn public(&self) -> PublicKeys {
        self.verifying.iter().map(|(kid, part)| (kid.clone(), part.x.clone())).collect()
    }

    /// The id of the key that signs.
    pub fn signing_kid(&self) -> &str {
        &self.signing_kid
    }

    pub(super) fn signing_key(&self) -> &EncodingKey {
        &self.signing
    }

    pub(super) fn verifying_key(&self, kid: &str) -> Option<&DecodingKey> {
        self.verifying.get(kid).map(|part| &part.key)
    }
}

/// The key files of a directory by key id.
fn list(dir: &Path) -> Result<BTreeMap<String, PathBuf>, KeyError> {
    let unreadable = |source| KeyError::Unreadable { path: dir.to_owned(), source };
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || path.extension().is_none_or(|ending| ending != "pem") {
            continue;
        }
        match path.file_stem().and_then(|stem| stem.to_str()).filter(|kid| is_kid(kid)) {
            Some(kid) => files.insert(kid.to_owned(), path),
            None => return Err(KeyError::Name { path }),
        };
    }
    Ok(files)
}

/// Ids stay harmless as a file name, in a header and in a log line.
fn is_kid(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

fn read_key(path: &Path) -> Result<SigningKey, KeyError> {
    let pem = match fs::read_to_string(path).map(Zeroizing::new) {
        Ok(pem) => pem,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(KeyError::NotAKey { path: path.to_owned() });
        }
        Err(source) => return Err(KeyError::Unreadable { path: path.to_owned(), source }),
    };
    SigningKey::from_pkcs8_pem(&pem).map_err(|_| KeyError::NotAKey { path: path.to_owned() })
}

/// The key files of a directory, which gets a key first if it has none.
fn list_or_create(dir: &Path, ids: &Ids) -> Result<BTreeMap<String, PathBuf>, KeyError> {
    let unwritable = |source| KeyError::Unwritable { path: dir.to_owned(), source };
    make_private_dir(dir).map_err(unwritable)?;
    let files = list(dir)?;
    if !files.is_empty() {
        return Ok(files);
    }
    // Another process that starts at the same time waits here and then finds the first one's key. The system releases
    // the lock when the file is closed, at the latest with the process, so no stale lock can remain.
    let lock = private_file().create(true).truncate(false).open(dir.join(".lock")).map_err(unwritable)?;
    lock.lock().map_err(unwritable)?;
    if list(dir)?.is_empty() {
        write_new_key(dir, ids).map_err(unwritable)?;
    }
    list(dir)
}

fn write_new_key(dir: &Path, ids: &Ids) -> io::Result<()> {
    use io::Write as _;

    let key = SigningKey::from_bytes(&Zeroizing::new(ids.secret::<32>()));
    let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(io::Error::other)?;
    let kid = format!("{DEVELOPMENT}{:016x}", u64::from_be_bytes(ids.secret()));
    let draft = dir.join(format!(".{kid}"));
    let mut file = private_file().create_new(true).open(&draft)?;
    file.write_all(pem.as_bytes())?;
    file.sync_all()?;
    // The rename shows the file to others only once it is whole.
    fs::rename(draft, dir.join(format!("{kid}.pem")))
}

/// Opens files that only their owner may read.
fn private_file() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn make_private_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::Clock;

    /// The example key of RFC 8410, section 10.3.
    const PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----\n";

    fn ids() -> Ids {
        Ids::seeded(Clock::system(), 1)
    }

    fn load(dir: &Path, signing: Option<&str>, policy: KeyPolicy) -> Result<Keyring, KeyError> {
        Keyring::load(dir, signing, policy, &ids())
    }

    #[test]
    fn the_example_of_rfc_8410_is_published_as_its_public_key() {
        let dir = tempfile::tempdir().expect("makes a directory");
        fs::write(dir.path().join("2026-01.pem"), PEM).expect("writes");
        let keyring = load(dir.path(), None, KeyPolicy::Require).expect("loads");
        let expected = json!({ "keys": [{
            "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "2026-01",
            "x": "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE",
        }]});
        assert_eq!(serde_json::to_value(keyring.jwks()).expect("JSON"), expected);
        assert_eq!(format!("{keyring:?}"), r#"Keyring { signing: "2026-01", verifying: ["2026-01"], .. }"#);
    }

    #[test]
    fn the_greatest_name_signs_unless_another_is_named() {
        let dir = tempfile::tempdir().expect("makes a directory");
        for name in ["2026-02.pem", "2026-01.pem", "README.md", ".2026-03.pem"] {
            fs::write(dir.path().join(name), PEM).expect("writes");
        }
        assert_eq!(load(dir.path(), None, KeyPolicy::Require).expect("loads").signing_kid(), "2026-02");
        assert_eq!(load(dir.path(), Some("2026-01"), KeyPolicy::Require).expect("loads").signing_kid(), "2026-01");
        let missing = load(dir.path(), Some("2026-03"), KeyPolicy::Require).expect_err("is not there").to_string();
        assert!(missing.starts_with("auth.signing_kid: ") && missing.contains("2026-03.pem"), "{missing}");
    }

    #[test]
    fn development_makes_one_key_and_keeps_it() {
        let parent = tempfile::tempdir().expect("makes a directory");
        let dir = parent.path().join("some/keys");
        let first = load(&dir, None, KeyPolicy::CreateIfMissing).expect("makes a key");
        assert!(first.signing_kid().starts_with("dev-"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let file = fs::metadata(dir.join(format!("{}.pem", first.signing_kid()))).expect("is there");
            assert_eq!(file.permissions().mode() & 0o777, 0o600);
            assert_eq!(fs::metadata(&dir).expect("is there").permissions().mode() & 0o777, 0o700);
        }
        // Other randomness, so that a second key would show.
        let again = Keyring::load(&dir, None, KeyPolicy::CreateIfMissing, &Ids::seeded(Clock::system(), 2));
        assert_eq!(again.expect("loads").jwks(), first.jwks());
        assert!(matches!(load(&dir, None, KeyPolicy::Require), Err(KeyError::Development { .. })));
    }

    #[test]
    fn processes_that_start_together_share_one_key() {
        for _ in 0..20 {
            let dir = tempfile::tempdir().expect("makes a directory");
            let dir = &dir.path().join("keys");
            let sets: Vec<JwkSet> = std::thread::scope(|scope| {
                let start = |seed| {
                    let ids = Ids::seeded(Clock::system(), seed);
                    let load = move || Keyring::load(dir, None, KeyPolicy::CreateIfMissing, &ids);
                    scope.spawn(move || load().expect("loads").jwks())
                };
                let starting: Vec<_> = (0..8).map(start).collect();
                starting.into_iter().map(|thread| thread.join().expect("ends")).collect()
            });
            assert_eq!(sets[0].keys.len(), 1);
            assert!(sets.iter().all(|set| *set == sets[0]), "{sets:?}");
        }
    }

    #[test]
    fn production_says_what_is_wrong_where_and_what_to_do() {
        let dir = tempfile::tempdir().expect("makes a directory");
        let refusal = |dir: &Path| load(dir, None, KeyPolicy::Require).expect_err("is refused").to_string();
        let mut lines = vec![refusal(&dir.path().join("nowhere")), refusal(dir.path())];
        let secret = PEM.lines().nth(1).expect("has a second line");
        let two = "a.b";
        let long = "k".repeat(65);
        for (name, text) in
            [("k", "nonsense"), (two, PEM), (&long, PEM), ("dev-1", PEM), ("p", &PEM.replace("MC4", "MC5"))]
        {
            let file = dir.path().join(format!("{name}.pem"));
            fs::write(&file, text).expect("writes");
            let line = refusal(dir.path());
            assert!(line.contains(&file.display().to_string()), "{line}");
            fs::remove_file(file).expect("removes");
            lines.push(line);
        }
        for line in &lines {
            assert!(line.starts_with("auth.keys_dir: ") && line.contains(';') && !line.contains('\n'), "{line}");
            assert!(line.contains(&dir.path().display().to_string()) && !line.contains(secret), "{line}");
        }
        assert_eq!(lines.iter().collect::<std::collections::HashSet<_>>().len(), 7);
    }
}
