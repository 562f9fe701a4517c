//! The merged schema: the parts that the domains contribute, and the types that span them.
//!
//! Together with the domains' `graphql.rs` files this is one layer: they may name the interfaces that stand here, as
//! they may name each other's types. [`contract`](crate) changes show in `schema.graphql`, which a test compares.

use std::sync::{Arc, OnceLock};

use async_graphql::{
    Context, MergedObject, MergedSubscription, Object, Schema as GraphqlSchema, SchemaBuilder, SimpleObject,
    ValidationMode,
};
use defaults::Defaults;
pub(crate) use loaders::Loaders;
pub use published::{graphcache, introspection, possible_types, sdl};

use crate::{
    accounts::{
        Accounts,
        graphql::{AccountMutation, AccountQuery},
    },
    claims::{
        Claims,
        graphql::{ClaimMutation, ClaimQuery},
        subscription::ClaimSubscription,
    },
    conversations::{
        Conversations,
        graphql::{ConversationMutation, ConversationQuery},
        presence::Presence,
        subscription::ConversationSubscription,
    },
    db::Db,
    files::{Files, graphql::FileMutation},
    graphql::{
        context::ContextExt,
        language::{InvalidSchema, Language},
        loader::Batches,
        nulls::Nulls,
        scalars::{DateTime, SCALARS},
    },
    jobs::{
        Jobs,
        graphql::{JobMutation, JobQuery},
        subscription::JobSubscription,
    },
    notifications::{
        Notifications,
        graphql::{NotificationMutation, NotificationSubscription},
    },
    realtime::Hub,
    wallet::{
        Wallets,
        graphql::{WalletMutation, WalletQuery},
        subscription::WalletSubscription,
    },
};

mod defaults;
pub mod event;
mod loaders;
pub mod node;
mod prices;
mod published;
pub mod user_errors;

/// Mutations of which one request may hold one: a second guess at a password, or a second movement of money, must not
/// ride along for the price of the first.
pub const SINGLE_MUTATIONS: &[&str] = &[
    "signUp",
    "signIn",
    "refreshSession",
    "changePassword",
    "deposit",
    "withdraw",
    "confirmTransaction",
    "postJob",
    "publishJob",
    "updateJob",
    "cancelJob",
    "approveDeliverable",
];

/// Subscriptions that show a state in place of events of the log: each is a stream on its own.
const STATES: [&str; 1] = ["presenceChanged"];

/// Whether a subscription with these root fields shows a state.
pub fn shows_state(root_fields: &[String]) -> bool {
    root_fields.iter().any(|field| STATES.contains(&field.as_str()))
}

/// Root fields that anybody may ask: what a replica may answer.
const PUBLIC_READS: [&str; 5] = ["jobs", "job", "skills", "node", "nodes"];
/// Root fields that read nothing, or only where the stream stands.
const BESIDE_READS: [&str; 5] = ["streamCursor", "rateLimit", "__typename", "__schema", "__type"];

/// Whether a query with these root fields reads what is public and nothing else. What is new is private until it is
/// listed.
pub fn is_public_read(root_fields: &[String]) -> bool {
    let is = |fields: &[&str], field: &String| fields.contains(&field.as_str());
    root_fields.iter().any(|field| is(&PUBLIC_READS, field))
        && root_fields.iter().all(|field| is(&PUBLIC_READS, field) || is(&BESIDE_READS, field))
}

/// Reads. Everything here is safe to repeat.
#[derive(Default, MergedObject)]
pub struct Query(
    AccountQuery,
    JobQuery,
    ClaimQuery,
    ConversationQuery,
    WalletQuery,
    node::NodeQuery,
    event::EventQuery,
    BudgetQuery,
);

/// Writes. Expected failures are in `errors`; unexpected ones are top-level GraphQL errors with `extensions.code`. The
/// answer to a mutation that changed something has `extensions.cursor`: a stream whose cursor is not less has shown the
/// change.
#[derive(Default, MergedObject)]
pub struct Mutation(
    AccountMutation,
    JobMutation,
    ClaimMutation,
    ConversationMutation,
    FileMutation,
    WalletMutation,
    NotificationMutation,
);

/// Live changes. `after` replays what was committed since that cursor, then goes live. A cursor older than the
/// retention ends the subscription with `extensions.code: CURSOR_EXPIRED`: refetch, then subscribe again. A cursor may also
/// come as `after` in the payload of `connection_init`, or in the header `Last-Event-ID`: the later one counts.
#[derive(Default, MergedSubscription)]
pub struct Subscription(
    JobSubscription,
    ClaimSubscription,
    ConversationSubscription,
    WalletSubscription,
    NotificationSubscription,
);

/// The executable schema.
pub type Schema = GraphqlSchema<Query, Mutation, Subscription>;

/// All that resolvers may ask for.
#[derive(Clone, Debug)]
pub struct Services {
    /// People.
    pub accounts: Accounts,
    /// Money.
    pub wallets: Wallets,
    /// Inboxes.
    pub notifications: Notifications,
    /// Jobs.
    pub jobs: Jobs,
    /// Claims.
    pub claims: Claims,
    /// What the sides of claims say to each other.
    pub conversations: Conversations,
    /// Who is there.
    pub presence: Presence,
    /// Files.
    pub files: Files,
    /// Live events.
    pub hub: Hub,
}

