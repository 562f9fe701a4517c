//! Root fields that read conversations.

use async_graphql::{Context, ID, Object, Result};

use super::{loaders::visible_conversation, objects::ConversationObject};
use crate::graphql::context::signed_in;

/// Reads of conversations.
#[derive(Default)]
pub(crate) struct ConversationQuery;

#[Object]
impl ConversationQuery {
    /// One conversation. Its two participants; admins while the job is DISPUTED, which is written down.
    async fn conversation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "As `Conversation.id` gives it; an id of something else finds nothing.")] id: ID,
    ) -> Result<Option<ConversationObject>> {
        signed_in(ctx)?;
        let Ok(id) = id.parse() else { return Ok(None) };
        visible_conversation(ctx, id).await
    }
}
