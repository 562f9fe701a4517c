//! The subscriptions of a conversation's two sides: the event `messageUpdated`, and who is there.

use std::{sync::Arc, time::Duration};

use async_graphql::{
    Context, ID, Object, Result, SimpleObject, Subscription,
    futures_util::{
        Stream, StreamExt,
        stream::{self, BoxStream},
    },
};

use super::{
    ConversationError, Conversations,
    events::{MESSAGE_UPDATED, MessageUpdate},
    graphql::{ConversationObject, MessageObject, PresenceObject, present},
    model::Conversation,
    presence::{Presence, Seat},
};
use crate::{
    graphql::{
        context::{ContextExt, denied, signed_in},
        errors::{ErrorCode, fault},
        scalars::DateTime,
        subscriptions::{events, states},
    },
    ids::{ConversationId, UserId},
    realtime::{Delivery, Interest, Terms},
};

/// The least time between two states that one subscriber is sent.
const PACE: Duration = Duration::from_millis(250);

/// A `messageUpdated` event in the API.
#[derive(Clone)]
pub(crate) struct MessageUpdatedEvent {
    delivery: Arc<Delivery>,
    message: MessageObject,
    conversation: ConversationObject,
}

impl MessageUpdatedEvent {
    /// The event as the two sides of the conversation receive it.
    pub(crate) fn of(delivery: Arc<Delivery>) -> Result<Self> {
        let update = delivery.payload::<MessageUpdate>()?;
        let conversation = ConversationObject::at(&update.conversation, &update.message);
        let message = MessageObject::new(Arc::new(update.message.clone()), Some(&conversation.conversation));
        Ok(Self { delivery, message, conversation })
    }
}

/// A message was sent, changed or deleted. Or read: then it is the one up to which somebody has read, and
/// `conversation.readMarkers` has the news.
#[Object]
impl MessageUpdatedEvent {
    /// Unique for ever: drop an event whose id was seen before.
    pub(crate) async fn id(&self) -> ID {
        self.delivery.id().to_string().into()
    }

    /// Resume point: pass the last one seen as `after` to miss nothing. Cursors compare as strings: the greater one is
    /// the later one.
    pub(crate) async fn cursor(&self) -> String {
        self.delivery.cursor()
    }

    /// When the change was made.
    pub(crate) async fn occurred_at(&self) -> DateTime {
        self.delivery.occurred_at().into()
    }

    /// The message as it was just after the change.
    async fn message(&self) -> MessageObject {
        self.message.clone()
    }

    /// Its conversation as it was just after the change.
    async fn conversation(&self) -> ConversationObject {
        self.conversation.clone()
    }
}

/// Who is there; the first comes at once, then each change.
#[derive(SimpleObject)]
pub(crate) struct PresenceChangedEvent {
    /// The conversation as it is now.
    conversation: ConversationObject,
    /// Both participants as they are now: the whole list, in place of the one before.
    presence: Vec<PresenceObject>,
}

/// Live changes of conversations.
#[derive(Default)]
pub(crate) struct ConversationSubscription;

#[Subscription]
impl ConversationSubscription {
    /// The viewer's conversations, or one of them: each message that is sent, edited, deleted or read, by whichever side and
    /// from whichever device. Nobody else hears of them, admins neither.
    async fn message_updated(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only this conversation, of which the viewer must be a participant; null: any.")]
        conversation_id: Option<ID>,
        #[graphql(desc = "Events after this cursor are sent first; null: only what happens from now on.")]
        after: Option<String>,
    ) -> Result<impl Stream<Item = Result<MessageUpdatedEvent>>> {
        let interest = async {
            let user = signed_in(ctx)?.signed_in().map_err(denied)?;
            let Some(id) = conversation_id else { return Ok(Interest::all(MESSAGE_UPDATED)) };
            let id = own(ctx, user, &id).await?.id.into();
            let is_meant = move |delivery: &Delivery| Ok(delivery.subject() == id);
            Ok(Interest::matching(MESSAGE_UPDATED, Terms::OneOf(vec![id]), is_meant))
        };
        events(ctx, after, interest, |received| MessageUpdatedEvent::of(received.delivery)).await
    }

    /// Participant. Who has this conversation open and who is writing: the state at once, then each change, at most four a
    /// second. Who subscribes is there for the other side. It is no stream of events: there is nothing to resume, and
    /// after a reconnect it begins with the state again.
    async fn presence_changed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "A conversation of which the viewer is a participant.")] conversation_id: ID,
    ) -> Result<impl Stream<Item = Result<PresenceChangedEvent>>> {
        let user = signed_in(ctx)?.signed_in().map_err(denied)?;
        let conversation = own(ctx, user, &conversation_id).await?;
        let conversations = ctx.get::<Conversations>().clone();
        let seat = ctx.get::<Presence>().join(&conversation, user);
        let seat = seat.map_err(|full| ErrorCode::RateLimited.error(full.to_string()))?;
        states(ctx, changes(conversations, conversation.id, seat)).await
    }
}

/// The conversation with this id, of which the viewer is a side.
async fn own(ctx: &Context<'_>, user: UserId, id: &ID) -> Result<Conversation> {
    let own = Box::pin(ctx.get::<Conversations>().own(user, id)).await;
    own.map_err(|error| match error {
        ConversationError::Denied(refused) => denied(refused),
        ConversationError::InternalError(failed) => fault(failed),
        ConversationError::Invalid(_)
        | ConversationError::ClientIdReused
        | ConversationError::ClientIdInUse { .. }
        | ConversationError::TooMany { .. } => {
            ErrorCode::BadUserInput.error("There is no such conversation. Check the id in conversationId.")
        }
    })
}

/// The state at once, then each change.
fn changes(
    conversations: Conversations,
    id: ConversationId,
    seat: Seat,
) -> BoxStream<'static, Result<PresenceChangedEvent>> {
    let begun = (conversations, seat, None);
    stream::unfold(begun, move |(conversations, mut seat, mut last)| async move {
        let state = loop {
            let state = seat.state();
            if last.as_ref() != Some(&state) {
                break state;
            }
            seat.changed().await;
        };
        if last.is_some() {
            // What changes meanwhile comes with the next one.
            tokio::time::sleep(PACE).await;
        }
        let state = if last.is_some() { seat.state() } else { state };
        last = Some(state.clone());
        let found = conversations.by_id(&[id]).await.map_err(fault).map(|mut found| found.remove(&id));
        let event = found.and_then(|found| {
            let gone = || ErrorCode::Unavailable.error("The conversation cannot be read. Subscribe again.");
            let conversation = found.ok_or_else(gone)?.into();
            Ok(PresenceChangedEvent { conversation, presence: present(state) })
        });
        Some((event, (conversations, seat, last)))
    })
    .boxed()
}
