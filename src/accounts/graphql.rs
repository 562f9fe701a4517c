//! People in the API: `User`, `Skill`, signing in and out, and what admins do with accounts.

use std::{collections::HashMap, sync::Arc};

use async_graphql::{Context, Enum, ID, InputObject, MaybeUndefined, Object, Result, SimpleObject, dataloader::Loader};

use super::{
    AccountError, Accounts,
    model::{Skill, UserCard},
    service::{ProfilePatch, SignUp},
    skills::SkillPatch,
};
use crate::{
    auth::{
        actor::{Actor, Principal, Roles},
        sessions::TokenPair,
    },
    claims::{
        Claims,
        graphql::{ClaimConnection, ClaimStatus},
        list::{ClaimScope, ClaimsIn},
    },
    error::InternalError,
    graphql::{
        connections::PageArguments,
        context::{ContextExt, denied},
        errors::{ErrorCode, fault},
        patch::{clearable, not_null},
        scalars::{DateTime, Url},
        user_errors::{InputError, TooManyAttemptsError},
    },
    ids::{SkillId, UserId},
    jobs::{
        graphql::{JobConnection, JobStatus},
        list::JobsOf,
    },
    notifications::{graphql::NotificationConnection, service::Inbox},
    schema::Loaders,
    user_errors,
    wallet::{
        graphql::{WalletObject, visible_wallet},
        model::wallet_of,
    },
};

/// What an account may do. One account may hold several roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(crate) enum Role {
    /// May post jobs and approve work.
    Client,
    /// May claim jobs and submit work.
    Freelancer,
    /// May settle transactions, set roles, suspend accounts and cancel OPEN jobs.
    Admin,
}

/// Roles one may take at sign-up. ADMIN cannot be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(crate) enum SignUpRole {
    /// Post jobs and pay for work.
    Client,
    /// Claim jobs and be paid for work.
    Freelancer,
}

/// A user in the API.
#[derive(Clone, Debug)]
pub(crate) struct UserObject(pub(crate) Arc<UserCard>);

impl From<UserCard> for UserObject {
    fn from(card: UserCard) -> Self {
        Self(Arc::new(card))
    }
}

