//! Look-ups of conversations and messages, batched for each request, and the check of who may see what they find.
//!
//! The sides of a conversation always may. An admin may while its job is DISPUTED, and each time that is written down
//! before anything is shown: at each of the ways that lead to a conversation, which all end in [`shown`].

use std::{collections::HashMap, sync::Arc};

use async_graphql::{Context, Result, dataloader::Loader};

use super::{
    connections::{ConversationConnection, MessageConnection},
    objects::{ConversationObject, MessageObject},
};
use crate::{
    claims::model::Claim,
    conversations::{
        Conversations,
        list::{ConversationsOf, MessagesOf, Numbered},
        model::{Conversation, Message, claim_of, conversation_of},
    },
    error::InternalError,
    graphql::context::ContextExt,
    ids::{ConversationId, MessageId, UserId},
    jobs::model::JobStatus,
    page::{Page, PageRequest},
    schema::Loaders,
};

/// Batches look-ups of conversations.
pub(crate) struct ConversationLoader(pub(crate) Conversations);

impl Loader<ConversationId> for ConversationLoader {
    type Value = Conversation;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[ConversationId]) -> Result<HashMap<ConversationId, Conversation>, Arc<InternalError>> {
        self.0.by_id(keys).await.map_err(Arc::new)
    }
}

impl Loader<MessageId> for ConversationLoader {
    type Value = Message;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[MessageId]) -> Result<HashMap<MessageId, Message>, Arc<InternalError>> {
        self.0.messages_by_id(keys).await.map_err(Arc::new)
    }
}

impl Loader<Numbered> for ConversationLoader {
    type Value = Message;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[Numbered]) -> Result<HashMap<Numbered, Message>, Arc<InternalError>> {
        self.0.numbered(keys).await.map_err(Arc::new)
    }
}

impl Loader<MessagesOf> for ConversationLoader {
    type Value = Page<Message>;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[MessagesOf]) -> Result<HashMap<MessagesOf, Page<Message>>, Arc<InternalError>> {
        let pages = self.0.pages(keys).await.map_err(Arc::new)?;
        Ok(keys.iter().copied().zip(pages).collect())
    }
}

impl Loader<ConversationsOf> for ConversationLoader {
    type Value = Page<Conversation>;
    type Error = Arc<InternalError>;

    async fn load(
        &self,
        keys: &[ConversationsOf],
    ) -> Result<HashMap<ConversationsOf, Page<Conversation>>, Arc<InternalError>> {
        let pages = self.0.pages_of_users(keys).await.map_err(Arc::new)?;
        Ok(keys.iter().copied().zip(pages).collect())
    }
}

/// Whether the viewer may see a conversation. That an admin does is written down first.
async fn shown(ctx: &Context<'_>, conversation: &Conversation) -> Result<bool> {
    let actor = ctx.actor();
    let Some(viewer) = actor.user() else { return Ok(false) };
    if conversation.has(viewer) {
        return Ok(true);
    }
    if !actor.is_admin() {
        return Ok(false);
    }
    let loaders = ctx.get::<Loaders>();
    let Some(claim) = loaders.claims().load_one(claim_of(conversation.id)).await? else { return Ok(false) };
    let job = loaders.jobs().load_one(claim.job_id).await?;
    // Another claim of the job may be the disputed one.
    let disputed = job.is_some_and(|job| job.status() == JobStatus::Disputed) && claim.status().is_live();
    if disputed {
        ctx.get::<Conversations>().audit_read(viewer, conversation.id).await?;
    }
    Ok(disputed)
}

/// A conversation, for those who may see it.
pub(crate) async fn visible_conversation(ctx: &Context<'_>, id: ConversationId) -> Result<Option<ConversationObject>> {
    let Some(conversation) = Box::pin(ctx.get::<Loaders>().conversations().load_one(id)).await? else {
        return Ok(None);
    };
    Ok(Box::pin(shown(ctx, &conversation)).await?.then(|| conversation.into()))
}

/// The conversation of a claim that the viewer may see, for those who may see that, too.
pub(crate) async fn conversation_of_claim(ctx: &Context<'_>, claim: &Claim) -> Result<Option<ConversationObject>> {
    visible_conversation(ctx, conversation_of(claim.id)).await
}

/// A message, for those who may see its conversation.
pub(crate) async fn visible_message(ctx: &Context<'_>, id: MessageId) -> Result<Option<MessageObject>> {
    let Some(message) = Box::pin(ctx.get::<Loaders>().conversations().load_one(id)).await? else { return Ok(None) };
    let of = visible_conversation(ctx, message.conversation_id).await?;
    Ok(of.map(|of| MessageObject::new(Arc::new(message), Some(&of.conversation))))
}

/// A page of the messages of a conversation that the viewer may see.
pub(super) async fn messages_of(
    ctx: &Context<'_>,
    conversation: &Arc<Conversation>,
    request: PageRequest,
) -> Result<MessageConnection> {
    let list = MessagesOf { conversation: conversation.id, request };
    let page = Box::pin(ctx.get::<Loaders>().conversations().load_one(list)).await?;
    Ok(MessageConnection::new(page.unwrap_or_else(|| request.page(Vec::new())), conversation))
}

/// A message by its number, of a conversation that the viewer may see.
pub(super) async fn numbered(
    ctx: &Context<'_>,
    conversation: &Arc<Conversation>,
    number: i32,
) -> Result<Option<MessageObject>> {
    if number < 1 {
        return Ok(None);
    }
    let place = Numbered { conversation: conversation.id, number };
    let message = Box::pin(ctx.get::<Loaders>().conversations().load_one(place)).await?;
    Ok(message.map(|message| MessageObject::new(Arc::new(message), Some(conversation))))
}

/// A page of the viewer's own conversations.
pub(crate) async fn conversations_of(
    ctx: &Context<'_>,
    user: UserId,
    request: PageRequest,
) -> Result<ConversationConnection> {
    let page = Box::pin(ctx.get::<Loaders>().conversations().load_one(ConversationsOf { user, request })).await?;
    Ok(page.unwrap_or_else(|| request.page(Vec::new())).into())
}
