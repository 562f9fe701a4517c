//! Pages of conversations and of messages, and look-ups of many at once. Whom they are shown to is judged by the caller.

use std::collections::HashMap;

use chrono::DateTime;
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, ExprTrait as _, FromQueryResult as _, Order, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait as _,
    sea_query::{Asterisk, Expr, Query, SelectStatement, UnionType},
};

use super::{
    Conversations,
    entity::{conversations, messages},
    model::{Conversation, Message},
};
use crate::{
    error::InternalError,
    ids::{ConversationId, MessageId, UserId},
    page::{Cursor, Page, PageRequest, read_all},
};

/// Marks the cursors of messages, whose key is the number.
pub const BY_NUMBER: u8 = 10;
/// Marks the cursors of conversations, whose key is the time of their last message.
pub const BY_ACTIVITY: u8 = 11;

/// The last millisecond that has four digits for its year.
const END_OF_TIME: i64 = 253_402_300_799_999;

/// A page of one conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MessagesOf {
    /// Which conversation.
    pub conversation: ConversationId,
    /// Which rows, by their number.
    pub request: PageRequest,
}

/// A page of one user's conversations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConversationsOf {
    /// One of their sides.
    pub user: UserId,
    /// Which rows, the last active ones first.
    pub request: PageRequest,
}

/// A message by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Numbered {
    /// In which conversation.
    pub conversation: ConversationId,
    /// From 1.
    pub number: i32,
}

impl Message {
    /// Where it stands among those of its conversation.
    pub fn cursor(&self) -> Cursor {
        Cursor { order: BY_NUMBER, key: self.number.into(), id: self.id.into() }
    }
}

impl Conversation {
    /// Where it stands among those of a side.
    pub fn cursor(&self) -> Cursor {
        Cursor { order: BY_ACTIVITY, key: self.active_at.timestamp_millis(), id: self.id.into() }
    }
}

impl Conversations {
    /// Pages of messages, by their number.
    pub async fn pages(&self, lists: &[MessagesOf]) -> Result<Vec<Page<Message>>, InternalError> {
        let number = Expr::col(messages::Column::Number);
        let select = |list: &MessagesOf| {
            messages::Entity::find()
                .filter(messages::Column::ConversationId.eq(list.conversation))
                .filter(list.request.bounds(&Order::Asc, &number, |cursor| Expr::value(cursor.key)))
                .order_by(messages::Column::Number, list.request.direction(Order::Asc))
                .limit(list.request.limit())
                .into_query()
        };
        let found = read_all(self.db.reader(), lists.iter().map(select).collect()).await?;
        let pages = found.into_iter().zip(lists).map(|(rows, list)| {
            let rows = rows.iter().map(|row| Ok(messages::Model::from_query_result(row, "")?.into()));
            Ok(list.request.page(rows.collect::<Result<_, InternalError>>()?))
        });
        pages.collect()
    }

    /// Pages of users' conversations, the last active ones first.
    pub async fn pages_of_users(&self, lists: &[ConversationsOf]) -> Result<Vec<Page<Conversation>>, InternalError> {
        let found = read_all(self.db.reader(), lists.iter().map(select_of_user).collect()).await?;
        let pages = found.into_iter().zip(lists).map(|(rows, list)| {
            let rows = rows.iter().map(|row| Ok(conversations::Model::from_query_result(row, "")?.into()));
            Ok(list.request.page(rows.collect::<Result<_, InternalError>>()?))
        });
        pages.collect()
    }

    /// Many conversations by id.
    pub async fn by_id(&self, ids: &[ConversationId]) -> Result<HashMap<ConversationId, Conversation>, InternalError> {
        let select = conversations::Entity::find().filter(conversations::Column::Id.is_in(ids.to_vec()));
        let rows = select.all(self.db.reader()).await?;
        Ok(rows.into_iter().map(|row| (row.id, row.into())).collect())
    }

    /// Many messages by id.
    pub async fn messages_by_id(&self, ids: &[MessageId]) -> Result<HashMap<MessageId, Message>, InternalError> {
        let select = messages::Entity::find().filter(messages::Column::Id.is_in(ids.to_vec()));
        let rows = select.all(self.db.reader()).await?;
        Ok(rows.into_iter().map(|row| (row.id, row.into())).collect())
    }

    /// Many messages by their places.
    pub async fn numbered(&self, places: &[Numbered]) -> Result<HashMap<Numbered, Message>, InternalError> {
        let one = |of: &Numbered| {
            let in_it = messages::Column::ConversationId.eq(of.conversation);
            in_it.and(messages::Column::Number.eq(of.number))
        };
        let mut rows = Vec::with_capacity(places.len());
        // Neither database takes an expression of any depth.
        for places in places.chunks(100) {
            let wanted = places.iter().fold(Condition::any(), |any, of| any.add(one(of)));
            rows.extend(messages::Entity::find().filter(wanted).all(self.db.reader()).await?);
        }
        let of =
            |row: messages::Model| (Numbered { conversation: row.conversation_id, number: row.number }, row.into());
        Ok(rows.into_iter().map(of).collect())
    }
}

/// Of the conversations in which the user is the client, and of those in which the freelancer, so many each: each is a range
/// of an index, where both at once would be read whole and sorted.
fn select_of_user(list: &ConversationsOf) -> SelectStatement {
    let request = list.request;
    let key = Expr::tuple([Expr::col(conversations::Column::ActiveAt), Expr::col(conversations::Column::Id)]);
    let value = |cursor: Cursor| {
        // A forged cursor may hold what no calendar has; one of ours never does.
        let at = DateTime::from_timestamp_millis(cursor.key.clamp(0, END_OF_TIME)).unwrap_or_default();
        Expr::tuple([Expr::value(at), Expr::value(cursor.id)])
    };
    let direction = request.direction(Order::Desc);
    let as_side = |side: conversations::Column| {
        let part = conversations::Entity::find()
            .filter(side.eq(list.user))
            .filter(request.bounds(&Order::Desc, &key, value))
            .order_by(conversations::Column::ActiveAt, direction.clone())
            .order_by(conversations::Column::Id, direction.clone())
            .limit(request.limit())
            .into_query();
        Query::select().column(Asterisk).from_subquery(part, "side").take()
    };
    let mut both = as_side(conversations::Column::ClientId);
    both.union(UnionType::All, as_side(conversations::Column::FreelancerId));
    Query::select()
        .column(Asterisk)
        .from_subquery(both, "both_sides")
        .order_by("active_at", direction.clone())
        .order_by("id", direction)
        .limit(request.limit())
        .take()
}
