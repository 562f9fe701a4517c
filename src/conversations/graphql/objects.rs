//! The types `Conversation` and `Message`, read markers and presence.
//!
//! Who makes a [`ConversationObject`] or a [`MessageObject`] has checked that the viewer may see it, and has written down
//! the read of an admin.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, Result};

use super::{
    connections::MessageConnection,
    loaders::{messages_of, numbered},
};
use crate::{
    accounts::graphql::{UserObject, user},
    claims::graphql::ClaimObject,
    conversations::{
        list::BY_NUMBER,
        model::{Conversation, Message, claim_of},
        presence::{Presence, State},
    },
    error::InternalError,
    graphql::{
        connections::{DEFAULT_PAGE, PageArguments},
        context::ContextExt,
        scalars::DateTime,
    },
    ids::UserId,
    schema::Loaders,
};

/// A conversation in the API. Its maker has checked that the viewer may see it.
#[derive(Clone, Debug)]
pub(crate) struct ConversationObject {
    pub(crate) conversation: Arc<Conversation>,
    /// A message that came with it, as an event has it.
    told: Option<Arc<Message>>,
}

impl From<Conversation> for ConversationObject {
    fn from(conversation: Conversation) -> Self {
        Self { conversation: Arc::new(conversation), told: None }
    }
}

impl ConversationObject {
    /// As it was when this happened to one of its messages.
    pub(crate) fn at(conversation: &Conversation, told: &Message) -> Self {
        Self { conversation: Arc::new(conversation.clone()), told: Some(Arc::new(told.clone())) }
    }

    /// Its sides as they are now, for one of the two; nothing for anybody else.
    pub(crate) fn presence_for(&self, ctx: &Context<'_>) -> Vec<PresenceObject> {
        let is_side = ctx.actor().user().is_some_and(|user| self.conversation.has(user));
        if is_side { present(ctx.get::<Presence>().state(&self.conversation)) } else { Vec::new() }
    }
}

/// States as the API shows them.
pub(crate) fn present(states: [State; 2]) -> Vec<PresenceObject> {
    states.into_iter().map(Into::into).collect()
}

/// What the two sides of a claim say to each other. Admins read it while the job is DISPUTED, and that is written down.
#[Object(name = "Conversation")]
impl ConversationObject {
    /// Opaque, globally unique and permanent: pass it to `node(id:)`, and never parse it.
    pub(crate) async fn id(&self) -> ID {
        self.conversation.id.to_string().into()
    }

    /// Grows by one with each message that is sent, edited or deleted, and with each read marker that grows. Keep the
    /// object with the higher version.
    async fn version(&self) -> i64 {
        self.conversation.version
    }

    /// The claim between the two. They read on when it has ended, and write until 30 days after that.
    async fn claim(&self, ctx: &Context<'_>) -> Result<ClaimObject> {
        let id = claim_of(self.conversation.id);
        let claim = Box::pin(ctx.get::<Loaders>().claims().load_one(id)).await?;
        Ok(claim.ok_or_else(|| InternalError::corrupt(format!("{id} is missing")))?.into())
    }

    /// The job's client and the claim's freelancer.
    async fn participants(&self, ctx: &Context<'_>) -> Result<Vec<UserObject>> {
        let mut participants = Vec::with_capacity(2);
        for side in self.conversation.sides() {
            participants.push(Box::pin(user(ctx, side)).await?);
        }
        Ok(participants)
    }

    /// Numbered 1, 2, 3 .. without holes; paged by that number.
    async fn messages(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many rows from the beginning, 1 to 100; 20 if neither `first` nor `last` is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor, which a row or `pageInfo` of the same list gave.")]
        after: Option<String>,
        #[graphql(desc = "How many rows from the end, 1 to 100. Give `first` or `last`, not both.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor, which a row or `pageInfo` of the same list gave.")]
        before: Option<String>,
    ) -> Result<Box<MessageConnection>> {
        let request = PageArguments { first, after, last, before }.request(BY_NUMBER, Some(DEFAULT_PAGE))?;
        Ok(Box::new(Box::pin(messages_of(ctx, &self.conversation, request)).await?))
    }

    /// The one with the highest number; null before the first.
    async fn last_message(&self, ctx: &Context<'_>) -> Result<Option<MessageObject>> {
        let last = self.conversation.last_number;
        if let Some(told) = self.told.as_ref().filter(|told| told.number == last) {
            return Ok(Some(MessageObject::new(Arc::clone(told), Some(&self.conversation))));
        }
        Box::pin(numbered(ctx, &self.conversation, last)).await
    }

