//! What people do with their accounts, and what admins do with them.
//!
//! Password hashing happens before a transaction opens: on `SQLite` there is one writer, and it must not wait for
//! Argon2. Sockets are told of an ended session after the commit, never before it.

use std::{net::IpAddr, sync::Arc, time::Duration};

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Value,
    prelude::async_trait::async_trait,
    sea_query::{Expr, OnConflict},
};
use tokio::sync::Notify;
use uuid::Uuid;

use super::{
    entity::{skills, user_skills, users},
    error::{AccountError, TooMuch},
    model::{AccountName, Email, Skill, UserCard, avatar_url},
    skills::SkillUse,
};
use crate::{
    auth::{
        actor::{Actor, Denied, Principal, Roles},
        passwords::{Password, PasswordFault, Passwords, Verdict},
        sessions::{Refresh, Sessions, TokenPair},
    },
    clock::Clock,
    db::{Db, Tx},
    error::{InternalError, Invalid, InvalidKind},
    ids::{Ids, UserId},
    limits::{
        Attempts, SignUps,
        attempts::{AttemptKey, TooMany},
    },
    text,
};

/// Skills a user or a job may list.
pub const MAX_SKILLS: usize = 20;

/// The accounts. Clones share everything.
#[derive(Clone, Debug)]
pub struct Accounts {
    pub(super) db: Db,
    pub(super) clock: Clock,
    pub(super) ids: Ids,
    sessions: Sessions,
    passwords: Passwords,
    attempts: Attempts,
    suspensions: Arc<Notify>,
    sign_ups: SignUps,
}

/// `signUp`, as it came.
#[derive(Clone)]
pub struct SignUp {
    /// The mailbox.
    pub email: String,
    /// In clear, for as long as it takes.
    pub password: String,
    /// How the user wants to be called.
    pub display_name: String,
    /// What they want to do here.
    pub roles: Roles,
}

/// `updateProfile`: what is left out stays.
#[derive(Clone, Debug, Default)]
pub struct ProfilePatch {
    /// A new name.
    pub display_name: Option<String>,
    /// A new avatar; `Some(None)` removes it.
    pub avatar_url: Option<Option<String>>,
    /// New skills, by slug.
    pub skills: Option<Vec<String>>,
}

/// What other domains have that rests on the roles of an account: this domain knows none of them.
#[async_trait]
pub trait RoleDependents: Send + Sync {
    /// What would be stuck if `user`, whose row is locked, lost these roles: the end of a sentence that begins with
    /// `roles` and says what to do. None if nothing would be.
    async fn of_in(&self, tx: &Tx, user: UserId, lost: Roles) -> Result<Option<String>, InternalError>;
}

impl Accounts {
    /// Accounts on these tools.
    pub fn new(
        db: Db,
        clock: Clock,
        ids: Ids,
        sessions: Sessions,
        passwords: Passwords,
        (attempts, sign_ups): (Attempts, SignUps),
    ) -> Self {
        Self { db, clock, ids, sessions, passwords, attempts, sign_ups, suspensions: Arc::default() }
    }

    /// Rung when an account was suspended or reinstated here, after the commit.
    pub fn suspensions(&self) -> Arc<Notify> {
        Arc::clone(&self.suspensions)
    }

    /// The same on another view of the database. Sessions are looked at on the primary as before.
    #[must_use]
    pub fn on(&self, db: &Db) -> Self {
        Self { db: db.clone(), ..self.clone() }
    }

