//! Pages of conversations and of messages, with their cursors.

use std::sync::Arc;

use super::objects::{ConversationObject, MessageObject};
use crate::{
    connection,
    conversations::model::{Conversation, Message},
    graphql::connections::edges,
    page::Page,
};

connection! {
    /// A page of conversations.
    ConversationConnection,
    /// A conversation in a page of conversations.
    ConversationEdge,
    ConversationObject,
}

impl From<Page<Conversation>> for ConversationConnection {
    fn from(page: Page<Conversation>) -> Self {
        let (edges, page_info) = edges(page, Conversation::cursor);
        let row = |(cursor, node): (_, Conversation)| ConversationEdge { cursor, node: node.into() };
        let edges: Vec<_> = edges.into_iter().map(row).collect();
        Self { nodes: edges.iter().map(|edge| edge.node.clone()).collect(), edges, page_info }
    }
}

connection! {
    /// A page of messages.
    MessageConnection,
    /// A message in a page of messages.
    MessageEdge,
    MessageObject,
}

impl MessageConnection {
    pub(super) fn new(page: Page<Message>, conversation: &Arc<Conversation>) -> Self {
        let (edges, page_info) = edges(page, Message::cursor);
        let edges: Vec<_> =
            edges.into_iter().map(|(_, message)| MessageEdge::new(Arc::new(message), conversation)).collect();
        Self { nodes: edges.iter().map(|edge| edge.node.clone()).collect(), edges, page_info }
    }
}

impl MessageEdge {
    pub(super) fn new(message: Arc<Message>, conversation: &Arc<Conversation>) -> Self {
        Self { cursor: message.cursor().encode(), node: MessageObject::new(message, Some(conversation)) }
    }
}