/// A person on the marketplace. Everything but the fields marked *private* is public.
#[Object(name = "User")]
impl UserObject {
    /// Opaque, globally unique and permanent: pass it to `node(id:)`, and never parse it.
    pub(crate) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }

    /// The name that others see. Plain text: render it as untrusted.
    async fn display_name(&self) -> &str {
        &self.0.display_name
    }

    /// A picture of them; null without one. It lies on somebody else's server.
    async fn avatar_url(&self) -> Option<Url> {
        self.0.avatar_url.clone().map(Url)
    }

    /// ADMIN is shown to admins only.
    async fn roles(&self, ctx: &Context<'_>) -> Vec<Role> {
        let Roles { client, freelancer, admin } = self.0.roles;
        // The viewer is asked for only where it matters, so that what is the same for all stays shareable.
        let admin = admin && ctx.actor().is_admin();
        let held = [(Role::Client, client), (Role::Freelancer, freelancer), (Role::Admin, admin)];
        held.into_iter().filter_map(|(role, holds)| holds.then_some(role)).collect()
    }

    /// What they say they can do.
    async fn skills(&self, ctx: &Context<'_>) -> Result<Vec<SkillObject>> {
        let skills = Box::pin(ctx.get::<Loaders>().accounts().load_one(SkillsOf(self.0.id))).await?;
        Ok(skills.unwrap_or_default().into_iter().map(SkillObject).collect())
    }

    /// Jobs that were approved, as client or freelancer.
    async fn completed_job_count(&self) -> i32 {
        self.0.completed_job_count
    }

    /// When the account was opened.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// *Private*: the account itself and admins; null for others.
    async fn email(&self, ctx: &Context<'_>) -> Result<Option<String>> {
        if !self.shows_private_fields(ctx) {
            return Ok(None);
        }
        Ok(Box::pin(ctx.get::<Loaders>().accounts().load_one(EmailOf(self.0.id))).await?)
    }

    /// *Private*: the account itself and admins; null for others.
    async fn wallet(&self, ctx: &Context<'_>) -> Result<Option<WalletObject>> {
        visible_wallet(ctx, wallet_of(self.0.id)).await
    }

    /// *Private*. My Jobs, client side: jobs this user posted, drafts included.
    async fn posted_jobs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only jobs in one of these statuses; null or empty: any.")] status: Option<Vec<JobStatus>>,
        #[graphql(desc = "How many rows from the beginning, 1 to 100; 20 if neither `first` nor `last` is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor, which a row or `pageInfo` of the same list gave.")]
        after: Option<String>,
        #[graphql(desc = "How many rows from the end, 1 to 100. Give `first` or `last`, not both.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor, which a row or `pageInfo` of the same list gave.")]
        before: Option<String>,
    ) -> Result<Option<Box<JobConnection>>> {
        if !self.shows_private_fields(ctx) {
            return Ok(None);
        }
        let request = PageArguments { first, after, last, before }.nested()?;
        let statuses: Vec<_> = status.into_iter().flatten().map(Into::into).collect();
        let client = self.0.id;
        let wanted = JobsOf { client, statuses: statuses.clone(), request };
        let page = Box::pin(ctx.get::<Loaders>().jobs().load_one(wanted)).await?;
        Ok(page.map(|page| Box::new(JobConnection::of_client(page, client, statuses))))
    }

    /// *Private*. My Jobs, freelancer side: claims this user holds or held.
    async fn claims(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only claims in one of these statuses; null or empty: any.")] status: Option<Vec<ClaimStatus>>,
        #[graphql(desc = "How many rows from the beginning, 1 to 100; 20 if neither `first` nor `last` is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor, which a row or `pageInfo` of the same list gave.")]
        after: Option<String>,
        #[graphql(desc = "How many rows from the end, 1 to 100. Give `first` or `last`, not both.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor, which a row or `pageInfo` of the same list gave.")]
        before: Option<String>,
    ) -> Result<Option<Box<ClaimConnection>>> {
        if !self.shows_private_fields(ctx) {
            return Ok(None);
        }
        let request = PageArguments { first, after, last, before }.nested()?;
        let statuses: Vec<_> = status.into_iter().flatten().map(Into::into).collect();
        let scope = ClaimScope { freelancer: Some(self.0.id), job: None };
        let wanted = ClaimsIn { scope, statuses: statuses.clone(), request };
        let page = Box::pin(ctx.get::<Loaders>().claims().load_one(wanted)).await?;
        Ok(page.map(|page| Box::new(ClaimConnection::new(page, scope, statuses))))
    }

    /// *Private*. Durable inbox: every notification, read or not, whether or not a socket was open. One that was read is
    /// removed 90 days later, one that was not after a year, unless the server is set otherwise.
    async fn notifications(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(false)", desc = "True leaves out what was marked read.")] unread_only: Option<
            bool,
        >,
        #[graphql(desc = "How many rows from the beginning, 1 to 100; 20 if neither `first` nor `last` is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor, which a row or `pageInfo` of the same list gave.")]
        after: Option<String>,
        #[graphql(desc = "How many rows from the end, 1 to 100. Give `first` or `last`, not both.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor, which a row or `pageInfo` of the same list gave.")]
        before: Option<String>,
    ) -> Result<Option<Box<NotificationConnection>>> {
        if !self.shows_private_fields(ctx) {
            return Ok(None);
        }
        let request = PageArguments { first, after, last, before }.nested()?;
        let wanted = Inbox { user: self.0.id, unread_only: unread_only == Some(true), request };
        let page = Box::pin(ctx.get::<Loaders>().notifications().load_one(wanted)).await?;
        Ok(page.map(|page| Box::new(NotificationConnection::new(page, self.0.id))))
    }
}

impl UserObject {
    fn shows_private_fields(&self, ctx: &Context<'_>) -> bool {
        let actor = ctx.actor();
        actor.is(self.0.id) || actor.is_admin()
    }
}

/// A skill in the API.
#[derive(Clone, Debug)]
pub(crate) struct SkillObject(pub(crate) Skill);

