//! Which key signs, where there are several nodes.
//!
//! A token is of use only where its key is known. So every node says in the database which keys it knows (`node_keys`),
//! and signs with the newest one that all live nodes know: a new key may be put into the folders in any order, by a
//! rolling restart or while the nodes run, and no token is refused on the way. [`Rotation::step`] reads the folder
//! again, says what is in it, looks at what the others say, and hands the outcome to [`AccessTokens`]. `app` calls it
//! once before the server listens and then has it [run](Rotation::run) every `auth.keys_reload_ms`.
//!
//! - `auth.signing_kid` names the key that is to sign; without it that is the last by name. It signs as soon as all live
//!   nodes know it. Until then the last by name does that all of them know.
//! - A node that begins without the key with which another one signs would refuse that one's tokens. In production it
//!   does not start ([`RotationError::Behind`]); one that runs says so in the log.
//! - A node is live while it has said something within [`LIVE`]; one that stops takes its row away.
//! - On `SQLite` there is one node: the folder is read again, and that is all.
//!
//! A folder that cannot be read, or a database that is away, changes nothing: the keys stay as they are, and the log says
//! why once.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use parking_lot::Mutex;
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::{
    keys::{KeyError, KeyPolicy, Keyring, PublicKeys},
    tokens::AccessTokens,
};
use crate::{
    clock::Clock,
    db::{Backend, Db},
    error::InternalError,
    ids::Ids,
    lifecycle::Lifecycle,
};

/// How long after its last word a node counts as live, beyond three times `auth.keys_reload_ms`.
const LIVE: Duration = Duration::from_secs(15);
/// How long the last word of a node that stops may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Where keys are and which is to sign.
#[derive(Clone, Debug)]
pub struct KeySettings {
    /// The folder.
    pub dir: PathBuf,
    /// The key that is to sign; none for the last by name.
    pub signing_kid: Option<String>,
    /// What to do about a folder without keys.
    pub policy: KeyPolicy,
    /// How often the folder and the other nodes are looked at.
    pub reload: Duration,
}

/// Why a node does not start with the keys that it has.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// The folder.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The database.
    #[error(transparent)]
    InternalError(#[from] InternalError),
    /// Another node signs with a key that is not in the folder.
    #[error(
        "auth.keys_dir: another node signs with {kid}, which is not in {}: put {kid}.pem there too, or this node would refuse \
         its tokens; if that node is gone, its word is forgotten within {} s",
        dir.display(), forgotten.as_secs()
    )]
    Behind {
        /// The key.
        kid: String,
        /// The folder.
        dir: PathBuf,
        /// How long a node that is gone still counts.
        forgotten: Duration,
    },
}

/// Keeps the keys of a node in step with its folder and with the other nodes. Clones share everything.
#[derive(Clone, Debug)]
pub struct Rotation {
    db: Db,
    ids: Ids,
    settings: KeySettings,
    tokens: Arc<AccessTokens>,
    node: Uuid,
    /// What was said in the log last, so that it is said once.
    said: Arc<Mutex<Option<String>>>,
}

/// What another node says.
struct Word {
    keys: PublicKeys,
    signing: String,
}

impl Rotation {
    /// For the keys of `tokens`.
    pub fn new(db: Db, ids: Ids, settings: KeySettings, tokens: Arc<AccessTokens>) -> Self {
        let node = Uuid::from_bytes(ids.secret());
        Self { db, ids, settings, tokens, node, said: Arc::default() }
    }

    /// Before the server listens: says what this node knows, and has the right key sign.
    pub async fn begin(&self) -> Result<(), RotationError> {
        // It signs with none yet.
        let (keys, others) = self.look("").await?;
        let unknown = others.iter().find(|word| keys.get(&word.signing) != word.keys.get(&word.signing));
        if let Some(word) = unknown
            && self.settings.policy == KeyPolicy::Require
        {
            self.forget().await?;
            let (kid, dir) = (word.signing.clone(), self.settings.dir.clone());
            return Err(RotationError::Behind { kid, dir, forgotten: self.live() });
        }
        self.choose(&keys, &others).await
    }

    /// Looks again every so often, until the process stops.
    pub async fn run(self, clock: Clock, lifecycle: Lifecycle) {
        loop {
            tokio::select! {
                () = lifecycle.stopping() => break,
                () = clock.sleep_until(clock.now() + self.settings.reload) => {}
            }
            match self.step().await {
                Ok(()) => {}
                Err(RotationError::InternalError(error)) => {
                    self.say(format!("signing keys cannot be compared with those of the other nodes: {error}"));
                }
                Err(error) => self.say(error.to_string()),
            }
        }
        // Nobody waits for a database that is away.
        let _ = tokio::time::timeout(FAREWELL, self.forget()).await;
    }

    /// Reads the folder, announces its keys, reads those of the other nodes, and has the right key sign.
    pub async fn step(&self) -> Result<(), RotationError> {
        let signing = self.tokens.keyring().signing_kid().to_owned();
        let (keys, others) = self.look(&signing).await?;
        self.choose(&keys, &others).await
    }

