//! What an event is.

use uuid::Uuid;

use crate::{
    clock::Timestamp,
    ids::{EventId, UserId},
    named_enum,
};

named_enum! {
    /// What happened, and what the nodes themselves must hear of.
    pub enum EventKind {
        /// A job became OPEN.
        JobPosted = "JOB_POSTED",
        /// A job changed.
        JobUpdated = "JOB_UPDATED",
        /// A job changed that was never posted: its author alone may hear of it. A kind of its own, so that no
        /// subscription to the changes of jobs hears of drafts unless it asks for them.
        DraftUpdated = "DRAFT_UPDATED",
        /// A claim was made or changed.
        ClaimUpdated = "CLAIM_UPDATED",
        /// A wallet changed.
        WalletUpdated = "WALLET_UPDATED",
        /// Something reached an inbox.
        NotificationReceived = "NOTIFICATION_RECEIVED",
        /// A session is over. For the nodes: no client ever hears of it.
        SessionEnded = "SESSION_ENDED",
        /// What a user may do has changed. For the nodes: no client ever hears of it.
        RightsChanged = "RIGHTS_CHANGED",
        /// Something that a newer version of the server has recorded while this one still runs. It keeps its place, and
        /// nobody here hears of it. Never recorded itself.
        Unknown = "UNKNOWN",
    }
}

/// Who may hear of an event, decided when it happened. Admins are judged by the subscription itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audience {
    /// Everybody may hear of it, though not of its private fields.
    pub public: bool,
    /// A job's client, or the user whose wallet or inbox it is.
    pub owner: UserId,
    /// The freelancer who was party to the job.
    pub claimant: Option<UserId>,
}

/// As whom a listener hears an event. Decided by the event's own columns, for what was so when it happened; today's
/// rights decide the private fields, when those are resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// As everybody: what does not look at the viewer is the same for all who hear it so.
    Public,
    /// As a party to it, or as its owner.
    Own,
}

impl EventKind {
    /// Whether the parties to such an event hear more of it than everybody, by the event itself.
    pub const fn has_parties(self) -> bool {
        match self {
            Self::JobUpdated
            | Self::DraftUpdated
            | Self::ClaimUpdated
            | Self::WalletUpdated
            | Self::NotificationReceived => true,
            Self::JobPosted | Self::SessionEnded | Self::RightsChanged | Self::Unknown => false,
        }
    }

    /// Reads a kind out of the log or off a bus: what this version does not know, it knows as [`EventKind::Unknown`].
    pub fn recorded_as(name: &str) -> Self {
        Self::from_column(name).unwrap_or(Self::Unknown)
    }

    /// Whether the nodes alone hear of it.
    pub const fn is_internal(self) -> bool {
        match self {
            Self::SessionEnded | Self::RightsChanged | Self::Unknown => true,
            Self::JobPosted
            | Self::JobUpdated
            | Self::DraftUpdated
            | Self::ClaimUpdated
            | Self::WalletUpdated
            | Self::NotificationReceived => false,
        }
    }

    /// Whether admins are a party to every event of the kind.
    pub const fn is_told_to_admins(self) -> bool {
        match self {
            Self::JobUpdated => true,
            Self::JobPosted
            | Self::DraftUpdated
            | Self::ClaimUpdated
            | Self::WalletUpdated
            | Self::NotificationReceived
            | Self::SessionEnded
            | Self::RightsChanged
            | Self::Unknown => false,
        }
    }
}

impl Audience {
    /// The users whom the event names, each once.
    pub fn parties(&self) -> impl Iterator<Item = UserId> + use<> {
        let owner = self.owner;
        std::iter::once(owner).chain(self.claimant.filter(|claimant| *claimant != owner))
    }

    /// As whom this user, or an anonymous listener, hears an event of this kind; not at all if that is none.
    pub fn hearing(&self, kind: EventKind, user: Option<UserId>, admin: bool) -> Option<Hearing> {
        if kind.is_internal() {
            return None;
        }
        let named = user.is_some_and(|user| self.parties().any(|party| party == user));
        if kind.has_parties() && (named || (admin && kind.is_told_to_admins())) {
            Some(Hearing::Own)
        } else {
            self.public.then_some(Hearing::Public)
        }
    }
}

/// An event to be recorded.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Unique for ever: clients drop one that they have seen.
    pub id: EventId,
    /// What happened.
    pub kind: EventKind,
    /// The job, wallet, inbox, session or user within which events are in order.
    pub subject: Uuid,
    /// The subject's version after the change; 0 where it has none.
    pub subject_version: i64,
    /// Who may hear of it.
    pub audience: Audience,
    /// A snapshot in JSON, written and read by the domain.
    pub payload: String,
    /// When.
    pub occurred_at: Timestamp,
}

/// A recorded event with its place in the log.
#[derive(Clone, Debug)]
pub struct Event {
    /// Contiguous from 1 in the order of publication.
    pub position: i64,
    /// What was recorded.
    pub recorded: NewEvent,
}
