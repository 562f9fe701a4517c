//! Sessions and their refresh tokens, and the answer to "who does this access token stand for now?".
//!
//! A refresh token is 32 bytes that nobody can guess, kept as a SHA-256 hash, good for one use (RFC 9700, section 4.14):
//! each use gives the next one of the same family. A token that comes a second time was stolen from somebody, so the
//! whole family ends.
//!
//! But for [`GRACE_SECONDS`] after its first use, and while the next one has not been used, a token gives that same next
//! one again: two tabs refresh at the same moment, and an answer can be lost. The next token is made of the one that was
//! presented and a salt that is stored beside the latter's hash, so that it can be derived again with the token, but
//! not from the table alone. The next refresh after that time takes the salt away. The time is the
//! database's, and counts from the first use.
//!
//! A session has a greatest age, which no refresh extends: neither of its tokens is good for longer, and then its user
//! signs in again.
//!
//! The end of a session is an event of the log, recorded in the same transaction, so that every node hears
//! of it and closes what is open for it ([`Sessions::hear`]): in order with everything else that happens, and never
//! lost.
//!
//! All sessions of a user end together by a change of password and by a suspension, and there may be any number of
//! them. Up to [`ENDED_BY_ROW`] end each in its own row, with an event each. Where there are more, the user's *epoch*
//! is counted up: a session that began in an earlier one is over, which one row says, and all that is open for the user
//! is closed, to come back with a session that lives. `old_sessions` tidies the rows afterwards.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use jsonwebtoken::jwk::JwkSet;
use sea_orm::{ConnectionTrait, DbErr, QueryResult};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    actor::{Principal, Roles},
    events::{RIGHTS_CHANGED, SESSION_ENDED, rights_changed, session_ended},
    revocations::{Revocations, Watch},
    tokens::{AccessClaims, AccessTokens, TokenError},
};
use crate::{
    clock::{Clock, Timestamp},
    db::{Backend, Db, Tx},
    error::InternalError,
    events::{self, NewEvent},
    ids::{Ids, RefreshTokenId, SessionId, UserId},
};

/// How long after its first use a refresh token gives the same successor again.
pub const GRACE_SECONDS: u32 = 10;

/// When the grace of tokens that run out of it now began, by `PostgreSQL`'s clock; [`GRACE_SECONDS`] ago.
const GRACE_BEGAN: &str = "clock_timestamp() - interval '10 seconds'";

/// Sessions that end together each in its own row; more end by the user's epoch.
pub const ENDED_BY_ROW: usize = 100;

/// A session that is in its user's epoch, or was opened by a version that knows none.
const IN_EPOCH: &str = "(s.epoch IS NULL OR s.epoch >= u.session_epoch)";

/// A token pair as the API hands it out.
#[derive(Clone)]
pub struct TokenPair {
    /// Whose tokens they are.
    pub session: SessionId,
    /// Signed, short-lived.
    pub access: String,
    /// When it ends.
    pub access_expires_at: Timestamp,
    /// Opaque, for one use.
    pub refresh: String,
    /// When it ends.
    pub refresh_expires_at: Timestamp,
}

/// Why a token opens nothing.
#[derive(Debug, thiserror::Error)]
pub enum Unauthenticated {
    /// It was good once.
    #[error("The access token has expired. Get a new one with refreshSession.")]
    Expired,
    /// It is not one of ours, or its session is over.
    #[error("The access token is not valid or its session has ended. Sign in again.")]
    Invalid,
    /// Nobody can tell now.
    #[error(transparent)]
    InternalError(#[from] InternalError),
}

/// What a refresh token is made of.
type Secret = [u8; 32];

/// What became of a refresh token.
#[derive(Debug)]
pub enum Refresh {
    /// It was good; the session goes on with the token given.
    Rotated(UserId, SessionId, NewRefreshToken),
    /// The session has reached its greatest age and was ended.
    TooOld(SessionId),
    /// It had been used: the session has been ended.
    Reused(SessionId),
    /// It is unknown, expired, or of a session that is over.
    Refused,
}

/// A refresh token that was just made.
#[derive(Clone)]
pub struct NewRefreshToken {
    text: String,
    expires_at: Timestamp,
    /// When its session reaches its greatest age.
    session_ends_at: Timestamp,
}

impl std::fmt::Debug for NewRefreshToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewRefreshToken").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// The sessions. Clones share everything.
#[derive(Clone, Debug)]
pub struct Sessions {
    db: Db,
    tokens: Arc<AccessTokens>,
    revocations: Revocations,
    clock: Clock,
    ids: Ids,
    lifetimes: SessionLifetimes,
}

/// How long what a session has is good for.
#[derive(Clone, Copy, Debug)]
pub struct SessionLifetimes {
    refresh_token: TimeDelta,
    session: TimeDelta,
}

impl SessionLifetimes {
    /// Refresh tokens that live for `refresh_seconds`, and sessions that live for `session_seconds` from their sign-in,
    /// however often they are refreshed.
    pub fn new(refresh_seconds: u64, session_seconds: u64) -> Self {
        let delta = |seconds| {
            let delta = i64::try_from(seconds).ok().and_then(TimeDelta::try_seconds);
            delta.unwrap_or(TimeDelta::days(36_500)).min(TimeDelta::days(36_500))
        };
        Self { refresh_token: delta(refresh_seconds), session: delta(session_seconds) }
    }
}

impl Sessions {
    /// Sessions that live as long as `lifetimes` says.
    pub fn new(db: Db, tokens: Arc<AccessTokens>, clock: Clock, ids: Ids, lifetimes: SessionLifetimes) -> Self {
        Self { db, tokens, revocations: Revocations::default(), clock, ids, lifetimes }
    }

