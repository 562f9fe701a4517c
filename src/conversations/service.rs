//! Sending, editing, deleting and reading messages.
//!
//! Each use case locks the conversation's row first, so that changes of one conversation queue: that is what makes the
//! numbers of messages follow each other without holes. What it then reads of the claim and the job never goes back.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, sea_query::OnConflict};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    entity::{
        conversations::{self, Finders as _},
        messages,
    },
    error::ConversationError,
    events::{MessageUpdate, updated},
    model::{Conversation, MOST_AT_A_TIME, Message, RATE_WINDOW, Unchangeable, claim_of, is_closed, must_wait},
};
use crate::{
    accounts::Accounts,
    auth::actor::Actor,
    claims::Claims,
    clock::{Clock, Timestamp},
    db::{Backend, Db, Tx, receipt::Left},
    error::{InternalError, Invalid, InvalidKind},
    events,
    ids::{ConversationId, Ids, MessageId, UserId},
    jobs::{
        Jobs,
        model::{Job, JobStatus},
    },
    notifications::{
        Notifications,
        model::{Details, NotificationKind, Part, Subject},
    },
    text,
};

/// When to send the same message again, in milliseconds, while it is being sent elsewhere.
const RETRY_AFTER_MS: u32 = 1_000;

/// The conversations. Clones share everything.
#[derive(Clone, Debug)]
pub struct Conversations {
    pub(super) db: Db,
    clock: Clock,
    ids: Ids,
    neighbours: Neighbours,
}

/// The domains that conversations call.
#[derive(Clone, Debug)]
pub struct Neighbours {
    /// People.
    pub accounts: Accounts,
    /// What is worked on.
    pub jobs: Jobs,
    /// By whom.
    pub claims: Claims,
    /// Who is told.
    pub notifications: Notifications,
}

/// What a change left behind.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The conversation as it is now.
    pub conversation: Conversation,
    /// The message that was meant.
    pub message: Message,
}

impl Conversations {
    /// Conversations on these tools.
    pub const fn new(db: Db, clock: Clock, ids: Ids, neighbours: Neighbours) -> Self {
        Self { db, clock, ids, neighbours }
    }

    /// The same on another view of the database.
    #[must_use]
    pub fn on(&self, db: &Db) -> Self {
        let Neighbours { accounts, jobs, claims, notifications } = &self.neighbours;
        let neighbours = Neighbours {
            accounts: accounts.on(db),
            jobs: jobs.on(db),
            claims: claims.on(db),
            notifications: notifications.on(db),
        };
        Self { db: db.clone(), neighbours, ..self.clone() }
    }

    /// Sends a message to the other side. The same `client_id` with the same text, sent again, gives the first one.
    #[tracing::instrument(skip_all, fields(conversation.id = conversation))]
    pub async fn send(
        &self,
        actor: Actor,
        conversation: &str,
        client_id: &str,
        body: &str,
    ) -> Result<Changed, ConversationError> {
        let sender = actor.signed_in()?;
        let id = parse_id(conversation)?;
        let client_id = &parse_client_id(client_id)?;
        let body = &text::MESSAGE.parse("body", body)?;
        let hash = &request_hash(id, body);
        self.db
            .transact(|tx| async move {
                let before = self.lock_own_in(&tx, sender, id).await?;
                if let Some(message) = earlier_in(&tx, sender, client_id, hash).await? {
                    tx.leaves(Left::Earlier);
                    return Ok(Changed { conversation: before, message });
                }
                let now = self.now_in(&tx).await?;
                let claim = self.neighbours.claims.find_in(&tx, claim_of(id)).await?;
                let claim = claim.ok_or_else(|| InternalError::corrupt(format!("{id} has no claim")))?;
                if is_closed(claim.ended_at(), now) {
                    let why = "is closed: its claim ended more than 30 days ago; what was said can still be read";
                    return Err(Invalid::value("conversationId", why).into());
                }
                self.check_rate_in(&tx, &before, sender, now).await?;
                let after = before.after_sending(sender, now);
                let message = Message {
                    id: self.ids.next(),
                    version: 1,
                    conversation_id: id,
                    number: after.last_number,
                    sender_id: sender,
                    client_id: client_id.clone(),
                    body: body.clone(),
                    sent_at: now,
                    edited_at: None,
                    deleted_at: None,
                };
                insert_in(&tx, &message, hash).await?;
                let job = self.neighbours.jobs.find_in(&tx, claim.job_id).await?;
                let job = job.ok_or_else(|| InternalError::corrupt(format!("{} is missing", claim.job_id)))?;
                self.save_in(&tx, &after).await?;
                self.record_in(&tx, &after, &message).await?;
                self.tell_other_side_in(&tx, &before, sender, &job).await?;
                Ok::<_, ConversationError>(Changed { conversation: after, message })
            })
            .await
    }