/// A skill from the curated vocabulary.
#[Object(name = "Skill")]
impl SkillObject {
    /// Opaque, globally unique and permanent: pass it to `node(id:)`, and never parse it.
    pub(crate) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }

    /// The short name that filters and inputs take, e.g. `rust`.
    async fn slug(&self) -> &str {
        &self.0.slug
    }

    /// The name to show to people.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// True for one that cannot be given anew. It stays on what has it, and jobs can still be looked for by it.
    async fn retired(&self) -> bool {
        self.0.retired
    }
}

/// Batches look-ups of people.
pub(crate) struct AccountLoader(pub(crate) Accounts);

/// Asks for a user's skills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SkillsOf(pub(crate) UserId);

/// Asks for a user's email.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct EmailOf(UserId);

impl Loader<EmailOf> for AccountLoader {
    type Value = String;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[EmailOf]) -> Result<HashMap<EmailOf, String>, Arc<InternalError>> {
        let users: Vec<UserId> = keys.iter().map(|key| key.0).collect();
        let emails = self.0.emails(&users).await.map_err(Arc::new)?;
        Ok(emails.into_iter().map(|(user, email)| (EmailOf(user), email)).collect())
    }
}

impl Loader<SkillId> for AccountLoader {
    type Value = Skill;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[SkillId]) -> Result<HashMap<SkillId, Skill>, Arc<InternalError>> {
        self.0.skills_by_id(keys).await.map_err(Arc::new)
    }
}

impl Loader<UserId> for AccountLoader {
    type Value = UserCard;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[UserId]) -> Result<HashMap<UserId, UserCard>, Arc<InternalError>> {
        self.0.cards(keys).await.map_err(Arc::new)
    }
}

impl Loader<SkillsOf> for AccountLoader {
    type Value = Vec<Skill>;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[SkillsOf]) -> Result<HashMap<SkillsOf, Vec<Skill>>, Arc<InternalError>> {
        let users: Vec<UserId> = keys.iter().map(|key| key.0).collect();
        let skills = self.0.skills_of(&users).await.map_err(Arc::new)?;
        Ok(skills.into_iter().map(|(user, skills)| (SkillsOf(user), skills)).collect())
    }
}

/// A user who must exist, since something refers to them.
pub(crate) async fn user(ctx: &Context<'_>, id: UserId) -> Result<UserObject> {
    let card = Box::pin(ctx.get::<Loaders>().accounts().load_one(id)).await?;
    Ok(card.ok_or_else(|| InternalError::corrupt(format!("{id} is missing")))?.into())
}

/// A user by id, if there is one.
pub(crate) async fn find_user(ctx: &Context<'_>, id: UserId) -> Result<Option<UserObject>> {
    Ok(Box::pin(ctx.get::<Loaders>().accounts().load_one(id)).await?.map(Into::into))
}

/// A skill by id, if there is one.
pub(crate) async fn find_skill(ctx: &Context<'_>, id: SkillId) -> Result<Option<SkillObject>> {
    Ok(Box::pin(ctx.get::<Loaders>().accounts().load_one(id)).await?.map(SkillObject))
}

user_errors! {
    /// Why signing in, signing up or refreshing did nothing.
    pub(crate) enum AuthError { InputError, TooManyAttemptsError }
}

impl AuthError {
    /// How the API tells it: as data where a person can act on it, else as a top-level error.
    fn of(error: AccountError) -> Result<Self> {
        let message = error.to_string();
        match error {
            AccountError::Denied(refused) => Err(denied(refused)),
            AccountError::Invalid(invalid) => Ok(InputError::from(invalid).into()),
            AccountError::TooMany { retry_after_ms, .. } => {
                Ok(TooManyAttemptsError::new(message, retry_after_ms).into())
            }
            AccountError::InternalError(failed) => Err(fault(failed)),
        }
    }
}

/// For payloads whose only expected failure is a bad input.
fn input_error(error: AccountError) -> Result<InputError> {
    match AuthError::of(error)? {
        AuthError::InputError(error) => Ok(error),
        AuthError::TooManyAttemptsError(_) => {
            Err(ErrorCode::RateLimited.error("Too many attempts. Try again in a moment."))
        }
    }
}