    /// What tells open sockets that their session ended.
    pub const fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// The public keys that verify access tokens (RFC 7517).
    pub fn jwks(&self) -> JwkSet {
        self.tokens.jwks()
    }

    /// Whom `token` stands for now: the session must be alive, its user not suspended.
    pub async fn authenticate(&self, token: &str) -> Result<Principal, Unauthenticated> {
        self.stands_for(&self.verify(token)?).await
    }

    /// What a token says, by its signature and its time alone: whether the session lives is not asked.
    pub fn verify(&self, token: &str) -> Result<AccessClaims, Unauthenticated> {
        self.tokens.verify(token).map_err(|error| match error {
            TokenError::Expired => Unauthenticated::Expired,
            TokenError::Invalid => Unauthenticated::Invalid,
        })
    }

    /// Whom a token that was verified stands for now. It may have ended since, while a body was awaited.
    pub async fn stands_for(&self, claims: &AccessClaims) -> Result<Principal, Unauthenticated> {
        if claims.expires_at <= self.clock.now() {
            return Err(Unauthenticated::Expired);
        }
        // With the count of their commits where a replica may be read: see `db::replica`.
        let (commits, marks) = if self.db.marks_commits() {
            (", COALESCE(m.commits, 0) AS commits", "LEFT JOIN commit_marks m ON m.user_id = u.id")
        } else {
            ("", "")
        };
        let sql = format!(
            "SELECT u.is_client, u.is_freelancer, u.is_admin{commits} FROM sessions s JOIN users u ON u.id = s.user_id \
             {marks} WHERE s.id = ? AND s.user_id = ? AND s.ended_at IS NULL AND {IN_EPOCH} AND u.suspended_at IS NULL"
        );
        let statement = self.db.statement(&sql, [claims.session.into(), claims.user.into()]);
        let row = self.db.reader().query_one_raw(statement).await.map_err(InternalError::from)?;
        let row = row.ok_or(Unauthenticated::Invalid)?;
        let role = |column| row.try_get::<bool>("", column).map_err(InternalError::from);
        let roles = Roles { client: role("is_client")?, freelancer: role("is_freelancer")?, admin: role("is_admin")? };
        let commits =
            if self.db.marks_commits() { Some(row.try_get("", "commits").map_err(InternalError::from)?) } else { None };
        Ok(Principal { user: claims.user, session: claims.session, roles, expires_at: claims.expires_at, commits })
    }

    /// The same for something that stays open: it also learns when the session ends.
    pub async fn authenticate_and_watch(&self, token: &str) -> Result<(Principal, Watch), Unauthenticated> {
        self.stands_for_and_watch(&self.verify(token)?).await
    }

    /// The same for a token that was verified.
    pub async fn stands_for_and_watch(&self, claims: &AccessClaims) -> Result<(Principal, Watch), Unauthenticated> {
        // Register first: otherwise a revocation between lookup and registration is missed.
        let watch = self.revocations.watch(claims.session, claims.user);
        Ok((self.stands_for(claims).await?, watch))
    }

