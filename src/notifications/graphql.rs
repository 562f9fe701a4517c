//! The inbox in the API: `Notification`, marking read, and the event `notificationReceived`.

use std::{collections::HashMap, sync::Arc};

use async_graphql::{
    ComplexObject, Context, Enum, Error, ID, InputObject, Object, Result, SimpleObject, Subscription,
    dataloader::Loader, futures_util::Stream,
};

use super::{
    NotificationError, Notifications,
    events::NOTIFICATION_RECEIVED,
    model::{self, Details, Notification, NotificationKind as Kind, Part, Subject},
    service::Inbox,
};
use crate::{
    accounts::graphql::{UserObject, user},
    claims::graphql::visible_claim,
    connection,
    error::InternalError,
    graphql::{
        connections::edges,
        context::{ContextExt, denied, signed_in},
        errors::fault,
        scalars::{DateTime, MoneyAmount},
        subscriptions::events,
        user_errors::InputError,
    },
    ids::{NotificationId, UserId},
    jobs::graphql::visible_job,
    money::Currency,
    page::{Cursor, Page},
    realtime::{Delivery, Interest},
    schema::{Loaders, node::Node},
    wallet::graphql::visible_transaction,
};

/// What a notification is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "model::NotificationKind")]
pub(crate) enum NotificationKind {
    /// To the client: a freelancer claimed the job.
    JobClaimed,
    /// To the client: the freelancer gave the claim back and the job is open again. To both sides: nothing was submitted in
    /// time, or an admin ended the claim (`interveneInJob`); `actor` is null then.
    ClaimReleased,
    /// To the client: work waits for review.
    WorkSubmitted,
    /// To the freelancer: the client sent the work back.
    RevisionRequested,
    /// To both sides: the work was approved and the job is completed. By an admin, or because the time
    /// for the review was over, where `actor` is null.
    WorkApproved,
    /// To the freelancer: the payment reached the wallet.
    PaymentReceived,
    /// To the client: an admin cancelled the job. To the freelancer, too, if there was one.
    JobCancelled,
    /// To the client: nobody claimed the job in time; its budget is back.
    JobExpired,
    /// To both sides and admins: a dispute began. Reserved: there are no disputes yet.
    DisputeOpened,
    /// To both sides: an admin decided a dispute. Reserved: there are no disputes yet.
    DisputeResolved,
    /// To one side of a claim: the other side wrote in their conversation (`Claim.conversation`). At most one of a
    /// conversation is unread, and none is made while earlier messages are unread.
    MessageReceived,
}

/// A notification in the API. Its maker has checked that the viewer may see it.
#[derive(Clone, Debug)]
pub(crate) struct NotificationObject(Arc<Notification>);

impl From<Notification> for NotificationObject {
    fn from(notification: Notification) -> Self {
        Self(Arc::new(notification))
    }
}

/// Something that happened and concerns the viewer.
#[Object(name = "Notification")]
impl NotificationObject {
    /// Opaque, globally unique and permanent: pass it to `node(id:)`, and never parse it.
    pub(crate) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }

    /// What it is about: branch on this.
    async fn kind(&self) -> NotificationKind {
        self.0.kind.into()
    }

    /// One line to show to the inbox's owner, in English, from the part that they have in it. Plain text: render it as
    /// untrusted. The other fields have what it is made of, for words of your own.
    async fn title(&self, ctx: &Context<'_>) -> String {
        words(&self.0, ctx.get::<Currency>())
    }

    /// Who did it; null where the marketplace did, and for old notifications, which have their title alone.
    async fn actor(&self, ctx: &Context<'_>) -> Result<Option<UserObject>> {
        let Some(actor) = self.details().and_then(|details| details.actor.as_ref()) else { return Ok(None) };
        Ok(Some(user(ctx, actor.id).await?))
    }

    /// What the job was called at that time; null for old notifications, which have their title alone.
    async fn job_title(&self) -> Option<&str> {
        self.details().map(|details| details.job_title.as_str())
    }

    /// The money that moved into the owner's wallet; null where none did.
    async fn amount(&self, ctx: &Context<'_>) -> Option<MoneyAmount> {
        let amount = self.details().and_then(|details| details.amount)?;
        Some(ctx.money(amount))
    }

    /// Why, in the words of who did it; null where they gave no reason.
    async fn reason(&self) -> Option<&str> {
        self.details().and_then(|details| details.reason.as_deref())
    }

    /// What it points at; null if the reader may not see that any more.
    async fn subject(&self, ctx: &Context<'_>) -> Result<Option<Node>> {
        Ok(match self.0.subject {
            Subject::Job(id) => visible_job(ctx, id).await?.map(Node::Job),
            Subject::Claim(id) => Box::pin(visible_claim(ctx, id)).await?.map(Node::Claim),
            Subject::Transaction(id) => Box::pin(visible_transaction(ctx, id)).await?.map(Node::Transaction),
        })
    }

    /// When it reached the inbox.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// When it was marked read; null until then.
    async fn read_at(&self) -> Option<DateTime> {
        self.0.read_at.map(Into::into)
    }
}

