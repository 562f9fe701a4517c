//! The interface over the events of all domains.

use async_graphql::{ID, Interface};

use crate::{
    graphql::scalars::DateTime,
    jobs::graphql::{JobPostedEvent, JobUpdatedEvent},
    notifications::graphql::NotificationReceivedEvent,
    wallet::graphql::WalletUpdatedEvent,
};

/// A committed change. Delivery is at least once and in order; drop an `id` already seen.
#[derive(Interface)]
#[graphql(
    field(name = "id", ty = "ID"),
    field(name = "cursor", ty = "String", desc = "Resume point: pass the last one seen as `after` to miss nothing."),
    field(name = "occurred_at", ty = "DateTime")
)]
pub(crate) enum Event {
    JobPosted(JobPostedEvent),
    JobUpdated(JobUpdatedEvent),
    WalletUpdated(WalletUpdatedEvent),
    NotificationReceived(NotificationReceivedEvent),
}
