//! Global object identification: any object by its id, for those who may see it.

use async_graphql::{Context, ID, Interface, Object, Result, futures_util::future::try_join_all};

use crate::{
    accounts::graphql::{SkillObject, UserObject, find_skill, find_user},
    claims::graphql::{ClaimObject, DeliverableObject, visible_claim, visible_deliverable, visible_file},
    conversations::graphql::{ConversationObject, MessageObject, visible_conversation, visible_message},
    files::graphql::FileObject,
    graphql::errors::ErrorCode,
    ids::{
        ClaimId, ConversationId, DeliverableId, FileId, JobId, MessageId, NotificationId, SkillId, TransactionId,
        TypedId, UserId, WalletId,
    },
    jobs::graphql::{JobObject, visible_job},
    notifications::graphql::{NotificationObject, visible_notification},
    wallet::graphql::{TransactionObject, WalletObject, visible_transaction, visible_wallet},
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
    Conversation(ConversationObject),
    Message(MessageObject),
    File(FileObject),
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

/// The object with that id, by the same checks as on its own path. Looked up by loaders: a hundred of a kind take as many
/// statements as one.
async fn find(ctx: &Context<'_>, id: &str) -> Result<Option<Node>> {
    let Some((prefix, _)) = id.split_once('_') else { return Ok(None) };
    // What cannot be an id of its kind is nothing.
    macro_rules! find {
        ($find:path, $node:path) => {
            match id.parse() {
                Ok(id) => Box::pin($find(ctx, id)).await?.map($node),
                Err(_) => None,
            }
        };
    }
    Ok(match prefix {
        UserId::PREFIX => find!(find_user, Node::User),
        SkillId::PREFIX => find!(find_skill, Node::Skill),
        JobId::PREFIX => find!(visible_job, Node::Job),
        ClaimId::PREFIX => find!(visible_claim, Node::Claim),
        DeliverableId::PREFIX => find!(visible_deliverable, Node::Deliverable),
        ConversationId::PREFIX => find!(visible_conversation, Node::Conversation),
        MessageId::PREFIX => find!(visible_message, Node::Message),
        FileId::PREFIX => find!(visible_file, Node::File),
        WalletId::PREFIX => find!(visible_wallet, Node::Wallet),
        TransactionId::PREFIX => find!(visible_transaction, Node::Transaction),
        NotificationId::PREFIX => find!(visible_notification, Node::Notification),
        _ => None,
    })
}