    /// Opens a session.
    pub async fn open_in(&self, tx: &Tx, user: UserId) -> Result<(SessionId, NewRefreshToken), DbErr> {
        let session: SessionId = self.ids.next();
        let now = self.clock.now();
        let sql = "INSERT INTO sessions (id, user_id, created_at, epoch) \
                   VALUES (?, ?, ?, (SELECT session_epoch FROM users WHERE id = ?)) RETURNING 1";
        tx.query(sql, [session.into(), user.into(), now.into(), user.into()]).await?;
        Ok((session, self.next_token_in(tx, session, now + self.lifetimes.session, self.ids.secret()).await?))
    }

    /// One more refresh token for a session that lives.
    pub async fn renew_in(&self, tx: &Tx, session: SessionId) -> Result<NewRefreshToken, DbErr> {
        let found = tx.query("SELECT created_at FROM sessions WHERE id = ?", [session.into()]).await?;
        let row = found.first().ok_or_else(|| DbErr::RecordNotFound(format!("session {session}")))?;
        let ends_at = row.try_get::<Timestamp>("", "created_at")? + self.lifetimes.session;
        self.next_token_in(tx, session, ends_at, self.ids.secret()).await
    }

    /// Trades a refresh token for the next one of its family.
    pub async fn refresh_in(&self, tx: &Tx, token: &str) -> Result<Refresh, DbErr> {
        let Some(secret) = secret(token) else { return Ok(Refresh::Refused) };
        let hash = Sha256::digest(secret).to_vec();
        let sql = format!(
            "SELECT t.id, t.session_id, t.expires_at, s.user_id, s.created_at FROM refresh_tokens t \
             JOIN sessions s ON s.id = t.session_id JOIN users u ON u.id = s.user_id \
             WHERE t.hash = ? AND s.ended_at IS NULL AND {IN_EPOCH} AND u.suspended_at IS NULL"
        );
        let found = tx.query(&sql, [hash.into()]).await?;
        let Some(row) = found.first() else { return Ok(Refresh::Refused) };
        let (session, user): (SessionId, UserId) = (row.try_get("", "session_id")?, row.try_get("", "user_id")?);
        let id: RefreshTokenId = row.try_get("", "id")?;
        let ends_at = row.try_get::<Timestamp>("", "created_at")? + self.lifetimes.session;
        if ends_at <= self.clock.now() {
            self.end_in(tx, session, "greatest age").await?;
            return Ok(Refresh::TooOld(session));
        }
        let salt: [u8; 32] = self.ids.secret();
        // The conditional update decides, not the row read above: of two that race, one uses the token.
        let spent = match tx.backend() {
            Backend::Postgres => {
                let sql = "UPDATE refresh_tokens SET used_at = clock_timestamp(), successor_salt = ? \
                           WHERE id = ? AND used_at IS NULL RETURNING 1";
                tx.query(sql, [salt.to_vec().into(), id.into()]).await?
            }
            Backend::Sqlite => {
                let sql = "UPDATE refresh_tokens SET used_at = ?, successor_salt = ? \
                           WHERE id = ? AND used_at IS NULL RETURNING 1";
                tx.query(sql, [self.clock.now().into(), salt.to_vec().into(), id.into()]).await?
            }
        };
        if spent.is_empty() {
            if let Some(successor) = self.same_successor_in(tx, id, &secret, ends_at).await? {
                return Ok(Refresh::Rotated(user, session, successor));
            }
            self.end_in(tx, session, "refresh token reused").await?;
            return Ok(Refresh::Reused(session));
        }
        if row.try_get::<Timestamp>("", "expires_at")? <= self.clock.now() {
            return Ok(Refresh::Refused);
        }
        self.forget_salts_in(tx, session).await?;
        let successor = self.next_token_in(tx, session, ends_at, successor(&secret, &salt)).await?;
        Ok(Refresh::Rotated(user, session, successor))
    }

    /// Takes away the salts that have served: with an old token and the table somebody could follow them to the newest one.
    async fn forget_salts_in(&self, tx: &Tx, session: SessionId) -> Result<(), DbErr> {
        let forget = "UPDATE refresh_tokens SET successor_salt = NULL \
                      WHERE session_id = ? AND successor_salt IS NOT NULL AND used_at <= ";
        match tx.backend() {
            Backend::Postgres => tx.pipeline(&format!("{forget}{GRACE_BEGAN}"), [session.into()]).await,
            Backend::Sqlite => tx.pipeline(&format!("{forget}?"), [session.into(), self.grace_began().into()]).await,
        }
    }

