//! People in the API: `User`, `Skill`, signing in and out, and what admins do with accounts.

use std::{collections::HashMap, sync::Arc};

use async_graphql::{
    Context, Enum, Error, ID, InputObject, MaybeUndefined, Object, Result, SimpleObject, dataloader::Loader,
};

use super::{
    AccountError, Accounts,
    model::{Skill, UserCard},
    service::{ProfilePatch, SignUp},
};
use crate::{
    auth::{
        actor::{Actor, Principal, Roles},
        sessions::TokenPair,
    },
    claims::{
        Claims,
        graphql::{ClaimConnection, ClaimStatus},
        service::ClaimScope,
    },
    error::Fault,
    graphql::{
        connections::PageArguments,
        context::{ContextExt, denied},
        errors::{ErrorCode, fault},
        patch::{clearable, not_null},
        scalars::{DateTime, Url},
        user_errors::{InputError, TooManyAttemptsError},
    },
    ids::UserId,
    jobs::{
        Jobs,
        graphql::{JobConnection, JobStatus},
    },
    notifications::{Notifications, graphql::NotificationConnection},
    schema::{Loaders, user_errors::UserError},
    user_errors,
    wallet::{Wallets, graphql::WalletObject, model::wallet_of},
};

/// What an account may do. One account may hold several roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(crate) enum Role {
    Client,
    Freelancer,
    Admin,
}