    /// Gives one's own message another text.
    #[tracing::instrument(skip_all, fields(message.id = message))]
    pub async fn edit(
        &self,
        actor: Actor,
        message: &str,
        body: &str,
        expected_version: Option<i64>,
    ) -> Result<Changed, ConversationError> {
        let sender = actor.signed_in()?;
        let id = parse_message(message)?;
        let body = &text::MESSAGE.parse("body", body)?;
        self.db
            .transact(|tx| async move {
                let (before, message) = self.lock_with_message_in(&tx, sender, id).await?;
                self.check_undisputed_in(&tx, &before).await?;
                let edited = message.edit(expected_version, body, self.now_in(&tx).await?);
                let message = edited.map_err(|why| match why {
                    Unchangeable::Deleted => Invalid::value("messageId", why),
                    Unchangeable::OtherVersion(_) => {
                        let message = format!("The message {why}.");
                        Invalid::new(InvalidKind::VersionConflict, message, "expectedVersion")
                    }
                })?;
                self.change_in(&tx, &before, message).await
            })
            .await
    }

    /// Takes the text of one's own message away; its number stays. Deleting it once more changes nothing.
    #[tracing::instrument(skip_all, fields(message.id = message))]
    pub async fn delete(&self, actor: Actor, message: &str) -> Result<Changed, ConversationError> {
        let sender = actor.signed_in()?;
        let id = parse_message(message)?;
        self.db
            .transact(|tx| async move {
                let (before, message) = self.lock_with_message_in(&tx, sender, id).await?;
                let Some(deleted) = message.delete(self.now_in(&tx).await?) else {
                    tx.leaves(Left::Earlier);
                    return Ok(Changed { conversation: before, message });
                };
                self.check_undisputed_in(&tx, &before).await?;
                self.change_in(&tx, &before, deleted).await
            })
            .await
    }

    /// Moves one's own marker on to a message that is there. A marker never goes back.
    #[tracing::instrument(skip_all, fields(conversation.id = conversation))]
    pub async fn mark_read(
        &self,
        actor: Actor,
        conversation: &str,
        up_to: i32,
    ) -> Result<Conversation, ConversationError> {
        let reader = actor.signed_in()?;
        let id = parse_id(conversation)?;
        self.db
            .transact(|tx| async move {
                let before = self.lock_own_in(&tx, reader, id).await?;
                if !(1..=before.last_number).contains(&up_to) {
                    let why = match before.last_number {
                        0 => "names no message: there is none yet".to_owned(),
                        last => format!("must be the number of a message, 1 to {last}"),
                    };
                    return Err(Invalid::value("upToNumber", why).into());
                }
                let Some(after) = before.mark_read(reader, up_to) else {
                    tx.leaves(Left::Earlier);
                    return Ok(before);
                };
                let message = messages::Entity::find()
                    .filter(messages::Column::ConversationId.eq(id))
                    .filter(messages::Column::Number.eq(up_to))
                    .one(&*tx)
                    .await?;
                let message = message.ok_or_else(|| InternalError::corrupt(format!("{id} has no message {up_to}")))?;
                self.save_in(&tx, &after).await?;
                self.record_in(&tx, &after, &message.into()).await?;
                Ok::<_, ConversationError>(after)
            })
            .await
    }

    /// Writes down that an admin reads what is not theirs.
    pub async fn audit_read(&self, admin: UserId, conversation: ConversationId) -> Result<(), InternalError> {
        self.db
            .transact(|tx| async move {
                let subject = conversation.to_string();
                let accounts = &self.neighbours.accounts;
                accounts.audit_in(&tx, admin, "readConversation", &subject, "while the job is DISPUTED").await
            })
            .await
    }

