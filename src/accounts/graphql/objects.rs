//! The types `User`, `Skill` and `Session`, and which fields of a user are for whom.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Object, Result, SimpleObject};

use crate::{
    accounts::model::{Skill, UserCard},
    auth::{actor::Roles, sessions::TokenPair},
    claims::{
        graphql::{ClaimConnection, ClaimStatus},
        list::{ClaimScope, ClaimsIn},
    },
    conversations::{
        graphql::{ConversationConnection, conversations_of},
        list::BY_ACTIVITY,
    },
    graphql::{
        connections::{DEFAULT_PAGE, PageArguments},
        context::ContextExt,
        scalars::{DateTime, Url},
    },
    ids::UserId,
    jobs::{
        graphql::{JobConnection, JobStatus},
        list::JobsOf,
    },
    notifications::{graphql::NotificationConnection, service::Inbox},
    schema::Loaders,
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

/// Asks for a user's skills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SkillsOf(pub(super) UserId);

/// Asks for a user's email.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct EmailOf(pub(super) UserId);

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

    /// *Private*: the account itself, and nobody else. What is said about the claims of both sides, newest activity first.
    async fn conversations(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many rows from the beginning, 1 to 100; 20 if neither `first` nor `last` is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor, which a row or `pageInfo` of the same list gave.")]
        after: Option<String>,
        #[graphql(desc = "How many rows from the end, 1 to 100. Give `first` or `last`, not both.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor, which a row or `pageInfo` of the same list gave.")]
        before: Option<String>,
    ) -> Result<Option<Box<ConversationConnection>>> {
        if !ctx.actor().is(self.0.id) {
            return Ok(None);
        }
        let request = PageArguments { first, after, last, before }.request(BY_ACTIVITY, Some(DEFAULT_PAGE))?;
        Ok(Some(Box::new(Box::pin(conversations_of(ctx, self.0.id, request)).await?)))
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
