//! Root fields that change conversations. The rules are in [`Conversations`]; here inputs are handed over and results
//! returned.

use async_graphql::{Context, Object, Result};

use super::{
    inputs::{DeleteMessageInput, EditMessageInput, MarkConversationReadInput, SendMessageInput, SignalTypingInput},
    payloads::{
        MarkConversationReadPayload, MessagePayload, SignalTypingPayload, marked_payload, message_payload,
        signalled_payload,
    },
};
use crate::{
    conversations::{Conversations, presence::Presence},
    graphql::context::{ContextExt, denied, signed_in},
};

/// Writes of conversations.
#[derive(Default)]
pub(crate) struct ConversationMutation;

#[Object]
impl ConversationMutation {
    /// Participant. Emits `messageUpdated` to both sides, and `notificationReceived` to the other one if that had read
    /// everything before. At most 60 messages a minute from one side; none once the claim has ended 30 days ago.
    async fn send_message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to say, and in which conversation.")] input: SendMessageInput,
    ) -> Result<Option<MessagePayload>> {
        let SendMessageInput { conversation_id, client_id, body } = input;
        let done = ctx.get::<Conversations>().send(ctx.actor(), &conversation_id, &client_id, &body).await;
        Ok(Some(message_payload(done)?))
    }

    /// Participant, own message. Emits `messageUpdated` to both sides. Not while the job is DISPUTED.
    async fn edit_message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which message, and its new text.")] input: EditMessageInput,
    ) -> Result<Option<MessagePayload>> {
        let EditMessageInput { message_id, body, expected_version } = input;
        let (conversations, expected) = (ctx.get::<Conversations>(), expected_version.map(Into::into));
        let done = conversations.edit(ctx.actor(), &message_id, &body, expected).await;
        Ok(Some(message_payload(done)?))
    }

    /// Participant, own message. Emits `messageUpdated` to both sides. Not while the job is DISPUTED. Events from before
    /// keep the text for as long as they are kept, for the two sides.
    async fn delete_message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which message loses its text.")] input: DeleteMessageInput,
    ) -> Result<Option<MessagePayload>> {
        let done = ctx.get::<Conversations>().delete(ctx.actor(), &input.message_id).await;
        Ok(Some(message_payload(done)?))
    }

    /// Participant. Emits `messageUpdated`, with the message up to which was read, to both sides.
    async fn mark_conversation_read(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which conversation, and how far.")] input: MarkConversationReadInput,
    ) -> Result<Option<MarkConversationReadPayload>> {
        let MarkConversationReadInput { conversation_id, up_to_number } = input;
        let done = ctx.get::<Conversations>().mark_read(ctx.actor(), &conversation_id, up_to_number).await;
        Ok(Some(marked_payload(done)?))
    }

    /// Participant. Shown to the other side by `presenceChanged`; kept nowhere.
    async fn signal_typing(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "In which conversation, and whether one writes.")] input: SignalTypingInput,
    ) -> Result<Option<SignalTypingPayload>> {
        let actor = signed_in(ctx)?;
        let user = actor.signed_in().map_err(denied)?;
        let own = ctx.get::<Conversations>().own(user, &input.conversation_id).await;
        let signalled = own.map(|own| ctx.get::<Presence>().signal_typing(&own, user, input.typing));
        Ok(Some(signalled_payload(signalled)?))
    }
}