    /// A conversation of which the user is a side, for signals about it that are kept nowhere.
    pub async fn own(&self, user: UserId, conversation: &str) -> Result<Conversation, ConversationError> {
        let select = conversations::Entity::find_by_id(parse_id(conversation)?).of_side(user);
        Ok(select.one(self.db.reader()).await?.ok_or_else(not_found)?.into())
    }

    /// Locks a conversation of which the user is a side.
    async fn lock_own_in(&self, tx: &Tx, user: UserId, id: ConversationId) -> Result<Conversation, ConversationError> {
        let row = conversations::Entity::find_by_id(id).of_side(user).locked().one(&**tx).await?;
        Ok(row.ok_or_else(not_found)?.into())
    }

    /// Locks a message that the user has sent, behind its conversation.
    async fn lock_with_message_in(
        &self,
        tx: &Tx,
        sender: UserId,
        id: MessageId,
    ) -> Result<(Conversation, Message), ConversationError> {
        let not_found = || Invalid::not_found("messageId", "message");
        let own = || messages::Entity::find_by_id(id).filter(messages::Column::SenderId.eq(sender));
        let of = own().select_only().column(messages::Column::ConversationId).into_tuple::<ConversationId>();
        let conversation = of.one(&**tx).await?.ok_or_else(not_found)?;
        let before = self.lock_own_in(tx, sender, conversation).await?;
        // Not before: what was read before the lock may be old.
        let message = own().one(&**tx).await?.ok_or_else(not_found)?;
        Ok((before, message.into()))
    }

    /// Writes a changed message and the next version of its conversation.
    async fn change_in(&self, tx: &Tx, before: &Conversation, message: Message) -> Result<Changed, ConversationError> {
        let after = before.after_change();
        let update = messages::Entity::update_many()
            .set(messages::changes(&message))
            .filter(messages::Column::Id.eq(message.id));
        tx.defer_built(&update).await?;
        self.save_in(tx, &after).await?;
        self.record_in(tx, &after, &message).await?;
        Ok(Changed { conversation: after, message })
    }

    /// Writes the next version of a locked conversation.
    async fn save_in(&self, tx: &Tx, after: &Conversation) -> Result<(), InternalError> {
        let saved = conversations::Entity::update_many()
            .set(conversations::changes(after))
            .filter(conversations::Column::Id.eq(after.id))
            .filter(conversations::Column::Version.eq(after.version - 1))
            .exec(&**tx)
            .await?;
        let changed = || InternalError::corrupt(format!("{} changed under its lock", after.id));
        if saved.rows_affected == 1 { Ok(()) } else { Err(changed()) }
    }

    async fn record_in(&self, tx: &Tx, after: &Conversation, message: &Message) -> Result<(), InternalError> {
        let update = MessageUpdate { conversation: after.clone(), message: message.clone() };
        Ok(events::record(tx, updated(self.ids.next(), &update, self.clock.now())?).await?)
    }

    /// Puts an entry into the other side's inbox, if that side had read everything before and has no unread entry about
    /// this conversation: one is enough to come and look.
    async fn tell_other_side_in(
        &self,
        tx: &Tx,
        before: &Conversation,
        sender: UserId,
        job: &Job,
    ) -> Result<(), InternalError> {
        let other = before.other_than(sender);
        let (kind, subject) = (NotificationKind::MessageReceived, Subject::Claim(claim_of(before.id)));
        let Neighbours { accounts, notifications, .. } = &self.neighbours;
        if before.unread_by(other) > 0 || notifications.has_unread_in(tx, other, kind, subject).await? {
            return Ok(());
        }
        let name = accounts.card_in(tx, sender).await?.display_name;
        let part = if other == before.client_id { Part::Client } else { Part::Freelancer };
        notifications.notify_in(tx, other, kind, Details::new(part, &job.title).by(sender, &name), subject).await
    }

    /// What was said stays as it is while an admin decides by it.
    async fn check_undisputed_in(&self, tx: &Tx, conversation: &Conversation) -> Result<(), ConversationError> {
        let claim = self.neighbours.claims.find_in(tx, claim_of(conversation.id)).await?;
        let Some(claim) = claim else { return Ok(()) };
        let job = self.neighbours.jobs.find_in(tx, claim.job_id).await?;
        if job.is_some_and(|job| job.status() == JobStatus::Disputed) {
            let why = "cannot be changed while the job is DISPUTED; send another message in its place";
            return Err(Invalid::value("messageId", why).into());
        }
        Ok(())
    }