    /// Opens an account and its first session. A taken address is said so, at a limited rate for each caller's address,
    /// from which only so many accounts an hour are opened.
    #[tracing::instrument(skip_all)]
    pub async fn sign_up(&self, command: SignUp, from: IpAddr) -> Result<(UserCard, TokenPair), AccountError> {
        let (email, name, password) = parse_new_account(&command)?;
        if !command.roles.client && !command.roles.freelancer {
            return Err(Invalid::value("roles", "must name CLIENT, FREELANCER or both").into());
        }
        let roles = Roles { admin: false, ..command.roles };
        let attempt = self.attempts.begin(&[AttemptKey::Address(from)]).map_err(too_many)?;
        let sign_up = self.sign_ups.begin(from);
        let sign_up = sign_up.map_err(|refused| too_much(TooMuch::SignUps, refused.retry_after))?;
        let hash = self.passwords.hash(&password).await.map_err(password_fault)?;
        let (email, name, hash) = (&email, &name, &hash);
        let opened = self
            .db
            .transact(|tx| async move {
                let user = self.insert_in(&tx, email, name, hash, roles).await?;
                let (session, refresh) = self.sessions.open_in(&tx, user.id).await?;
                Ok::<_, AccountError>((user, session, refresh))
            })
            .await;
        let (user, session, refresh) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                // Whether an email is taken is worth guessing; nothing else that can be refused here is.
                if matches!(&error, AccountError::Invalid(invalid) if invalid.kind == InvalidKind::EmailTaken) {
                    attempt.failed();
                }
                return Err(error);
            }
        };
        attempt.succeeded();
        sign_up.opened();
        tracing::info!(user.id = %user.id, "account opened");
        Ok((user.clone(), self.sessions.pair(user.id, session, refresh)?))
    }

    /// Makes an account with the role of an admin. For the command line: the API hands out no such account.
    pub async fn create_admin(&self, email: &str, password: &str, name: &str) -> Result<UserCard, AccountError> {
        let roles = Roles { admin: true, ..Roles::default() };
        let command = SignUp { email: email.into(), password: password.into(), display_name: name.into(), roles };
        let (email, name, password) = parse_new_account(&command)?;
        let hash = self.passwords.hash(&password).await.map_err(password_fault)?;
        let (email, name, hash) = (&email, &name, &hash);
        self.db.transact(|tx| async move { self.insert_in(&tx, email, name, hash, roles).await }).await
    }

    async fn insert_in(
        &self,
        tx: &Tx,
        email: &Email,
        name: &str,
        hash: &str,
        roles: Roles,
    ) -> Result<UserCard, AccountError> {
        let now = self.clock.now();
        let row = users::ActiveModel {
            id: Set(self.ids.next()),
            email: Set(email.as_str().to_owned()),
            display_name: Set(name.to_owned()),
            avatar_url: Set(None),
            is_client: Set(roles.client),
            is_freelancer: Set(roles.freelancer),
            is_admin: Set(roles.admin),
            password_hash: Set(hash.to_owned()),
            completed_job_count: Set(0),
            suspended_at: Set(None),
            created_at: Set(now),
            updated_at: Set(now),
        };
        let inserted = users::Entity::insert(row)
            .on_conflict(OnConflict::column(users::Column::Email).do_nothing().to_owned())
            .exec_with_returning(&**tx)
            .await;
        match inserted {
            Ok(row) => Ok(row.into()),
            Err(sea_orm::DbErr::RecordNotInserted | sea_orm::DbErr::RecordNotFound(_)) => {
                let message = "There is an account with this email already. Sign in, or use another address.";
                Err(Invalid::new(InvalidKind::EmailTaken, message, "email").into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a session. An unknown email, a wrong password and a suspended account get the same answer in the same
    /// time.
    #[tracing::instrument(skip_all)]
    pub async fn sign_in(
        &self,
        email: &str,
        password: &str,
        from: IpAddr,
    ) -> Result<(UserCard, TokenPair), AccountError> {
        let refused = || {
            let message = "The email or the password is wrong. Check both and try again.";
            AccountError::from(Invalid {
                kind: InvalidKind::InvalidCredentials,
                message: message.into(),
                path: Vec::new(),
            })
        };
        let account = AccountName::read(email);
        let key = AttemptKey::account(account.key());
        let attempt = self.attempts.begin(&[key, AttemptKey::Address(from)]).map_err(too_many)?;
        let Ok(candidate) = Password::candidate(password) else {
            attempt.failed();
            return Err(refused());
        };
        let (row, (session, refresh)) = loop {
            let rows = users::Entity::find()
                .filter(users::Column::Email.is_in(account.spellings()))
                .filter(users::Column::SuspendedAt.is_null())
                .all(self.db.reader())
                .await?;
            // The same spelling as ever comes before one that only means the same.
            let row = account.spellings().last().and_then(|kept| rows.iter().find(|row| row.email == kept));
            let row = row.or(rows.first()).cloned();
            let stored = row.as_ref().map(|row| row.password_hash.as_str());
            let rehash = match self.passwords.verify(&candidate, stored).await.map_err(password_fault)? {
                Verdict::Right { rehash } => rehash,
                Verdict::Wrong => {
                    tracing::info!(account.known = row.is_some(), client.address = %from, "sign-in failed");
                    attempt.failed();
                    return Err(refused());
                }
            };
            let row = row.ok_or_else(|| InternalError::corrupt("a right password of nobody"))?;
            let stronger = if rehash { self.passwords.hash(&candidate).await.ok() } else { None };
            let (user, verified, stronger) = (row.id, &row.password_hash, &stronger);
            let opened = self
                .db
                .transact(|tx| async move {
                    if !is_current_in(&tx, user, verified).await? {
                        return Ok(None);
                    }
                    if let Some(hash) = stronger {
                        set_password_in(&tx, user, hash).await?;
                    }
                    Ok::<_, AccountError>(Some(self.sessions.open_in(&tx, user).await?))
                })
                .await?;
            // Hashing took a while: meanwhile the password may have been changed or the account suspended, or another
            // sign-in may have stored a stronger hash of the same password. What is there now decides.
            if let Some(opened) = opened {
                break (row, opened);
            }
        };
        let user = row.id;
        attempt.succeeded();
        Ok((row.into(), self.sessions.pair(user, session, refresh)?))
    }

    /// Trades a refresh token for a new pair. One that comes a second time gets the same refresh token for a moment, and
    /// ends its session afterwards.
    #[tracing::instrument(skip_all)]
    pub async fn refresh(&self, token: &str, from: IpAddr) -> Result<(UserCard, TokenPair), AccountError> {
        // Nobody guesses 32 bytes: any number may come at the same moment, and only what was wrong is counted.
        let key = [AttemptKey::Address(from)];
        self.attempts.check(&key).map_err(too_many)?;
        let refresh = self.db.transact(|tx| async move { self.sessions.refresh_in(&tx, token).await }).await?;
        match refresh {
            Refresh::Rotated(user, session, refresh) => {
                let card =
                    self.card(user).await?.ok_or_else(|| InternalError::corrupt("a session without its user"))?;
                Ok((card, self.sessions.pair(user, session, refresh)?))
            }
            Refresh::Reused(session) => {
                self.attempts.count_failure(&key);
                tracing::warn!(session.id = %session, "a refresh token came twice; its session was ended");
                Err(refresh_refused())
            }
            Refresh::TooOld(session) => {
                tracing::info!(session.id = %session, "a session reached its greatest age");
                let message = "This session has reached its greatest age. Sign in again.";
                Err(Invalid::new(InvalidKind::InvalidCredentials, message, "refreshToken").into())
            }
            Refresh::Refused => {
                self.attempts.count_failure(&key);
                tracing::info!(client.address = %from, "a refresh token was refused");
                Err(refresh_refused())
            }
        }
    }

    /// Ends the session that the caller came with, and its sockets.
    #[tracing::instrument(skip_all)]
    pub async fn sign_out(&self, actor: Actor) -> Result<(), AccountError> {
        let Actor::User(principal) = actor else { return Err(Denied::Unauthenticated.into()) };
        let session = principal.session;
        self.db.transact(|tx| async move { self.sessions.end_in(&tx, session, "signed out").await }).await?;
        Ok(())
    }

    /// Changes the password and ends all sessions but the one that the caller came with, for which it returns new tokens.
    /// The tokens that this session has stay good, and so do its sockets.
    #[tracing::instrument(skip_all)]
    pub async fn change_password(
        &self,
        actor: Actor,
        current: &str,
        new: &str,
    ) -> Result<(UserCard, TokenPair), AccountError> {
        let Actor::User(Principal { user, session, .. }) = actor else { return Err(Denied::Unauthenticated.into()) };
        let row = users::Entity::find_by_id(user).one(self.db.reader()).await?;
        let row = row.ok_or_else(|| InternalError::corrupt("a session without its user"))?;
        let new = Password::parse(new).map_err(|rule| Invalid::value("newPassword", rule))?;
        let email = Email::parse(&row.email).map_err(InternalError::corrupt)?;
        if new.resembles(email.local_part()) {
            return Err(Invalid::value("newPassword", "must not contain the name in your email address").into());
        }
        let key = AttemptKey::account(&row.email);
        let attempt = self.attempts.begin(&[key]).map_err(too_many)?;
        let wrong = || {
            let message = "currentPassword is not your password. Check it and try again.";
            AccountError::from(Invalid::new(InvalidKind::InvalidCredentials, message, "currentPassword"))
        };
        let Ok(current) = Password::candidate(current) else {
            attempt.failed();
            return Err(wrong());
        };
        let verdict = self.passwords.verify(&current, Some(&row.password_hash)).await.map_err(password_fault)?;
        let Verdict::Right { .. } = verdict else {
            tracing::info!(user.id = %user, "the current password was wrong");
            attempt.failed();
            return Err(wrong());
        };
        let hash = &self.passwords.hash(&new).await.map_err(password_fault)?;
        let refresh = self
            .db
            .transact(|tx| async move {
                set_password_in(&tx, user, hash).await?;
                if !self.sessions.end_others_in(&tx, user, session, "password changed").await? {
                    // Ended since the request began, perhaps by the same change of password from elsewhere.
                    return Err(Denied::Unauthenticated.into());
                }
                Ok::<_, AccountError>(self.sessions.renew_in(&tx, session).await?)
            })
            .await?;
        attempt.succeeded();
        Ok((row.into(), self.sessions.pair(user, session, refresh)?))
    }

    /// Changes what others see of the caller.
    #[tracing::instrument(skip_all)]
    pub async fn update_profile(&self, actor: Actor, patch: ProfilePatch) -> Result<UserCard, AccountError> {
        let user = actor.signed_in()?;
        let name = patch.display_name.map(|name| text::DISPLAY_NAME.parse("displayName", &name)).transpose()?;
        let avatar = patch.avatar_url.map(|url| url.map(|url| avatar_url(&url)).transpose()).transpose()?;
        let (name, avatar, skills) = (&name, &avatar, &patch.skills);
        self.db
            .transact(|tx| async move {
                let mut update = users::Entity::update_many()
                    .filter(users::Column::Id.eq(user))
                    .col_expr(users::Column::UpdatedAt, Expr::value(self.clock.now()));
                if let Some(name) = name {
                    update = update.col_expr(users::Column::DisplayName, Expr::value(name.clone()));
                }
                if let Some(avatar) = avatar {
                    update = update.col_expr(users::Column::AvatarUrl, Expr::value(avatar.clone()));
                }
                let row = update.exec_with_returning(&*tx).await?.pop();
                if let Some(slugs) = skills {
                    let has = user_skills::Entity::find()
                        .find_also_related(skills::Entity)
                        .filter(user_skills::Column::UserId.eq(user))
                        .all(&*tx)
                        .await?;
                    let has = has.into_iter().filter_map(|(_, skill)| skill.map(Skill::from)).collect::<Vec<_>>();
                    let skills = self.resolve_skills(&*tx, "skills", slugs, SkillUse::Given(&has)).await?;
                    user_skills::Entity::delete_many().filter(user_skills::Column::UserId.eq(user)).exec(&*tx).await?;
                    let rows = skills
                        .iter()
                        .map(|skill| user_skills::ActiveModel { user_id: Set(user), skill_id: Set(skill.id) });
                    if !skills.is_empty() {
                        user_skills::Entity::insert_many(rows).exec_without_returning(&*tx).await?;
                    }
                }
                row.map(UserCard::from).ok_or_else(|| InternalError::corrupt("a session without its user").into())
            })
            .await
    }

    /// Admin: sets the roles of an account. Its sockets are closed, to come back with the new ones. Refused while something
    /// rests on a role that is taken.
    #[tracing::instrument(skip_all, fields(user.id = user_id))]
    pub async fn set_roles(
        &self,
        actor: Actor,
        user_id: &str,
        roles: Roles,
        dependents: &dyn RoleDependents,
    ) -> Result<UserCard, AccountError> {
        let admin = actor.admin()?;
        let user = parse_user(user_id)?;
        if user == admin && !roles.admin {
            let rule = "must keep ADMIN for yourself; another admin can take it from you";
            return Err(Invalid::value("roles", rule).into());
        }
        let card = self
            .db
            .transact(|tx| async move {
                require_admin_in(&tx, admin, user).await?;
                let held = self.card_in(&tx, user).await.map_err(|_| Invalid::not_found("userId", "user"))?.roles;
                let lost = Roles {
                    client: held.client && !roles.client,
                    freelancer: held.freelancer && !roles.freelancer,
                    admin: false,
                };
                if let Some(why) = dependents.of_in(&tx, user, lost).await? {
                    return Err(Invalid::value("roles", why).into());
                }
                let rows = users::Entity::update_many()
                    .filter(users::Column::Id.eq(user))
                    .col_expr(users::Column::IsClient, Expr::value(roles.client))
                    .col_expr(users::Column::IsFreelancer, Expr::value(roles.freelancer))
                    .col_expr(users::Column::IsAdmin, Expr::value(roles.admin))
                    .col_expr(users::Column::UpdatedAt, Expr::value(self.clock.now()))
                    .exec_with_returning(&*tx)
                    .await?;
                let row = rows.into_iter().next().ok_or_else(|| Invalid::not_found("userId", "user"))?;
                self.sessions.rights_changed_in(&tx, user).await?;
                self.audit_in(&tx, admin, "setUserRoles", &user.to_string(), &format!("{roles:?}")).await?;
                Ok::<UserCard, AccountError>(row.into())
            })
            .await?;
        Ok(card)
    }

    /// Admin: shuts an account out, which ends its sessions and sockets, or lets it in again.
    #[tracing::instrument(skip_all, fields(user.id = user_id))]
    pub async fn set_suspended(
        &self,
        actor: Actor,
        user_id: &str,
        suspended: bool,
        reason: &str,
    ) -> Result<UserCard, AccountError> {
        let admin = actor.admin()?;
        let user = parse_user(user_id)?;
        let reason = &text::REASON.parse("reason", reason)?;
        if user == admin {
            return Err(Invalid::value("userId", "must not be your own; another admin can suspend you").into());
        }
        let card = self
            .db
            .transact(|tx| async move {
                require_admin_in(&tx, admin, user).await?;
                let since = suspended.then(|| self.clock.now());
                let rows = users::Entity::update_many()
                    .filter(users::Column::Id.eq(user))
                    .col_expr(users::Column::SuspendedAt, Expr::value(since))
                    .col_expr(users::Column::UpdatedAt, Expr::value(self.clock.now()))
                    .exec_with_returning(&*tx)
                    .await?;
                let row = rows.into_iter().next().ok_or_else(|| Invalid::not_found("userId", "user"))?;
                if suspended {
                    self.sessions.end_all_in(&tx, user, "suspended").await?;
                    // Of all sockets, also that of a session which is being opened just now and was not seen here.
                    self.sessions.rights_changed_in(&tx, user).await?;
                }
                // Their OPEN jobs follow (`jobs::withholding`), from the first one on, however far that had got before.
                let due = "INSERT INTO withholding_due (user_id, after_job) VALUES (?, ?) \
                           ON CONFLICT (user_id) DO UPDATE SET after_job = excluded.after_job";
                tx.pipeline(due, [user.into(), Uuid::nil().into()]).await?;
                let action = if suspended { "suspend" } else { "reinstate" };
                self.audit_in(&tx, admin, action, &user.to_string(), reason).await?;
                Ok::<UserCard, AccountError>(row.into())
            })
            .await?;
        self.suspensions.notify_one();
        Ok(card)
    }

    /// Notes what an admin did to somebody else, in the transaction of the deed.
    pub async fn audit_in(
        &self,
        tx: &Tx,
        admin: UserId,
        action: &str,
        subject: &str,
        detail: &str,
    ) -> Result<(), InternalError> {
        let sql = "INSERT INTO admin_actions (actor_id, action, subject, detail, occurred_at) VALUES (?, ?, ?, ?, ?)";
        tx.defer(sql, [admin.into(), action.into(), subject.into(), detail.into(), self.clock.now().into()]).await?;
        Ok(())
    }

    /// One more completed job for each of these users.
    pub async fn count_completed_job_in(&self, tx: &Tx, users: [UserId; 2]) -> Result<(), InternalError> {
        // In no order of their own: the wallets of both, which the payment has locked in order, stand before these rows.
        let sql = "UPDATE users SET completed_job_count = completed_job_count + 1 WHERE id IN (?, ?)";
        Ok(tx.defer(sql, users.map(Value::from)).await?)
    }

    /// Which of these accounts, active or not, have this password, by email. Slow by intent: a hash for each.
    pub async fn with_password(&self, emails: &[&str], password: &str) -> Result<Vec<String>, AccountError> {
        let rows = users::Entity::find().filter(users::Column::Email.is_in(emails.iter().copied()));
        let candidate = Password::candidate(password).map_err(|rule| Invalid::value("password", rule))?;
        let mut found = Vec::new();
        for row in rows.order_by_asc(users::Column::Email).all(self.db.reader()).await? {
            let verdict = self.passwords.verify(&candidate, Some(&row.password_hash)).await.map_err(password_fault)?;
            if let Verdict::Right { .. } = verdict {
                found.push(row.email);
            }
        }
        Ok(found)
    }
}

fn parse_new_account(command: &SignUp) -> Result<(Email, String, Password), AccountError> {
    let email = Email::parse(&command.email)?;
    let name = text::DISPLAY_NAME.parse("displayName", &command.display_name)?;
    let password = Password::parse(&command.password).map_err(|rule| Invalid::value("password", rule))?;
    if password.resembles(email.local_part()) {
        return Err(Invalid::value("password", "must not contain the name in your email address").into());
    }
    Ok((email, name, password))
}

fn parse_user(text: &str) -> Result<UserId, Invalid> {
    text.parse().map_err(|_| Invalid::not_found("userId", "user"))
}

/// Refuses who is no admin any more. Locks both rows in the order of their ids: of two admins who take each other's role
/// at the same time the second one finds that theirs is gone, so that one admin always remains.
async fn require_admin_in(tx: &Tx, admin: UserId, user: UserId) -> Result<(), AccountError> {
    let both = users::Entity::find().filter(users::Column::Id.is_in([admin, user])).order_by_asc(users::Column::Id);
    let rows = both.lock_exclusive().all(&**tx).await?;
    let acts = rows.iter().any(|row| row.id == admin && row.is_admin && row.suspended_at.is_none());
    if acts { Ok(()) } else { Err(Denied::Role("ADMIN").into()) }
}

/// Whether a user may still sign in with the password of this hash. Their row stays locked, so that a change of the
/// password comes before this transaction, and is seen here, or after it, and ends the session that it opens.
async fn is_current_in(tx: &Tx, user: UserId, hash: &str) -> Result<bool, sea_orm::DbErr> {
    let current = users::Entity::find_by_id(user)
        .filter(users::Column::PasswordHash.eq(hash))
        .filter(users::Column::SuspendedAt.is_null());
    Ok(current.lock_exclusive().one(&**tx).await?.is_some())
}

async fn set_password_in(tx: &Tx, user: UserId, hash: &str) -> Result<(), sea_orm::DbErr> {
    tx.query("UPDATE users SET password_hash = ? WHERE id = ? RETURNING 1", [hash.into(), user.into()]).await.map(drop)
}

fn too_many(refused: TooMany) -> AccountError {
    too_much(TooMuch::Failures, refused.retry_after)
}

fn too_much(what: TooMuch, retry_after: Duration) -> AccountError {
    let retry_after_ms = u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX);
    AccountError::TooMany { what, retry_after_ms }
}

fn password_fault(error: PasswordFault) -> AccountError {
    match error {
        PasswordFault::Busy => too_much(TooMuch::Hashing, Duration::from_secs(1)),
        other => InternalError::Unavailable(other.to_string()).into(),
    }
}

fn refresh_refused() -> AccountError {
    let message = "The refresh token is not valid, was used before or has expired. Sign in again.";
    Invalid::new(InvalidKind::InvalidCredentials, message, "refreshToken").into()
}