    /// Of the viewer: last number less the number read up to. 0 for an admin.
    async fn unread_count(&self, ctx: &Context<'_>) -> i32 {
        ctx.actor().user().map_or(0, |user| self.conversation.unread_by(user))
    }

    /// Up to which number each participant has read. Who sends a message has read up to it.
    async fn read_markers(&self) -> Vec<ReadMarker> {
        let marker = |user| ReadMarker { user, number: self.conversation.read_by(user) };
        self.conversation.sides().map(marker).into()
    }

    /// Who is there now, for the two participants; empty for an admin. `presenceChanged` tells of changes.
    async fn presence(&self, ctx: &Context<'_>) -> Vec<PresenceObject> {
        self.presence_for(ctx)
    }
}

/// How far somebody has read.
pub(crate) struct ReadMarker {
    user: UserId,
    number: i32,
}

/// How far somebody has read.
#[Object]
impl ReadMarker {
    /// Whose marker it is.
    async fn user(&self, ctx: &Context<'_>) -> Result<UserObject> {
        user(ctx, self.user).await
    }

    /// The number of the last message that they have read; 0 before the first.
    async fn number(&self) -> i32 {
        self.number
    }
}

/// Whether somebody is there.
#[derive(Clone, Debug)]
pub(crate) struct PresenceObject(State);

impl From<State> for PresenceObject {
    fn from(state: State) -> Self {
        Self(state)
    }
}

/// Soft state, right over several tabs and nodes; never in the log.
#[Object(name = "Presence")]
impl PresenceObject {
    /// Whose presence it is.
    async fn user(&self, ctx: &Context<'_>) -> Result<UserObject> {
        user(ctx, self.0.user).await
    }

    /// Whether they have this conversation open: from their first `presenceChanged` subscription to it until 15 seconds
    /// after the end of the last, or while they type.
    async fn online(&self) -> bool {
        self.0.online
    }

    /// When they were there last; null while they are there, and if that is not known any more.
    async fn last_seen_at(&self) -> Option<DateTime> {
        self.0.last_seen_at.map(Into::into)
    }

    /// Whether they are writing. Ends by itself 6 seconds after the last `signalTyping`.
    async fn typing(&self) -> bool {
        self.0.typing
    }
}

/// A message in the API. Its maker has checked that the viewer may see it.
#[derive(Clone, Debug)]
pub(crate) struct MessageObject {
    message: Arc<Message>,
    /// Its conversation, where that is known already.
    conversation: Option<Arc<Conversation>>,
}

impl MessageObject {
    pub(crate) fn new(message: Arc<Message>, conversation: Option<&Arc<Conversation>>) -> Self {
        Self { message, conversation: conversation.cloned() }
    }
}

/// `clientId` was made by the sender: sending it again gives this message and makes no other. A deleted one keeps its number and loses its text.
#[Object(name = "Message")]
impl MessageObject {
    /// Opaque, globally unique and permanent: pass it to `node(id:)`, and never parse it.
    pub(crate) async fn id(&self) -> ID {
        self.message.id.to_string().into()
    }

    /// Grows by one with each change of the message. Keep the object with the higher version.
    async fn version(&self) -> i64 {
        self.message.version
    }

    /// The sender's own id for it, as `sendMessage` got it: an answer that was lost is found by it.
    async fn client_id(&self) -> ID {
        self.message.client_id.clone().into()
    }

    /// Counts the messages of one conversation from 1, without holes.
    async fn number(&self) -> i32 {
        self.message.number
    }

    /// Where it was said.
    async fn conversation(&self, ctx: &Context<'_>) -> Result<ConversationObject> {
        if let Some(conversation) = &self.conversation {
            return Ok(ConversationObject { conversation: Arc::clone(conversation), told: None });
        }
        // A viewer who may see the message may see its conversation.
        let id = self.message.conversation_id;
        let found = Box::pin(ctx.get::<Loaders>().conversations().load_one(id)).await?;
        Ok(found.ok_or_else(|| InternalError::corrupt(format!("{id} is missing")))?.into())
    }

    /// Who said it.
    async fn sender(&self, ctx: &Context<'_>) -> Result<UserObject> {
        user(ctx, self.message.sender_id).await
    }

    /// What was said; empty once it is deleted. Plain text: render it as untrusted.
    async fn body(&self) -> &str {
        &self.message.body
    }

    /// When it was sent.
    async fn sent_at(&self) -> DateTime {
        self.message.sent_at.into()
    }

    /// When its sender changed the text last; null if never.
    async fn edited_at(&self) -> Option<DateTime> {
        self.message.edited_at.map(Into::into)
    }

    /// When its sender took the text away; null if they did not.
    async fn deleted_at(&self) -> Option<DateTime> {
        self.message.deleted_at.map(Into::into)
    }
}