impl NotificationObject {
    fn details(&self) -> Option<&Details> {
        self.0.details.as_ref()
    }
}

/// One line for the inbox's owner, from the part that they have in it: who approved work reads of it otherwise than whose
/// work it is. The inbox's owner is the reader, also where an admin looks. What was kept as a sentence stays that.
fn words(notification: &Notification, currency: &Currency) -> String {
    let (kind, details) = (notification.kind, &notification.details);
    details.as_ref().map_or_else(|| notification.title.clone(), |details| sentence(kind, details, currency))
}

fn sentence(kind: Kind, details: &Details, currency: &Currency) -> String {
    let job = &details.job_title;
    let who = details.actor.as_ref().map(|actor| actor.name.as_str());
    let money = details.amount.map(|amount| format!("{} {}", currency.format(amount), currency.code()));
    // An administrator gives a reason; time does not.
    let by_clock = who.is_none() && details.reason.is_none();
    let (who_or_they, money) = (who.unwrap_or("Somebody"), money.as_deref());
    match (kind, details.part) {
        (Kind::JobClaimed, _) => format!("{who_or_they} claimed \"{job}\""),
        (Kind::ClaimReleased, Part::Client) => match who {
            Some(who) => format!("{who} released \"{job}\"; it is open again"),
            None if by_clock => format!("Nothing was submitted for \"{job}\" in time; it is open again"),
            None => format!("An administrator ended the claim on \"{job}\"; it is open again"),
        },
        (Kind::ClaimReleased, Part::Freelancer) if by_clock => {
            format!("Your claim on \"{job}\" ended: nothing was submitted in time")
        }
        (Kind::ClaimReleased, Part::Freelancer) => {
            format!("An administrator ended your claim on \"{job}\"")
        }
        (Kind::WorkSubmitted, _) => format!("{who_or_they} submitted work for \"{job}\"; review it"),
        (Kind::RevisionRequested, _) => format!("{who_or_they} requested a revision of \"{job}\""),
        (Kind::WorkApproved, Part::Client) => match who {
            Some(freelancer) => format!("You approved the work of {freelancer} for \"{job}\"; it is completed"),
            None if by_clock => {
                format!("The time to review \"{job}\" is over: its work counts as approved; it is completed")
            }
            None => format!("An administrator approved the work for \"{job}\"; it is completed"),
        },
        (Kind::WorkApproved, Part::Freelancer) if by_clock => {
            format!("Your work for \"{job}\" was not reviewed in time and counts as approved; it is completed")
        }
        (Kind::WorkApproved, Part::Freelancer) => {
            let who = who.unwrap_or("An administrator");
            format!("{who} approved your work for \"{job}\"; it is completed")
        }
        (Kind::PaymentReceived, _) => match money {
            Some(money) => format!("You were paid {money} for \"{job}\""),
            None => format!("You were paid for \"{job}\""),
        },
        (Kind::JobCancelled, _) => match money {
            Some(money) => format!("An administrator cancelled \"{job}\"; {money} is back in your wallet"),
            None => format!("An administrator cancelled \"{job}\""),
        },
        (Kind::JobExpired, _) => match money {
            Some(money) => format!("Nobody claimed \"{job}\" before its deadline; {money} is back in your wallet"),
            None => format!("Nobody claimed \"{job}\" before its deadline"),
        },
        (Kind::DisputeOpened, _) => match who {
            Some(who) => format!("{who} opened a dispute over \"{job}\""),
            None => format!("A dispute over \"{job}\" was opened"),
        },
        (Kind::DisputeResolved, _) => format!("The dispute over \"{job}\" was resolved"),
        (Kind::MessageReceived, _) => format!("{who_or_they} wrote to you about \"{job}\""),
    }
}