impl Services {
    /// The schema on these services, for any GraphQL server: `execute` and `execute_stream` need nothing else. An operation
    /// that brings no [`Scope`](crate::graphql::context::Scope) is that of an anonymous viewer and costs nothing; documents
    /// are neither weighed nor limited, which is what `operations` does in front of it.
    pub fn schema(&self) -> Schema {
        self.served(builder().extension(Nulls).extension(Defaults::new(self.clone())), ValidationMode::Strict)
    }

    /// The schema for prepared operations, which have all that resolvers ask for.
    pub(crate) fn full_schema(&self) -> Schema {
        self.served(builder().extension(Nulls), ValidationMode::Fast)
    }

    /// The same without [`Nulls`], whose hook at each field costs as much as most fields do. Where nothing fails both
    /// give the same answer; an answer with errors is not to be used.
    pub(crate) fn fast_schema(&self) -> Schema {
        self.served(builder(), ValidationMode::Fast)
    }

    fn served(&self, builder: SchemaBuilder<Query, Mutation, Subscription>, validation: ValidationMode) -> Schema {
        builder
            // Prepared documents are validated before they come here, by more rules than async-graphql has.
            .validation_mode(validation)
            .data(self.accounts.clone())
            .data(self.wallets.clone())
            .data(self.wallets.currency().clone())
            .data(self.notifications.clone())
            .data(self.jobs.clone())
            .data(self.claims.clone())
            .data(self.conversations.clone())
            .data(self.presence.clone())
            .data(self.files.clone())
            .data(self.hub.clone())
            .finish()
    }

    /// The same services on another view of the database, for one operation.
    #[must_use]
    pub fn on(&self, db: &Db) -> Self {
        Self {
            accounts: self.accounts.on(db),
            wallets: self.wallets.on(db),
            notifications: self.notifications.on(db),
            jobs: self.jobs.on(db),
            claims: self.claims.on(db),
            conversations: self.conversations.on(db),
            presence: self.presence.clone(),
            files: self.files.on(db),
            hub: self.hub.clone(),
        }
    }

    /// Gives an operation these services in place of the schema's, and loaders on them.
    pub fn serve(self: &Arc<Self>, request: async_graphql::Request) -> (async_graphql::Request, Batches) {
        self.load_for(
            request
                .data(self.accounts.clone())
                .data(self.wallets.clone())
                .data(self.notifications.clone())
                .data(self.jobs.clone())
                .data(self.claims.clone())
                .data(self.conversations.clone())
                .data(self.files.clone()),
        )
    }

    /// Gives an operation its own loaders. It must be driven by the batches that come with it.
    pub fn load_for(self: &Arc<Self>, request: async_graphql::Request) -> (async_graphql::Request, Batches) {
        let Loads { loaders, batches } = self.loads();
        (request.data(loaders), batches)
    }

    /// Loaders for several operations at the same time.
    pub fn loads(self: &Arc<Self>) -> Loads {
        let batches = Batches::default();
        Loads { loaders: Loaders::new(Arc::clone(self), batches.clone()), batches }
    }
}

/// Loaders that several operations use at the same time: what they look up meanwhile is batched over all of them. They
/// keep nothing, and what they look up is named by its keys alone, for every viewer.
pub struct Loads {
    loaders: Loaders,
    batches: Batches,
}

impl std::fmt::Debug for Loads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loads").finish_non_exhaustive()
    }
}

impl Loads {
    /// Gives an operation these loaders. It must run within [`Loads::drive`].
    pub fn given_to(&self, request: async_graphql::Request) -> async_graphql::Request {
        request.data(self.loaders.clone())
    }

    /// Runs the operations, and their batches whenever all of them wait.
    pub async fn drive<F: Future>(&self, operations: F) -> F::Output {
        self.batches.clone().drive(operations).await
    }
}

/// What documents are checked against. Made once for the process.
///
/// # Errors
///
/// The schema cannot be read: a mistake in this program.
pub fn language() -> Result<Arc<Language>, InvalidSchema> {
    static LANGUAGE: OnceLock<Arc<Language>> = OnceLock::new();
    if let Some(language) = LANGUAGE.get() {
        return Ok(Arc::clone(language));
    }
    let language = Arc::new(Language::new(sdl(), &SCALARS, prices::prices())?);
    Ok(Arc::clone(LANGUAGE.get_or_init(|| language)))
}

fn builder() -> SchemaBuilder<Query, Mutation, Subscription> {
    GraphqlSchema::build(Query::default(), Mutation::default(), Subscription::default())
        .register_output_type::<event::Event>()
        .register_output_type::<node::Node>()
        .register_output_type::<user_errors::UserError>()
}

/// Points left for this caller. Also sent as `RateLimit` response headers.
#[derive(SimpleObject)]
struct RateLimit {
    /// What this operation costs. At most, that is: so much is taken off before it runs. What the answer did not use is
    /// given back afterwards, and the `RateLimit` headers tell what is left then.
    cost: i32,
    /// Points of a full budget.
    limit: i32,
    /// Points left, this operation's highest cost already taken off.
    remaining: i32,
    /// When the budget is full again, if nothing more is spent.
    reset_at: DateTime,
}

#[derive(Default)]
struct BudgetQuery;

#[Object]
impl BudgetQuery {
    /// This caller's budget. Anonymous callers have one for each address, signed-in ones for each account.
    async fn rate_limit(&self, ctx: &Context<'_>) -> Option<RateLimit> {
        let (budget, began_at) = ctx.scope().budget();
        let budget = budget?;
        let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        Some(RateLimit {
            cost: number(budget.cost),
            limit: number(budget.limit),
            remaining: number(budget.remaining),
            reset_at: (began_at + budget.reset_after).into(),
        })
    }
}