/// A token pair. `accessToken` goes in `Authorization: Bearer` or in `connectionParams.Authorization`.
#[derive(SimpleObject)]
#[graphql(name = "Session")]
pub(crate) struct SessionObject {
    /// A signed token (JWT), good for 15 minutes unless the server is set otherwise.
    access_token: String,
    /// When the access token stops working; refresh before that.
    access_token_expires_at: DateTime,
    /// For `refreshSession`, once. Keep it secret.
    refresh_token: String,
    /// When the refresh token stops working; after that, sign in again. A refresh gives a later one, but none beyond the
    /// greatest age of a session, 90 days after its sign-in unless the server is set otherwise.
    refresh_token_expires_at: DateTime,
}

impl From<TokenPair> for SessionObject {
    fn from(pair: TokenPair) -> Self {
        Self {
            access_token: pair.access,
            access_token_expires_at: pair.access_expires_at.into(),
            refresh_token: pair.refresh,
            refresh_token_expires_at: pair.refresh_expires_at.into(),
        }
    }
}

/// New account. It is signed in at once.
#[derive(InputObject)]
pub(crate) struct SignUpInput {
    /// An email address of at most 254 bytes; one address is one account.
    email: String,
    /// 10 to 128 characters; very common passwords are refused.
    password: String,
    /// The name that others see: one line of 1 to 80 characters.
    display_name: String,
    /// What the account may do; one or both.
    #[graphql(default_with = "vec![SignUpRole::Freelancer]")]
    roles: Vec<SignUpRole>,
}

/// Existing account. A new session of it begins.
#[derive(InputObject)]
pub(crate) struct SignInInput {
    /// The account's email address; upper and lower case are the same.
    email: String,
    /// The account's password.
    password: String,
}

/// Trade a refresh token for a new pair. Each token works once; reuse ends the whole session family. But for 10 s after its
/// first use, and until the new one is used, it gives the same new refresh token again. A session that has reached its
/// greatest age is refused with `INVALID_CREDENTIALS`: sign in again.
#[derive(InputObject)]
pub(crate) struct RefreshSessionInput {
    /// The `refreshToken` of the latest pair.
    refresh_token: String,
}

/// Change the password; ends all other sessions and their sockets. The session that this is sent from goes on, with its
/// tokens and its sockets.
#[derive(InputObject)]
pub(crate) struct ChangePasswordInput {
    /// The password until now; a wrong one counts as a failed attempt at signing in.
    current_password: String,
    /// 10 to 128 characters; very common passwords are refused.
    new_password: String,
}

/// Fields left out stay as they are.
#[derive(InputObject)]
pub(crate) struct UpdateProfileInput {
    /// The name that others see: one line of 1 to 80 characters; null is refused.
    display_name: MaybeUndefined<String>,
    /// An `https:` address of at most 2,048 bytes; null removes the picture.
    avatar_url: MaybeUndefined<Url>,
    /// Slugs from the query `skills`, at most 20; they take the place of the old ones. Null is refused.
    skills: MaybeUndefined<Vec<String>>,
}

/// Roles of an account.
#[derive(InputObject)]
pub(crate) struct SetUserRolesInput {
    /// Whose roles. An admin cannot take ADMIN from themselves.
    user_id: ID,
    /// All roles that the account has from now on. Its sockets are closed, to come back with these. CLIENT cannot be taken
    /// while jobs of the account hold escrow, nor FREELANCER while it holds live claims: see `interveneInJob`.
    roles: Vec<Role>,
}

/// Shut an account out, or let it in again; ends its sessions and sockets. Its OPEN jobs leave all lists and cannot be
/// claimed meanwhile (`Job.withheld`); everybody is told by `jobUpdated`, within moments.
#[derive(InputObject)]
pub(crate) struct SetUserSuspendedInput {
    /// Which account; not the caller's own.
    user_id: ID,
    /// True shuts the account out, false lets it in again.
    suspended: bool,
    /// Kept in the audit log: 1 to 500 characters.
    reason: String,
}

