//! The tables of conversations, the way from their rows to the domain, and finders that take the scope of the caller.
//!
//! Loaders find by id alone; what they find is judged by the caller (`graphql::loaders`).

/// `conversations`
pub mod conversations {
    use sea_orm::{
        ActiveValue::{NotSet, Set},
        ExprTrait as _, QueryFilter, QuerySelect,
        entity::prelude::*,
        sea_query::LockType,
    };

    use crate::{
        clock::Timestamp,
        conversations::model::Conversation,
        ids::{ConversationId, UserId},
    };

    /// A row.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "conversations")]
    #[expect(missing_docs, reason = "columns are documented with the table, in the migration")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: ConversationId,
        pub version: i64,
        pub client_id: UserId,
        pub freelancer_id: UserId,
        pub last_number: i32,
        pub client_read: i32,
        pub freelancer_read: i32,
        pub created_at: Timestamp,
        pub active_at: Timestamp,
    }

    /// None that the code follows.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}

    /// Whose conversations a query finds, and whether it locks them.
    pub trait Finders: Sized {
        /// Only those of which this user is a side.
        #[must_use]
        fn of_side(self, user: UserId) -> Self;

        /// Locks them until the transaction ends.
        #[must_use]
        fn locked(self) -> Self;
    }

    impl Finders for Select<Entity> {
        fn of_side(self, user: UserId) -> Self {
            self.filter(Column::ClientId.eq(user).or(Column::FreelancerId.eq(user)))
        }

        fn locked(self) -> Self {
            self.lock(LockType::NoKeyUpdate)
        }
    }

    impl From<Model> for Conversation {
        fn from(row: Model) -> Self {
            Self {
                id: row.id,
                version: row.version,
                client_id: row.client_id,
                freelancer_id: row.freelancer_id,
                last_number: row.last_number,
                client_read: row.client_read,
                freelancer_read: row.freelancer_read,
                created_at: row.created_at,
                active_at: row.active_at,
            }
        }
    }

    /// What may change about a conversation.
    pub fn changes(conversation: &Conversation) -> ActiveModel {
        ActiveModel {
            id: NotSet,
            version: Set(conversation.version),
            client_id: NotSet,
            freelancer_id: NotSet,
            last_number: Set(conversation.last_number),
            client_read: Set(conversation.client_read),
            freelancer_read: Set(conversation.freelancer_read),
            created_at: NotSet,
            active_at: Set(conversation.active_at),
        }
    }
}

/// `messages`
pub mod messages {
    use sea_orm::{
        ActiveValue::{NotSet, Set},
        entity::prelude::*,
    };

    use crate::{
        clock::Timestamp,
        conversations::model::Message,
        ids::{ConversationId, MessageId, UserId},
    };

    /// A row.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "messages")]
    #[expect(missing_docs, reason = "columns are documented with the table, in the migration")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: MessageId,
        pub version: i64,
        pub conversation_id: ConversationId,
        pub number: i32,
        pub sender_id: UserId,
        pub client_id: String,
        pub request_hash: Vec<u8>,
        pub body: String,
        pub sent_at: Timestamp,
        pub edited_at: Option<Timestamp>,
        pub deleted_at: Option<Timestamp>,
    }

    /// None that the code follows.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}

    impl From<Model> for Message {
        fn from(row: Model) -> Self {
            Self {
                id: row.id,
                version: row.version,
                conversation_id: row.conversation_id,
                number: row.number,
                sender_id: row.sender_id,
                client_id: row.client_id,
                body: row.body,
                sent_at: row.sent_at,
                edited_at: row.edited_at,
                deleted_at: row.deleted_at,
            }
        }
    }

    /// A new row, with what the sender asked for.
    pub fn new(message: &Message, request_hash: Vec<u8>) -> ActiveModel {
        ActiveModel {
            id: Set(message.id),
            version: Set(message.version),
            conversation_id: Set(message.conversation_id),
            number: Set(message.number),
            sender_id: Set(message.sender_id),
            client_id: Set(message.client_id.clone()),
            request_hash: Set(request_hash),
            body: Set(message.body.clone()),
            sent_at: Set(message.sent_at),
            edited_at: Set(message.edited_at),
            deleted_at: Set(message.deleted_at),
        }
    }

    /// What may change about a message.
    pub fn changes(message: &Message) -> ActiveModel {
        ActiveModel {
            id: NotSet,
            version: Set(message.version),
            conversation_id: NotSet,
            number: NotSet,
            sender_id: NotSet,
            client_id: NotSet,
            request_hash: NotSet,
            body: Set(message.body.clone()),
            sent_at: NotSet,
            edited_at: Set(message.edited_at),
            deleted_at: Set(message.deleted_at),
        }
    }
}