    /// Announces first and reads then: of two nodes that do so at the same moment at least one sees the other.
    async fn look(&self, signing: &str) -> Result<(PublicKeys, Vec<Word>), RotationError> {
        let keys = self.load(None).await?.public();
        if self.db.backend() == Backend::Sqlite {
            return Ok((keys, Vec::new()));
        }
        self.tell(&keys, signing).await?;
        Ok((keys, self.hear().await?))
    }

    async fn choose(&self, keys: &PublicKeys, others: &[Word]) -> Result<(), RotationError> {
        let everybodys = |kid: &str| others.iter().all(|word| word.keys.get(kid) == keys.get(kid));
        let wanted = self.settings.signing_kid.as_deref().or(keys.keys().next_back().map(String::as_str));
        let wanted = wanted.unwrap_or_default();
        let chosen = if everybodys(wanted) {
            self.say(String::new());
            wanted
        } else if let Some(known) = keys.keys().rev().find(|kid| everybodys(kid)) {
            self.say(format!(
                "auth.keys_dir: {wanted} does not sign yet: another node does not know it; {known} signs"
            ));
            known
        } else {
            self.say("auth.keys_dir: no key is known to all nodes: tokens of one are refused by another; give all of them the \
                 same keys".to_string());
            wanted
        };
        let current = self.tokens.keyring();
        if current.signing_kid() != chosen || current.public() != *keys {
            let keyring = self.load(Some(chosen.to_owned())).await?;
            self.tokens.use_keys(keyring);
            tracing::info!(key.id = chosen, keys = keys.len(), "signing keys are in use");
        }
        if self.db.backend() == Backend::Postgres {
            // So that a node which begins now knows what it must know.
            self.tell(keys, chosen).await?;
        }
        Ok(())
    }

    async fn load(&self, signing: Option<String>) -> Result<Keyring, KeyError> {
        let (settings, ids) = (self.settings.clone(), self.ids.clone());
        let signing = signing.or_else(|| settings.signing_kid.clone());
        let dir = settings.dir.clone();
        let read = move || Keyring::load(&settings.dir, signing.as_deref(), settings.policy, &ids);
        let interrupted = |_| KeyError::Unreadable { path: dir, source: std::io::ErrorKind::Interrupted.into() };
        tokio::task::spawn_blocking(read).await.map_err(interrupted)?
    }

    async fn tell(&self, keys: &PublicKeys, signing: &str) -> Result<(), InternalError> {
        let keys = serde_json::to_string(keys).map_err(InternalError::corrupt)?;
        let sql = "INSERT INTO node_keys (node_id, keys, signing_kid, seen_at) VALUES (?, ?, ?, clock_timestamp()) \
                   ON CONFLICT ON CONSTRAINT node_keys_pkey DO UPDATE SET keys = excluded.keys, \
                   signing_kid = excluded.signing_kid, seen_at = excluded.seen_at";
        let values = [self.node.into(), keys.into(), signing.into()];
        self.db.writer().execute_raw(self.db.statement(sql, values)).await?;
        Ok(())
    }

    async fn hear(&self) -> Result<Vec<Word>, InternalError> {
        let live = i64::try_from(self.live().as_millis()).unwrap_or(i64::MAX);
        let sql = "SELECT keys, signing_kid FROM node_keys WHERE node_id <> ? AND seen_at > clock_timestamp() - \
                   CAST(? AS bigint) * interval '1 millisecond'";
        let statement = self.db.statement(sql, [self.node.into(), live.into()]);
        // On the primary: a replica may not have the row of a node that has just begun.
        let rows = self.db.writer().query_all_raw(statement).await?;
        let word = |row: &sea_orm::QueryResult| {
            let keys: String = row.try_get("", "keys")?;
            let keys: BTreeMap<String, String> = serde_json::from_str(&keys).map_err(InternalError::corrupt)?;
            Ok(Word { keys, signing: row.try_get("", "signing_kid")? })
        };
        rows.iter().map(word).collect()
    }

    /// Takes the word of this node back, and those of nodes that are long gone.
    async fn forget(&self) -> Result<(), InternalError> {
        if self.db.backend() == Backend::Sqlite {
            return Ok(());
        }
        let sql = "DELETE FROM node_keys WHERE node_id = ? OR seen_at < clock_timestamp() - interval '1 day'";
        self.db.writer().execute_raw(self.db.statement(sql, [self.node.into()])).await?;
        Ok(())
    }

    fn live(&self) -> Duration {
        self.settings.reload.saturating_mul(3).saturating_add(LIVE)
    }

    /// Says something once, until there is something else to say.
    fn say(&self, line: String) {
        let mut said = self.said.lock();
        if said.as_deref().unwrap_or_default() != line {
            if !line.is_empty() {
                tracing::warn!("{line}");
            }
            *said = Some(line);
        }
    }
}