/// Roles one may take at sign-up. ADMIN cannot be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(crate) enum SignUpRole {
    Client,
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
    pub(crate) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }

    async fn display_name(&self) -> &str {
        &self.0.display_name
    }

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

    async fn skills(&self, ctx: &Context<'_>) -> Result<Vec<SkillObject>> {
        let skills = Box::pin(ctx.get::<Loaders>().accounts().load_one(SkillsOf(self.0.id))).await?;
        Ok(skills.unwrap_or_default().into_iter().map(SkillObject).collect())
    }

    async fn completed_job_count(&self) -> i32 {
        self.0.completed_job_count
    }

    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// *Private*: the account itself and admins; null for others.
    async fn email(&self, ctx: &Context<'_>) -> Result<Option<String>> {
        Ok(Box::pin(ctx.get::<Accounts>().email(ctx.actor(), self.0.id)).await?)
    }

    /// *Private*: the account itself and admins; null for others.
    async fn wallet(&self, ctx: &Context<'_>) -> Result<Option<WalletObject>> {
        let wallet = Box::pin(ctx.get::<Wallets>().find(ctx.actor(), wallet_of(self.0.id))).await?;
        Ok(wallet.map(WalletObject::from))
    }

    /// *Private*. My Jobs, client side: jobs this user posted, drafts included.
    async fn posted_jobs(
        &self,
        ctx: &Context<'_>,
        status: Option<Vec<JobStatus>>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Option<Box<JobConnection>>> {
        if !self.shows_private_fields(ctx) {
            return Ok(None);
        }
        let request = PageArguments { first, after, last, before }.nested()?;
        let statuses: Vec<_> = status.into_iter().flatten().map(Into::into).collect();
        let (jobs, client) = (ctx.get::<Jobs>(), self.0.id);
        let page = async move {
            let page = jobs.page_of_client(client, &statuses, request).await?;
            Ok(Some(Box::new(JobConnection::of_client(page, client, statuses))))
        };
        Box::pin(page).await
    }

    /// *Private*. My Jobs, freelancer side: claims this user holds or held.
    async fn claims(
        &self,
        ctx: &Context<'_>,
        status: Option<Vec<ClaimStatus>>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Option<Box<ClaimConnection>>> {
        if !self.shows_private_fields(ctx) {
            return Ok(None);
        }
        let request = PageArguments { first, after, last, before }.nested()?;
        let statuses: Vec<_> = status.into_iter().flatten().map(Into::into).collect();
        let scope = ClaimScope { freelancer: Some(self.0.id), job: None };
        let claims = ctx.get::<Claims>();
        let page = async move {
            let page = claims.page(scope, &statuses, request).await?;
            Ok(Some(Box::new(ClaimConnection::new(page, scope, statuses))))
        };
        Box::pin(page).await
    }

    /// *Private*. Durable inbox: every notification, read or not, whether or not a socket was open.
    async fn notifications(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(false)")] unread_only: Option<bool>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Option<Box<NotificationConnection>>> {
        if !self.shows_private_fields(ctx) {
            return Ok(None);
        }
        let request = PageArguments { first, after, last, before }.nested()?;
        let page = ctx.get::<Notifications>().page(self.0.id, unread_only == Some(true), request);
        let page = Box::pin(page).await?;
        Ok(Some(Box::new(NotificationConnection::new(page, self.0.id))))
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
    pub(crate) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }

    async fn slug(&self) -> &str {
        &self.0.slug
    }

    async fn name(&self) -> &str {
        &self.0.name
    }
}

/// Batches look-ups of people.
pub(crate) struct AccountLoader(pub(crate) Accounts);

/// Asks for a user's skills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SkillsOf(pub(crate) UserId);

impl Loader<UserId> for AccountLoader {
    type Value = UserCard;
    type Error = Arc<Fault>;

    async fn load(&self, keys: &[UserId]) -> Result<HashMap<UserId, UserCard>, Arc<Fault>> {
        self.0.cards(keys).await.map_err(Arc::new)
    }
}

impl Loader<SkillsOf> for AccountLoader {
    type Value = Vec<Skill>;
    type Error = Arc<Fault>;

    async fn load(&self, keys: &[SkillsOf]) -> Result<HashMap<SkillsOf, Vec<Skill>>, Arc<Fault>> {
        let users: Vec<UserId> = keys.iter().map(|key| key.0).collect();
        let skills = self.0.skills_of(&users).await.map_err(Arc::new)?;
        Ok(skills.into_iter().map(|(user, skills)| (SkillsOf(user), skills)).collect())
    }
}

/// A user who must exist, since something refers to them.
pub(crate) async fn user(ctx: &Context<'_>, id: UserId) -> Result<UserObject> {
    let card = Box::pin(ctx.get::<Loaders>().accounts().load_one(id)).await?;
    Ok(card.ok_or_else(|| Fault::corrupt(format!("{id} is missing")))?.into())
}

impl AccountError {
    /// How the API tells it: as data where a person can act on it, else as a top-level error.
    pub(crate) fn outward(self) -> Result<UserError, Error> {
        match self {
            Self::Denied(refused) => Err(denied(refused)),
            Self::Invalid(invalid) => Ok(InputError::from(invalid).into()),
            Self::TooMany { retry_after_ms } => Ok(TooManyAttemptsError::new(self.to_string(), retry_after_ms).into()),
            Self::Fault(failed) => Err(fault(failed)),
        }
    }
}

user_errors! {
    /// Why signing in, signing up or refreshing did nothing.
    pub(crate) enum AuthError { InputError, TooManyAttemptsError }
}

/// For payloads whose only expected failure is a bad input.
fn input_error(error: AccountError) -> Result<InputError, Error> {
    match error.outward()? {
        UserError::InputError(error) => Ok(error),
        _ => Err(ErrorCode::RateLimited.error("Too many attempts. Try again in a moment.")),
    }
}

/// A token pair. `accessToken` goes in `Authorization: Bearer` or in `connectionParams.Authorization`.
#[derive(SimpleObject)]
#[graphql(name = "Session")]
pub(crate) struct SessionObject {
    access_token: String,
    access_token_expires_at: DateTime,
    refresh_token: String,
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

/// New account.
#[derive(InputObject)]
pub(crate) struct SignUpInput {
    email: String,
    password: String,
    display_name: String,
    #[graphql(default_with = "vec![SignUpRole::Freelancer]")]
    roles: Vec<SignUpRole>,
}

/// Existing account.
#[derive(InputObject)]
pub(crate) struct SignInInput {
    email: String,
    password: String,
}

/// Trade a refresh token for a new pair. Each token works once: for 10 s after its first use it gives the same new refresh
/// token again, as long as that one has not been used; any other reuse ends the whole session family.
#[derive(InputObject)]
pub(crate) struct RefreshSessionInput {
    refresh_token: String,
}

/// Change the password. Ends all other sessions and their sockets at once, on every node; the session that this is sent
/// from goes on, with its tokens and its sockets.
#[derive(InputObject)]
pub(crate) struct ChangePasswordInput {
    current_password: String,
    new_password: String,
}

/// Fields left out stay as they are.
#[derive(InputObject)]
pub(crate) struct UpdateProfileInput {
    display_name: MaybeUndefined<String>,
    avatar_url: MaybeUndefined<Url>,
    skills: MaybeUndefined<Vec<String>>,
}

/// Roles of an account.
#[derive(InputObject)]
pub(crate) struct SetUserRolesInput {
    user_id: ID,
    roles: Vec<Role>,
}

/// Shut an account out, or let it in again; ends its sessions and sockets.
#[derive(InputObject)]
pub(crate) struct SetUserSuspendedInput {
    user_id: ID,
    suspended: bool,
    reason: String,
}

/// Result of `signUp`.
#[derive(SimpleObject)]
pub(crate) struct SignUpPayload {
    session: Option<SessionObject>,
    user: Option<UserObject>,
    errors: Vec<AuthError>,
}

/// Result of `signIn`.
#[derive(SimpleObject)]
pub(crate) struct SignInPayload {
    session: Option<SessionObject>,
    user: Option<UserObject>,
    errors: Vec<AuthError>,
}

/// Result of `refreshSession`.
#[derive(SimpleObject)]
pub(crate) struct RefreshSessionPayload {
    session: Option<SessionObject>,
    user: Option<UserObject>,
    errors: Vec<AuthError>,
}

/// Result of `signOut`.
#[derive(SimpleObject)]
pub(crate) struct SignOutPayload {
    errors: Vec<AuthError>,
}

/// Result of `changePassword`.
#[derive(SimpleObject)]
pub(crate) struct ChangePasswordPayload {
    /// New tokens of the same session. Those that the session has stay good.
    session: Option<SessionObject>,
    viewer: Option<UserObject>,
    errors: Vec<AuthError>,
}

/// Result of `updateProfile`.
#[derive(SimpleObject)]
pub(crate) struct UpdateProfilePayload {
    viewer: Option<UserObject>,
    errors: Vec<InputError>,
}

/// Result of `setUserRoles`.
#[derive(SimpleObject)]
pub(crate) struct SetUserRolesPayload {
    user: Option<UserObject>,
    errors: Vec<InputError>,
}

/// Result of `setUserSuspended`.
#[derive(SimpleObject)]
pub(crate) struct SetUserSuspendedPayload {
    user: Option<UserObject>,
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
        Err(error) => (None, None, vec![error.outward()?.try_into()?]),
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

    /// The skill vocabulary.
    async fn skills(
        &self,
        ctx: &Context<'_>,
        prefix: Option<String>,
        #[graphql(default = 20)] first: i32,
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
    /// Anonymous.
    async fn sign_up(&self, ctx: &Context<'_>, input: SignUpInput) -> Result<Option<SignUpPayload>> {
        let holds = |role| input.roles.contains(&role);
        let roles =
            Roles { client: holds(SignUpRole::Client), freelancer: holds(SignUpRole::Freelancer), admin: false };
        let SignUpInput { email, password, display_name, .. } = input;
        let command = SignUp { email, password, display_name, roles };
        let (session, user, errors) = opened(ctx, ctx.get::<Accounts>().sign_up(command, ctx.address()).await)?;
        Ok(Some(SignUpPayload { session, user, errors }))
    }

    /// Anonymous. The same answer and the same time for an unknown email and a wrong password.
    async fn sign_in(&self, ctx: &Context<'_>, input: SignInInput) -> Result<Option<SignInPayload>> {
        let done = ctx.get::<Accounts>().sign_in(&input.email, &input.password, ctx.address()).await;
        let (session, user, errors) = opened(ctx, done)?;
        Ok(Some(SignInPayload { session, user, errors }))
    }

    /// Anonymous.
    async fn refresh_session(
        &self,
        ctx: &Context<'_>,
        input: RefreshSessionInput,
    ) -> Result<Option<RefreshSessionPayload>> {
        let done = ctx.get::<Accounts>().refresh(&input.refresh_token, ctx.address()).await;
        let (session, user, errors) = opened(ctx, done)?;
        Ok(Some(RefreshSessionPayload { session, user, errors }))
    }

    /// Ends this session, its refresh tokens and its open sockets.
    async fn sign_out(&self, ctx: &Context<'_>) -> Result<Option<SignOutPayload>> {
        let errors = match ctx.get::<Accounts>().sign_out(ctx.actor()).await {
            Ok(()) => Vec::new(),
            Err(error) => vec![error.outward()?.try_into()?],
        };
        Ok(Some(SignOutPayload { errors }))
    }

    /// Any signed-in user.
    async fn change_password(
        &self,
        ctx: &Context<'_>,
        input: ChangePasswordInput,
    ) -> Result<Option<ChangePasswordPayload>> {
        let ChangePasswordInput { current_password, new_password } = input;
        let done = ctx.get::<Accounts>().change_password(ctx.actor(), &current_password, &new_password).await;
        let (session, viewer, errors) = opened(ctx, done)?;
        Ok(Some(ChangePasswordPayload { session, viewer, errors }))
    }

    /// Any signed-in user.
    async fn update_profile(
        &self,
        ctx: &Context<'_>,
        input: UpdateProfileInput,
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

    /// Admin.
    async fn set_user_roles(&self, ctx: &Context<'_>, input: SetUserRolesInput) -> Result<Option<SetUserRolesPayload>> {
        let holds = |role| input.roles.contains(&role);
        let roles =
            Roles { client: holds(Role::Client), freelancer: holds(Role::Freelancer), admin: holds(Role::Admin) };
        let (user, errors) = changed(ctx.get::<Accounts>().set_roles(ctx.actor(), &input.user_id, roles).await)?;
        Ok(Some(SetUserRolesPayload { user, errors }))
    }

    /// Admin.
    async fn set_user_suspended(
        &self,
        ctx: &Context<'_>,
        input: SetUserSuspendedInput,
    ) -> Result<Option<SetUserSuspendedPayload>> {
        let SetUserSuspendedInput { user_id, suspended, reason } = input;
        let done = ctx.get::<Accounts>().set_suspended(ctx.actor(), &user_id, suspended, &reason).await;
        let (user, errors) = changed(done)?;
        Ok(Some(SetUserSuspendedPayload { user, errors }))
    }
}
