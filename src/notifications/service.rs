//! Filling, reading and tidying an inbox.

use std::collections::HashMap;

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult as _, Order, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait as _, Select, sea_query::Expr,
};

use super::{
    entity::{self, Column, Entity, Finders as _},
    error::NotificationError,
    events::received,
    model::{Details, Notification, NotificationKind, Subject},
};
use crate::{
    auth::actor::Actor,
    clock::Clock,
    db::{Db, Tx},
    error::{InternalError, Invalid},
    events,
    ids::{Ids, NotificationId, UserId},
    page::{Page, PageRequest, read_all},
};

/// Notifications that are marked at a time, and times that one request does so.
const STEP: u32 = 1_000;
const STEPS: usize = 100;
/// Unread ones that are looked at for one like a new one.
const LOOK_BACK: u32 = 1_000;
/// Up to where unread ones are counted.
const COUNT_CAP: i64 = 10_000;

/// The inboxes. Clones share everything.
#[derive(Clone, Debug)]
pub struct Notifications {
    db: Db,
    clock: Clock,
    ids: Ids,
}

impl Notifications {
    /// Inboxes on these tools.
    pub const fn new(db: Db, clock: Clock, ids: Ids) -> Self {
        Self { db, clock, ids }
    }

    /// The same on another view of the database.
    #[must_use]
    pub fn on(&self, db: &Db) -> Self {
        Self { db: db.clone(), ..self.clone() }
    }

    /// Puts an entry into a user's inbox and records the event.
    pub async fn notify_in(
        &self,
        tx: &Tx,
        user: UserId,
        kind: NotificationKind,
        details: Details,
        subject: Subject,
    ) -> Result<(), InternalError> {
        let now = self.clock.now();
        let notification = Notification {
            id: self.ids.next(),
            user_id: user,
            kind,
            title: String::new(),
            details: Some(details),
            subject,
            created_at: now,
            read_at: None,
        };
        let (subject_kind, subject_id) = subject.to_columns();
        let row = entity::ActiveModel {
            id: Set(notification.id),
            user_id: Set(user),
            kind: Set(kind.as_str().to_owned()),
            title: Set(notification.title.clone()),
            details: Set(Some(serde_json::to_string(&notification.details).map_err(InternalError::corrupt)?)),
            subject_kind: Set(subject_kind.to_owned()),
            subject_id: Set(subject_id),
            created_at: Set(now),
            read_at: Set(None),
        };
        tx.defer_built(&Entity::insert(row)).await?;
        Ok(events::record(tx, received(self.ids.next(), &notification)?).await?)
    }

    /// Whether a user has an unread entry of this kind about this subject. A look at what is unread, of which there may be
    /// much: no further back than [`LOOK_BACK`] entries.
    pub async fn has_unread_in(
        &self,
        tx: &Tx,
        user: UserId,
        kind: NotificationKind,
        subject: Subject,
    ) -> Result<bool, InternalError> {
        let (_, subject) = subject.to_columns();
        let sql = "SELECT 1 AS found FROM (SELECT kind, subject_id FROM notifications WHERE user_id = ? AND read_at IS NULL \
                   ORDER BY id DESC LIMIT ?) AS unread WHERE kind = ? AND subject_id = ? LIMIT 1";
        let values = [user.into(), i64::from(LOOK_BACK).into(), kind.as_str().into(), subject.into()];
        Ok(!tx.query(sql, values).await?.is_empty())
    }

    /// Marks everything read up to and including `up_to`, which must stand in the caller's own inbox. In steps, the newest
    /// first, each a transaction of its own: no lock is held for long. After 100,000 it is enough for one request.
    #[tracing::instrument(skip_all)]
    pub async fn mark_read(&self, actor: Actor, up_to: &str) -> Result<(), NotificationError> {
        let user = actor.signed_in()?;
        let not_found = || Invalid::not_found("upToId", "notification");
        let up_to: NotificationId = up_to.parse().map_err(|_| not_found())?;
        for _ in 0..STEPS {
            let marked = self
                .db
                .transact(|tx| async move {
                    let own = Entity::find_by_id(up_to).of_user(user).one(&*tx).await?;
                    own.ok_or_else(not_found)?;
                    let sql = "UPDATE notifications SET read_at = ? WHERE id IN (SELECT id FROM notifications \
                               WHERE user_id = ? AND id <= ? AND read_at IS NULL ORDER BY id DESC LIMIT ?)";
                    let values = [self.clock.now().into(), user.into(), up_to.into(), i64::from(STEP).into()];
                    Ok::<_, NotificationError>(tx.execute(sql, values).await?)
                })
                .await?;
            if marked < u64::from(STEP) {
                break;
            }
        }
        Ok(())
    }

    /// Pages of inboxes, newest first. The caller has been let to see them.
    pub async fn pages(&self, lists: &[Inbox]) -> Result<Vec<Page<Notification>>, InternalError> {
        let id = Expr::col(Column::Id);
        let select = |list: &Inbox| {
            inbox(list.user, list.unread_only)
                .filter(list.request.bounds(&Order::Desc, &id, |cursor| Expr::value(cursor.id)))
                .order_by(Column::Id, list.request.direction(Order::Desc))
                .limit(list.request.limit())
                .into_query()
        };
        let found = read_all(self.db.reader(), lists.iter().map(select).collect()).await?;
        let pages = found.into_iter().zip(lists).map(|(rows, list)| {
            let rows = rows.iter().map(|row| entity::Model::from_query_result(row, "")).collect::<Result<_, _>>()?;
            list.request.page(rows).try_map(Notification::try_from)
        });
        pages.collect()
    }

    /// How many entries are not read, counted up to 10,000.
    pub async fn unread_count(&self, user: UserId) -> Result<u64, InternalError> {
        let sql = "SELECT COUNT(*) AS total FROM (SELECT id FROM notifications \
                   WHERE user_id = ? AND read_at IS NULL LIMIT ?) AS capped";
        let statement = self.db.statement(sql, [user.into(), COUNT_CAP.into()]);
        let row = self.db.reader().query_one_raw(statement).await?;
        let total: i64 = row.ok_or_else(|| InternalError::corrupt("a count without a row"))?.try_get("", "total")?;
        Ok(u64::try_from(total).unwrap_or_default())
    }

    /// Many notifications by id, for a loader whose caller checked who may see them.
    pub async fn by_id(&self, ids: &[NotificationId]) -> Result<HashMap<NotificationId, Notification>, InternalError> {
        let rows = Entity::find().filter(Column::Id.is_in(ids.to_vec())).all(self.db.reader()).await?;
        rows.into_iter().map(|row| Ok((row.id, row.try_into()?))).collect()
    }
}

/// A page of an inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Inbox {
    /// Whose.
    pub user: UserId,
    /// Without what was marked read.
    pub unread_only: bool,
    /// Which rows.
    pub request: PageRequest,
}

fn inbox(user: UserId, unread_only: bool) -> Select<Entity> {
    let select = Entity::find().of_user(user);
    if unread_only { select.unread() } else { select }
}
