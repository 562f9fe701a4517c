//! Global object identification: any object by its id, for those who may see it.

use async_graphql::{Context, ID, Interface, Object, Result, futures_util::future::try_join_all};

use crate::{
    accounts::{
        Accounts,
        graphql::{SkillObject, UserObject},
    },
    claims::{
        Claims,
        graphql::{ClaimObject, DeliverableObject},
    },
    graphql::{context::ContextExt, errors::ErrorCode},
    ids::{ClaimId, DeliverableId, JobId, NotificationId, SkillId, TransactionId, TypedId, UserId, WalletId},
    jobs::graphql::{JobObject, visible_job},
    notifications::{Notifications, graphql::NotificationObject},
    wallet::{
        Wallets,
        graphql::{TransactionObject, WalletObject},
    },
};

/// An object that can be refetched by its opaque, globally unique, permanent id.
#[derive(Interface)]
#[graphql(field(name = "id", ty = "ID", desc = "Opaque. Never parse it; never build it by hand."))]
pub(crate) enum Node {
    User(UserObject),
    Skill(SkillObject),
    Job(JobObject),
    Claim(ClaimObject),
    Deliverable(DeliverableObject),
    Wallet(WalletObject),
    Transaction(TransactionObject),
    Notification(NotificationObject),
}

/// Refetching.
#[derive(Default)]
pub(crate) struct NodeQuery;

#[Object]
impl NodeQuery {
    /// Refetch any object. Null when it does not exist or the viewer may not see it.
    async fn node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The id of any object that implements `Node`.")] id: ID,
    ) -> Result<Option<Node>> {
        find(ctx, &id).await
    }

    /// Refetch several, in the order asked; at most 100.
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Up to 100 ids of objects that implement `Node`.")] ids: Vec<ID>,
    ) -> Result<Vec<Option<Node>>> {
        if ids.len() > 100 {
            return Err(
                ErrorCode::BadUserInput.error("ids must name at most 100 objects; ask for the rest separately.")
            );
        }
        try_join_all(ids.iter().map(|id| find(ctx, id))).await
    }
}

/// The object with that id, by the same checks as on its own path.
async fn find(ctx: &Context<'_>, id: &str) -> Result<Option<Node>> {
    let Some((prefix, _)) = id.split_once('_') else { return Ok(None) };
    Ok(match prefix {
        UserId::PREFIX => match id.parse::<UserId>() {
            Ok(id) => ctx.get::<Accounts>().card(id).await?.map(|card| Node::User(card.into())),
            Err(_) => None,
        },
        SkillId::PREFIX => match id.parse() {
            Ok(id) => ctx.get::<Accounts>().skill(id).await?.map(|skill| Node::Skill(SkillObject(skill))),
            Err(_) => None,
        },
        JobId::PREFIX => match id.parse() {
            Ok(id) => visible_job(ctx, id).await?.map(Node::Job),
            Err(_) => None,
        },
        ClaimId::PREFIX => match id.parse() {
            Ok(id) => ctx.get::<Claims>().find(&ctx.actor(), id).await?.map(|(claim, _)| Node::Claim(claim.into())),
            Err(_) => None,
        },
        DeliverableId::PREFIX => match id.parse() {
            Ok(id) => {
                let deliverable = ctx.get::<Claims>().find_deliverable(&ctx.actor(), id).await?;
                deliverable.map(|deliverable| Node::Deliverable(deliverable.into()))
            }
            Err(_) => None,
        },
        WalletId::PREFIX => match id.parse() {
            Ok(id) => ctx.get::<Wallets>().find(ctx.actor(), id).await?.map(|wallet| Node::Wallet(wallet.into())),
            Err(_) => None,
        },
        TransactionId::PREFIX => match id.parse() {
            Ok(id) => {
                let transaction = ctx.get::<Wallets>().transaction(ctx.actor(), id).await?;
                transaction.map(|transaction| Node::Transaction(transaction.into()))
            }
            Err(_) => None,
        },
        NotificationId::PREFIX => match id.parse() {
            Ok(id) => {
                let notification = ctx.get::<Notifications>().find(&ctx.actor(), id).await?;
                notification.map(|notification| Node::Notification(notification.into()))
            }
            Err(_) => None,
        },
        _ => None,
    })
}