    /// By the clock of the process, which is that of `SQLite`.
    fn grace_began(&self) -> Timestamp {
        self.clock.now() - TimeDelta::seconds(i64::from(GRACE_SECONDS))
    }

    /// The successor that a used token has been given, if that was a moment ago and nobody has used it yet.
    async fn same_successor_in(
        &self,
        tx: &Tx,
        token: RefreshTokenId,
        secret: &Secret,
        session_ends_at: Timestamp,
    ) -> Result<Option<NewRefreshToken>, DbErr> {
        let now = self.clock.now();
        // Read anew: the twin that used it has committed in between.
        let find = "SELECT successor_salt FROM refresh_tokens \
                    WHERE id = ? AND successor_salt IS NOT NULL AND used_at > ";
        let found = match tx.backend() {
            Backend::Postgres => tx.query(&format!("{find}{GRACE_BEGAN}"), [token.into()]).await?,
            Backend::Sqlite => {
                // A clock that was set back does not prolong it.
                let sql = format!("{find}? AND used_at <= ?");
                tx.query(&sql, [token.into(), self.grace_began().into(), now.into()]).await?
            }
        };
        let Some(row) = found.first() else { return Ok(None) };
        let salt: Vec<u8> = row.try_get("", "successor_salt")?;
        let successor = successor(secret, &salt);
        let sql = "SELECT expires_at FROM refresh_tokens WHERE hash = ? AND used_at IS NULL";
        let found = tx.query(sql, [Sha256::digest(successor).to_vec().into()]).await?;
        let Some(row) = found.first() else { return Ok(None) };
        let expires_at: Timestamp = row.try_get("", "expires_at")?;
        let text = BASE64_URL_SAFE_NO_PAD.encode(successor);
        Ok((expires_at > now).then_some(NewRefreshToken { text, expires_at, session_ends_at }))
    }

    /// Ends one session.
    pub async fn end_in(&self, tx: &Tx, session: SessionId, reason: &str) -> Result<(), DbErr> {
        let sql = "UPDATE sessions SET ended_at = ?, end_reason = ? WHERE id = ? AND ended_at IS NULL \
                   RETURNING id, user_id";
        let ended = tx.query(sql, [self.clock.now().into(), reason.into(), session.into()]).await?;
        self.record_ends_in(tx, &ended).await
    }

    /// Ends all sessions of a user, whose row the caller has locked.
    pub async fn end_all_in(&self, tx: &Tx, user: UserId, reason: &str) -> Result<(), DbErr> {
        self.end_of_user_in(tx, user, None, reason).await
    }

    /// Ends all sessions of a user, whose row the caller has locked, but this one; false if this one has ended itself.
    pub async fn end_others_in(&self, tx: &Tx, user: UserId, kept: SessionId, reason: &str) -> Result<bool, DbErr> {
        // Its row is held until the commit: an end that comes at the same moment waits, and comes after this.
        let lock = if tx.backend() == Backend::Postgres { " FOR UPDATE OF s" } else { "" };
        let sql = format!(
            "SELECT s.id FROM sessions s JOIN users u ON u.id = s.user_id \
             WHERE s.id = ? AND s.user_id = ? AND s.ended_at IS NULL AND {IN_EPOCH}{lock}"
        );
        let lives = !tx.query(&sql, [kept.into(), user.into()]).await?.is_empty();
        self.end_of_user_in(tx, user, lives.then_some(kept), reason).await?;
        Ok(lives)
    }

    async fn end_of_user_in(&self, tx: &Tx, user: UserId, kept: Option<SessionId>, reason: &str) -> Result<(), DbErr> {
        // No session's id, where none is kept.
        let kept = kept.map_or(Uuid::nil(), Uuid::from);
        let now = self.clock.now();
        let sql = "UPDATE sessions SET ended_at = ?, end_reason = ? WHERE id IN \
                   (SELECT id FROM sessions WHERE user_id = ? AND id <> ? AND ended_at IS NULL LIMIT ?) \
                   AND ended_at IS NULL RETURNING id, user_id";
        let most = i64::try_from(ENDED_BY_ROW).unwrap_or(i64::MAX);
        let ended = tx.query(sql, [now.into(), reason.into(), user.into(), kept.into(), most.into()]).await?;
        if ended.len() < ENDED_BY_ROW {
            return self.record_ends_in(tx, &ended).await;
        }
        let next = "UPDATE users SET session_epoch = session_epoch + 1 WHERE id = ? RETURNING session_epoch";
        let row = tx.query(next, [user.into()]).await?;
        let epoch: i64 = row.first().map_or(Ok(0), |row| row.try_get("", "session_epoch"))?;
        tx.pipeline("UPDATE sessions SET epoch = ? WHERE id = ?", [epoch.into(), kept.into()]).await?;
        // Of a version that knows no epochs: few, since they were opened while both ran.
        let without = "UPDATE sessions SET ended_at = ?, end_reason = ? \
                       WHERE user_id = ? AND id <> ? AND epoch IS NULL AND ended_at IS NULL";
        tx.pipeline(without, [now.into(), reason.into(), user.into(), kept.into()]).await?;
        self.rights_changed_in(tx, user).await
    }