/// Batches look-ups of notifications.
pub(crate) struct NotificationLoader(pub(crate) Notifications);

impl Loader<NotificationId> for NotificationLoader {
    type Value = Notification;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[NotificationId]) -> Result<HashMap<NotificationId, Notification>, Arc<InternalError>> {
        self.0.by_id(keys).await.map_err(Arc::new)
    }
}

impl Loader<Inbox> for NotificationLoader {
    type Value = Page<Notification>;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[Inbox]) -> Result<HashMap<Inbox, Page<Notification>>, Arc<InternalError>> {
        let pages = self.0.pages(keys).await.map_err(Arc::new)?;
        Ok(keys.iter().copied().zip(pages).collect())
    }
}

/// A notification, for the inbox's owner and for admins.
pub(crate) async fn visible_notification(ctx: &Context<'_>, id: NotificationId) -> Result<Option<NotificationObject>> {
    let notification = Box::pin(ctx.get::<Loaders>().notifications().load_one(id)).await?;
    let actor = ctx.actor();
    let visible = |of: &Notification| actor.is(of.user_id) || actor.is_admin();
    Ok(notification.filter(visible).map(Into::into))
}

connection! {
    /// A page of notifications.
    NotificationConnection,
    /// A notification in a page of notifications.
    NotificationEdge,
    NotificationObject,
    complex UserId
}

impl NotificationConnection {
    pub(crate) fn new(page: Page<Notification>, scope: UserId) -> Self {
        let (edges, page_info) = edges(page, |notification| Cursor::by_id(notification.id.into()));
        let edges: Vec<_> =
            edges.into_iter().map(|(cursor, node)| NotificationEdge { cursor, node: node.into() }).collect();
        Self { nodes: edges.iter().map(|edge| edge.node.clone()).collect(), edges, page_info, scope }
    }
}

#[ComplexObject]
impl NotificationConnection {
    /// Unread notifications in the whole inbox, not on this page alone. Exact up to 10 000, then capped.
    async fn unread_count(&self, ctx: &Context<'_>) -> Result<i32> {
        let count = ctx.get::<Notifications>().unread_count(self.scope).await?;
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }
}

impl NotificationError {
    /// How the API tells it: as data where a person can act on it, else as a top-level error.
    fn outward(self) -> Result<InputError, Error> {
        match self {
            Self::Denied(refused) => Err(denied(refused)),
            Self::Invalid(invalid) => Ok(invalid.into()),
            Self::InternalError(failed) => Err(fault(failed)),
        }
    }
}

/// Mark notifications read, up to and including this one.
#[derive(InputObject)]
pub(crate) struct MarkNotificationsReadInput {
    /// A notification of the caller's own inbox: it and all older ones are marked.
    up_to_id: ID,
}

/// Result of `markNotificationsRead`.
#[derive(SimpleObject)]
pub(crate) struct MarkNotificationsReadPayload {
    /// The caller after the change; null if nothing was done.
    viewer: Option<UserObject>,
    /// Why nothing was done; empty after a success.
    errors: Vec<InputError>,
}

/// Writes of inboxes.
#[derive(Default)]
pub(crate) struct NotificationMutation;

#[Object]
impl NotificationMutation {
    /// Any signed-in user. Marks the caller's own inbox as read. One request marks up to 100,000, the newest first:
    /// `unreadCount` says whether there are more, which the same request again marks. Meanwhile others read counts that go
    /// down.
    async fn mark_notifications_read(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Up to which notification.")] input: MarkNotificationsReadInput,
    ) -> Result<Option<MarkNotificationsReadPayload>> {
        let actor = signed_in(ctx)?;
        Ok(Some(match ctx.get::<Notifications>().mark_read(actor, &input.up_to_id).await {
            Ok(()) => {
                let viewer = user(ctx, actor.signed_in().map_err(denied)?).await?;
                MarkNotificationsReadPayload { viewer: Some(viewer), errors: Vec::new() }
            }
            Err(error) => MarkNotificationsReadPayload { viewer: None, errors: vec![error.outward()?] },
        }))
    }
}