/// A new word of the vocabulary.
#[derive(InputObject)]
pub(crate) struct CreateSkillInput {
    /// The short name that filters and inputs take: 1 to 60 of the letters a to z, digits, and hyphens between them. It
    /// never changes.
    slug: String,
    /// The name to show to people: one line of 1 to 60 characters.
    name: String,
}

/// Rename, merge or retire a skill. Fields left out or null stay as they are.
#[derive(InputObject)]
pub(crate) struct UpdateSkillInput {
    /// The skill to change, as `Skill.id` gives it.
    id: ID,
    /// The name to show to people from now on; events of before keep the old one.
    name: Option<String>,
    /// The skill that stands in its place from now on, for good: whatever has this one is read as having that one, and its
    /// slug means that one wherever it is given. It is retired by this. A subscription that is open goes on with the word
    /// that its filter named.
    merge_into: Option<ID>,
    /// True: it stays on what has it and cannot be given anew. False takes that back.
    retired: Option<bool>,
}

/// Result of `createSkill` and `updateSkill`.
#[derive(SimpleObject)]
pub(crate) struct SkillPayload {
    /// The skill after this step; null if nothing was done.
    skill: Option<SkillObject>,
    /// Why nothing was done; empty after a success.
    errors: Vec<InputError>,
}

impl SkillPayload {
    fn of(done: Result<Skill, AccountError>) -> Result<Option<Self>> {
        Ok(Some(match done {
            Ok(skill) => Self { skill: Some(SkillObject(skill)), errors: Vec::new() },
            Err(error) => Self { skill: None, errors: vec![input_error(error)?] },
        }))
    }
}

/// Result of `signUp`.
#[derive(SimpleObject)]
pub(crate) struct SignUpPayload {
    /// The token pair; null if nothing was done.
    session: Option<SessionObject>,
    /// The account that is signed in now; null if nothing was done.
    user: Option<UserObject>,
    /// Why nothing was done; empty after a success.
    errors: Vec<AuthError>,
}

/// Result of `signIn`.
#[derive(SimpleObject)]
pub(crate) struct SignInPayload {
    /// The token pair; null if nothing was done.
    session: Option<SessionObject>,
    /// The account that is signed in now; null if nothing was done.
    user: Option<UserObject>,
    /// Why nothing was done; empty after a success.
    errors: Vec<AuthError>,
}

/// Result of `refreshSession`.
#[derive(SimpleObject)]
pub(crate) struct RefreshSessionPayload {
    /// The token pair; null if nothing was done.
    session: Option<SessionObject>,
    /// The account that is signed in now; null if nothing was done.
    user: Option<UserObject>,
    /// Why nothing was done; empty after a success.
    errors: Vec<AuthError>,
}

/// Result of `signOut`.
#[derive(SimpleObject)]
pub(crate) struct SignOutPayload {
    /// Why nothing was done; empty after a success.
    errors: Vec<AuthError>,
}

/// Result of `changePassword`.
#[derive(SimpleObject)]
pub(crate) struct ChangePasswordPayload {
    /// New tokens of the same session; null if nothing was done. Those that the session has stay good.
    session: Option<SessionObject>,
    /// The account whose password was changed; null if nothing was done.
    viewer: Option<UserObject>,
    /// Why nothing was done; empty after a success.
    errors: Vec<AuthError>,
}

/// Result of `updateProfile`.
#[derive(SimpleObject)]
pub(crate) struct UpdateProfilePayload {
    /// The caller after the change; null if nothing was done.
    viewer: Option<UserObject>,
    /// Why nothing was done; empty after a success.
    errors: Vec<InputError>,
}

/// Result of `setUserRoles`.
#[derive(SimpleObject)]
pub(crate) struct SetUserRolesPayload {
    /// The account after the change; null if nothing was done.
    user: Option<UserObject>,
    /// Why nothing was done; empty after a success.
    errors: Vec<InputError>,
}