    /// What a user may do has changed: whatever is open for them is closed and comes back with the new rights.
    pub async fn rights_changed_in(&self, tx: &Tx, user: UserId) -> Result<(), DbErr> {
        events::record(tx, rights_changed(self.ids.next(), user, self.clock.now())).await
    }

    /// Closes what is open on this node for a session that has ended or a user whose rights have changed. For the tail,
    /// which hands in every event of the log.
    pub fn hear(&self, event: &NewEvent) {
        match event.kind {
            SESSION_ENDED => self.revocations.end_session(event.subject.into()),
            RIGHTS_CHANGED => self.revocations.end_user(event.subject.into()),
            // Other domains' events, and those of a later version.
            _ => {}
        }
    }

    async fn record_ends_in(&self, tx: &Tx, ended: &[QueryResult]) -> Result<(), DbErr> {
        for row in ended {
            let (session, user): (SessionId, UserId) = (row.try_get("", "id")?, row.try_get("", "user_id")?);
            events::record(tx, session_ended(self.ids.next(), session, user, self.clock.now())).await?;
        }
        Ok(())
    }

    /// The pair for a session just opened or refreshed. Called after the commit: an access token must not outlive a
    /// rolled-back session.
    pub fn pair(&self, user: UserId, session: SessionId, refresh: NewRefreshToken) -> Result<TokenPair, InternalError> {
        let access = self
            .tokens
            .issue(user, session, refresh.session_ends_at)
            .map_err(|error| InternalError::Unavailable(error.to_string()))?;
        Ok(TokenPair {
            session,
            access: access.text,
            access_expires_at: access.expires_at,
            refresh: refresh.text,
            refresh_expires_at: refresh.expires_at,
        })
    }

    async fn next_token_in(
        &self,
        tx: &Tx,
        session: SessionId,
        session_ends_at: Timestamp,
        secret: Secret,
    ) -> Result<NewRefreshToken, DbErr> {
        let now = self.clock.now();
        let expires_at = (now + self.lifetimes.refresh_token).min(session_ends_at);
        let sql = "INSERT INTO refresh_tokens (id, session_id, hash, created_at, expires_at) VALUES (?, ?, ?, ?, ?) \
                   RETURNING 1";
        let id: RefreshTokenId = self.ids.next();
        let hash = Sha256::digest(secret).to_vec();
        tx.query(sql, [id.into(), session.into(), hash.into(), now.into(), expires_at.into()]).await?;
        Ok(NewRefreshToken { text: BASE64_URL_SAFE_NO_PAD.encode(secret), expires_at, session_ends_at })
    }
}

/// The bytes of a token, or nothing for a text that no token of ours has.
fn secret(token: &str) -> Option<Secret> {
    let secret = BASE64_URL_SAFE_NO_PAD.decode(token.get(..43)?).ok()?.try_into().ok()?;
    (token.len() == 43).then_some(secret)
}

/// The token after this one. All that is hashed has a length of its own, so no two of them can run into each other.
fn successor(secret: &Secret, salt: &[u8]) -> Secret {
    let digest = Sha256::new().chain_update(b"lancewire: the refresh token after this one");
    digest.chain_update(secret).chain_update(salt).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_follows_from_token_and_salt_together_and_from_nothing_less() {
        let first = successor(&[1; 32], &[2; 32]);
        assert_eq!(first, successor(&[1; 32], &[2; 32]));
        for other in [successor(&[1; 32], &[3; 32]), successor(&[2; 32], &[2; 32]), successor(&[2; 32], &[1; 32])] {
            assert_ne!(first, other);
        }
        let text = BASE64_URL_SAFE_NO_PAD.encode(first);
        assert_eq!(secret(&text), Some(first));
        assert_eq!((secret(&text[1..]), secret(&format!("{text}A")), secret("é")), (None, None, None));
    }
}