    /// By the last messages of the conversation, of which there are few.
    async fn check_rate_in(
        &self,
        tx: &Tx,
        before: &Conversation,
        sender: UserId,
        now: Timestamp,
    ) -> Result<(), ConversationError> {
        let most = i32::try_from(2 * MOST_AT_A_TIME).unwrap_or(i32::MAX);
        let sent: Vec<Timestamp> = messages::Entity::find()
            .select_only()
            .column(messages::Column::SentAt)
            .filter(messages::Column::ConversationId.eq(before.id))
            .filter(messages::Column::Number.gt(before.last_number.saturating_sub(most)))
            .filter(messages::Column::SenderId.eq(sender))
            .filter(messages::Column::SentAt.gt(now - RATE_WINDOW))
            .order_by_asc(messages::Column::Number)
            .into_tuple()
            .all(&**tx)
            .await?;
        match must_wait(&sent, now) {
            None => Ok(()),
            Some(wait) => {
                let retry_after_ms = u32::try_from(wait.num_milliseconds()).unwrap_or(u32::MAX).max(1);
                Err(ConversationError::TooMany { retry_after_ms })
            }
        }
    }

    /// By the clock that all nodes share: on `SQLite` the process's, of which there is one. In milliseconds.
    async fn now_in(&self, tx: &Tx) -> Result<Timestamp, InternalError> {
        match tx.backend() {
            Backend::Sqlite => Ok(self.clock.now()),
            Backend::Postgres => {
                let rows = tx.query("SELECT date_trunc('milliseconds', clock_timestamp()) AS now", []).await?;
                let row = rows.first().ok_or_else(|| InternalError::corrupt("the database's time"))?;
                Ok(row.try_get("", "now")?)
            }
        }
    }
}

/// The message that this sender has sent under this id.
async fn earlier_in(
    tx: &Tx,
    sender: UserId,
    client_id: &str,
    hash: &[u8],
) -> Result<Option<Message>, ConversationError> {
    let row = messages::Entity::find()
        .filter(messages::Column::SenderId.eq(sender))
        .filter(messages::Column::ClientId.eq(client_id))
        .one(&**tx)
        .await?;
    match row {
        Some(row) if row.request_hash != hash => Err(ConversationError::ClientIdReused),
        row => Ok(row.map(Into::into)),
    }
}

/// Writes a new message. The lock on its conversation says nothing of the sender's other conversations, in one of which the
/// same `clientId` may be used at the same time.
async fn insert_in(tx: &Tx, message: &Message, hash: &[u8]) -> Result<(), ConversationError> {
    let row = messages::new(message, hash.to_vec());
    let taken = OnConflict::columns([messages::Column::SenderId, messages::Column::ClientId]).do_nothing().to_owned();
    let inserted = messages::Entity::insert(row).on_conflict(taken).exec_without_returning(&**tx).await?;
    if inserted == 1 { Ok(()) } else { Err(ConversationError::ClientIdInUse { retry_after_ms: RETRY_AFTER_MS }) }
}

/// What a sender asked for, as it is compared with what they ask for under the same `clientId` again.
fn request_hash(conversation: ConversationId, body: &str) -> Vec<u8> {
    Sha256::new().chain_update(Uuid::from(conversation).as_bytes()).chain_update(body).finalize().to_vec()
}

fn not_found() -> Invalid {
    Invalid::not_found("conversationId", "conversation")
}

fn parse_id(text: &str) -> Result<ConversationId, Invalid> {
    text.parse().map_err(|_| not_found())
}

fn parse_message(text: &str) -> Result<MessageId, Invalid> {
    text.parse().map_err(|_| Invalid::not_found("messageId", "message"))
}

/// 1 to 100 visible ASCII characters.
fn parse_client_id(text: &str) -> Result<String, Invalid> {
    if (1..=100).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err(Invalid::value("clientId", "must be 1 to 100 visible ASCII characters, such as a UUID"))
    }
}