/// A `notificationReceived` event in the API.
#[derive(Clone)]
pub(crate) struct NotificationReceivedEvent {
    delivery: Arc<Delivery>,
    notification: NotificationObject,
}

impl NotificationReceivedEvent {
    /// The event as the inbox's owner receives it.
    pub(crate) fn of(delivery: Arc<Delivery>) -> Result<Self> {
        let notification = delivery.payload::<Notification>()?.clone().into();
        Ok(Self { delivery, notification })
    }
}

/// A notification reached the viewer's inbox.
#[Object]
impl NotificationReceivedEvent {
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

    /// The notification, not read yet.
    async fn notification(&self) -> NotificationObject {
        self.notification.clone()
    }
}

/// Live changes of inboxes.
#[derive(Default)]
pub(crate) struct NotificationSubscription;

#[Subscription]
impl NotificationSubscription {
    /// The viewer's own inbox. Each notification as it arrives.
    async fn notification_received(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Events after this cursor are sent first; null: only what happens from now on.")]
        after: Option<String>,
    ) -> Result<impl Stream<Item = Result<NotificationReceivedEvent>>> {
        let interest = async { signed_in(ctx).map(|_| Interest::all(NOTIFICATION_RECEIVED)) };
        events(ctx, after, interest, |received| NotificationReceivedEvent::of(received.delivery)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, ids::Ids, money::Money};

    #[test]
    fn each_side_reads_of_its_own_part() {
        let ids = Ids::seeded(Clock::system(), 3);
        let currency = Currency::new("USD", 2, Money::from_minor(1_000_000));
        let details = |part| Details::new(part, "A logo").by(ids.next(), "Ben");
        let title = |kind, part| sentence(kind, &details(part), &currency);
        let (client, freelancer) = (Part::Client, Part::Freelancer);
        assert_eq!(title(Kind::JobClaimed, client), "Ben claimed \"A logo\"");
        let approved = Kind::WorkApproved;
        assert_eq!(title(approved, client), "You approved the work of Ben for \"A logo\"; it is completed");
        assert_eq!(title(approved, freelancer), "Ben approved your work for \"A logo\"; it is completed");
        let paid = Details { amount: Some(Money::from_minor(9_505)), ..details(freelancer) };
        let words = |currency| sentence(Kind::PaymentReceived, &paid, currency);
        assert_eq!(words(&currency), "You were paid 95.05 USD for \"A logo\"");
        assert_eq!(words(&Currency::new("JPY", 0, Money::from_minor(1))), "You were paid 9505 JPY for \"A logo\"");
        for kind in Kind::ALL {
            for part in Part::ALL {
                let nobody = Details::new(*part, "A logo");
                for details in [details(*part), nobody, Details { amount: Some(Money::ZERO), ..details(*part) }] {
                    assert!(sentence(*kind, &details, &currency).contains("\"A logo\""), "{kind:?}");
                }
            }
        }
    }

    #[test]
    fn what_was_kept_as_a_sentence_is_read_as_one() {
        let ids = Ids::seeded(Clock::system(), 4);
        let kept = Notification {
            id: ids.next(),
            user_id: ids.next(),
            kind: Kind::JobClaimed,
            title: "Ben took \"A logo\"".into(),
            details: None,
            subject: Subject::Job(ids.next()),
            created_at: Clock::system().now(),
            read_at: None,
        };
        let event = serde_json::to_value(&kept).expect("JSON");
        assert!(event.get("details").is_none(), "as the version before wrote it: {event}");
        let old: Notification = serde_json::from_value(event).expect("reads back");
        let currency = Currency::new("USD", 2, Money::from_minor(1));
        assert_eq!((words(&old, &currency), &old.details), (old.title.clone(), &None));
        let details = Some(Details::new(Part::Client, "Another"));
        let new = Notification { details, ..old };
        let new: Notification = serde_json::from_value(serde_json::to_value(&new).expect("JSON")).expect("reads back");
        assert_eq!(words(&new, &currency), "Somebody claimed \"Another\"");
    }
}