/// Result of `setUserSuspended`.
#[derive(SimpleObject)]
pub(crate) struct SetUserSuspendedPayload {
    /// The account after the change; null if nothing was done.
    user: Option<UserObject>,
    /// Why nothing was done; empty after a success.
    errors: Vec<InputError>,
}

/// What came of opening or refreshing a session, in the parts of its payload.
type Opened = (Option<SessionObject>, Option<UserObject>, Vec<AuthError>);

/// From here on the payload is the account's own: it has just proved who it is.
fn opened(ctx: &Context<'_>, done: Result<(UserCard, TokenPair), AccountError>) -> Result<Opened> {
    Ok(match done {
        Ok((card, pair)) => {
            let TokenPair { session, access_expires_at: expires_at, .. } = pair;
            let principal = Principal { user: card.id, session, roles: card.roles, expires_at, commits: None };
            ctx.scope().prove(ctx, Actor::User(principal));
            (Some(pair.into()), Some(card.into()), Vec::new())
        }
        Err(error) => (None, None, vec![AuthError::of(error)?]),
    })
}

fn changed(done: Result<UserCard, AccountError>) -> Result<(Option<UserObject>, Vec<InputError>)> {
    Ok(match done {
        Ok(card) => (Some(card.into()), Vec::new()),
        Err(error) => (None, vec![input_error(error)?]),
    })
}

/// Reads of people.
#[derive(Default)]
pub(crate) struct AccountQuery;

#[Object]
impl AccountQuery {
    /// The signed-in user; null when anonymous.
    async fn viewer(&self, ctx: &Context<'_>) -> Result<Option<UserObject>> {
        match ctx.actor().user() {
            Some(id) => user(ctx, id).await.map(Some),
            None => Ok(None),
        }
    }

    /// The skill vocabulary. Public; sorted by name. Retired skills are left out.
    async fn skills(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Only skills whose slug or name begins with this, in any case; at most 100 bytes. Null: all."
        )]
        prefix: Option<String>,
        #[graphql(default = 20, desc = "How many, 1 to 100.")] first: i32,
    ) -> Result<Option<Vec<SkillObject>>> {
        let first = u64::try_from(first).ok().filter(|first| (1..=100).contains(first));
        let first = first.ok_or_else(|| ErrorCode::BadUserInput.error("first must be between 1 and 100."))?;
        if prefix.as_ref().is_some_and(|prefix| prefix.len() > 100) {
            return Err(ErrorCode::BadUserInput.error("prefix must have at most 100 bytes."));
        }
        let skills = ctx.get::<Accounts>().skills(prefix.as_deref(), first).await?;
        Ok(Some(skills.into_iter().map(SkillObject).collect()))
    }
}

/// Writes of people.
#[derive(Default)]
pub(crate) struct AccountMutation;

#[Object]
impl AccountMutation {
    /// Anonymous. Opens an account and signs it in.
    async fn sign_up(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The account to open.")] input: SignUpInput,
    ) -> Result<Option<SignUpPayload>> {
        let holds = |role| input.roles.contains(&role);
        let roles =
            Roles { client: holds(SignUpRole::Client), freelancer: holds(SignUpRole::Freelancer), admin: false };
        let SignUpInput { email, password, display_name, .. } = input;
        let command = SignUp { email, password, display_name, roles };
        let (session, user, errors) = opened(ctx, ctx.get::<Accounts>().sign_up(command, ctx.address()).await)?;
        Ok(Some(SignUpPayload { session, user, errors }))
    }

    /// Anonymous. The same answer and the same time for an unknown email and a wrong password.
    async fn sign_in(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose account, and its password.")] input: SignInInput,
    ) -> Result<Option<SignInPayload>> {
        let done = ctx.get::<Accounts>().sign_in(&input.email, &input.password, ctx.address()).await;
        let (session, user, errors) = opened(ctx, done)?;
        Ok(Some(SignInPayload { session, user, errors }))
    }

    /// Anonymous. The next token pair of a session.
    async fn refresh_session(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The refresh token to trade in.")] input: RefreshSessionInput,
    ) -> Result<Option<RefreshSessionPayload>> {
        let done = ctx.get::<Accounts>().refresh(&input.refresh_token, ctx.address()).await;
        let (session, user, errors) = opened(ctx, done)?;
        Ok(Some(RefreshSessionPayload { session, user, errors }))
    }

    /// Ends this session, its refresh tokens and its open sockets.
    async fn sign_out(&self, ctx: &Context<'_>) -> Result<Option<SignOutPayload>> {
        let errors = match ctx.get::<Accounts>().sign_out(ctx.actor()).await {
            Ok(()) => Vec::new(),
            Err(error) => vec![AuthError::of(error)?],
        };
        Ok(Some(SignOutPayload { errors }))
    }

    /// Any signed-in user. Sets another password for the caller's own account.
    async fn change_password(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The old and the new password.")] input: ChangePasswordInput,
    ) -> Result<Option<ChangePasswordPayload>> {
        let ChangePasswordInput { current_password, new_password } = input;
        let done = ctx.get::<Accounts>().change_password(ctx.actor(), &current_password, &new_password).await;
        let (session, viewer, errors) = opened(ctx, done)?;
        Ok(Some(ChangePasswordPayload { session, viewer, errors }))
    }

    /// Any signed-in user. Changes what others see of the caller.
    async fn update_profile(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to change about the caller's profile.")] input: UpdateProfileInput,
    ) -> Result<Option<UpdateProfilePayload>> {
        let patch = (|| {
            Ok(ProfilePatch {
                display_name: not_null("displayName", input.display_name)?,
                avatar_url: clearable(input.avatar_url).map(|url| url.map(|url| url.0)),
                skills: not_null("skills", input.skills)?,
            })
        })();
        let done = match patch {
            Ok(patch) => ctx.get::<Accounts>().update_profile(ctx.actor(), patch).await,
            Err(invalid) => match ctx.actor().signed_in() {
                Ok(_) => Err(AccountError::Invalid(invalid)),
                Err(refused) => Err(AccountError::Denied(refused)),
            },
        };
        let (viewer, errors) = changed(done)?;
        Ok(Some(UpdateProfilePayload { viewer, errors }))
    }

    /// Admin. Gives and takes roles; the account's sockets come back with the new ones.
    async fn set_user_roles(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose roles, and which.")] input: SetUserRolesInput,
    ) -> Result<Option<SetUserRolesPayload>> {
        let holds = |role| input.roles.contains(&role);
        let roles =
            Roles { client: holds(Role::Client), freelancer: holds(Role::Freelancer), admin: holds(Role::Admin) };
        let dependents = ctx.get::<Claims>();
        let done = ctx.get::<Accounts>().set_roles(ctx.actor(), &input.user_id, roles, dependents).await;
        let (user, errors) = changed(done)?;
        Ok(Some(SetUserRolesPayload { user, errors }))
    }

    /// Admin. Shuts an account out at once, or lets it in again.
    async fn set_user_suspended(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whom to shut out or let in, and why.")] input: SetUserSuspendedInput,
    ) -> Result<Option<SetUserSuspendedPayload>> {
        let SetUserSuspendedInput { user_id, suspended, reason } = input;
        let done = ctx.get::<Accounts>().set_suspended(ctx.actor(), &user_id, suspended, &reason).await;
        let (user, errors) = changed(done)?;
        Ok(Some(SetUserSuspendedPayload { user, errors }))
    }

    /// Admin. Adds a word to the skill vocabulary.
    async fn create_skill(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The word to add.")] input: CreateSkillInput,
    ) -> Result<Option<SkillPayload>> {
        SkillPayload::of(ctx.get::<Accounts>().create_skill(ctx.actor(), &input.slug, &input.name).await)
    }

    /// Admin. Renames a skill, merges it into another one, or retires it. Emits nothing.
    async fn update_skill(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which skill, and what becomes of it.")] input: UpdateSkillInput,
    ) -> Result<Option<SkillPayload>> {
        let UpdateSkillInput { id, name, merge_into, retired } = input;
        let patch = SkillPatch { name, merge_into: merge_into.map(|id| id.0), retired };
        SkillPayload::of(ctx.get::<Accounts>().update_skill(ctx.actor(), &id, patch).await)
    }
}
