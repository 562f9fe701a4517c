//! The types `Claim` and `Deliverable` with their statuses.
//!
//! Who makes a [`ClaimObject`] or a [`DeliverableObject`] has checked that the viewer may see it.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Object, Result};

use super::loaders::files_of;
use crate::{
    accounts::graphql::{UserObject, user},
    claims::model::{self, Claim, Deliverable},
    conversations::graphql::{ConversationObject, conversation_of_claim},
    error::InternalError,
    files::graphql::FileObject,
    graphql::{context::ContextExt, scalars::DateTime},
    jobs::graphql::JobObject,
    schema::Loaders,
};

/// Claim lifecycle. A job has at most one claim that is ACTIVE, IN_REVIEW, REVISION_REQUESTED or DISPUTED.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "model::ClaimStatus")]
pub(crate) enum ClaimStatus {
    /// The freelancer works; nothing was submitted yet.
    Active,
    /// Work was submitted and waits for the client.
    InReview,
    /// The client sent the last submission back; the freelancer works again.
    RevisionRequested,
    /// The client accepted the work and the freelancer was paid. Final.
    Approved,
    /// The freelancer gave it back; the job reopened. Final.
    Released,
    /// `expiresAt` passed without a submission; the job reopened. Final.
    Expired,
    /// An admin ended it when a dispute was resolved for the client. Final. Reserved: there are no disputes yet.
    Cancelled,
    /// An admin decides; escrow is frozen meanwhile. Reserved: there are no disputes yet.
    Disputed,
}

/// Review state of one submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "model::DeliverableStatus")]
pub(crate) enum DeliverableStatus {
    /// Waits for the client's review.
    Submitted,
    /// The client sent it back with a note.
    RevisionRequested,
    /// The client accepted it; this is the work that was paid.
    Approved,
    /// The freelancer submitted a newer one before it was reviewed.
    Superseded,
}

/// A claim in the API. Its maker has checked that the viewer may see it.
#[derive(Clone, Debug)]
pub(crate) struct ClaimObject(pub(crate) Arc<Claim>);

impl From<Claim> for ClaimObject {
    fn from(claim: Claim) -> Self {
        Self(Arc::new(claim))
    }
}

/// One freelancer's exclusive hold on one job.
#[Object(name = "Claim")]
impl ClaimObject {
    /// Opaque, globally unique and permanent: pass it to `node(id:)`, and never parse it.
    pub(crate) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }

    /// Grows by one with each committed change of the claim. Keep the object with the higher version.
    async fn version(&self) -> i64 {
        self.0.version
    }

    /// Where the claim is in its life.
    async fn status(&self) -> ClaimStatus {
        self.0.status().into()
    }

    /// What is claimed.
    async fn job(&self, ctx: &Context<'_>) -> Result<JobObject> {
        // A job that was claimed has been posted, and is public.
        let job = Box::pin(ctx.get::<Loaders>().jobs().load_one(self.0.job_id)).await?;
        Ok(job.ok_or_else(|| InternalError::corrupt(format!("{} is missing", self.0.job_id)))?.into())
    }

    /// Who holds or held it.
    async fn freelancer(&self, ctx: &Context<'_>) -> Result<UserObject> {
        user(ctx, self.0.freelancer_id).await
    }

    /// When the job was claimed.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// When an ACTIVE claim lapses and the job reopens, unless work was submitted.
    async fn expires_at(&self) -> Option<DateTime> {
        self.0.expires_at().map(Into::into)
    }

    /// When an IN_REVIEW deliverable counts as approved unless the client acts.
    async fn auto_approve_at(&self) -> Option<DateTime> {
        self.0.auto_approve_at().map(Into::into)
    }

    /// When it was approved, released, expired or cancelled; null while it is live.
    async fn ended_at(&self) -> Option<DateTime> {
        self.0.ended_at().map(Into::into)
    }

    /// Why it ended, in the words of who ended it.
    async fn end_reason(&self) -> Option<&str> {
        self.0.end_reason()
    }

    /// What its two sides say to each other; null for others, but for admins while the job is DISPUTED, which is written
    /// down.
    async fn conversation(&self, ctx: &Context<'_>) -> Result<Option<ConversationObject>> {
        Box::pin(conversation_of_claim(ctx, &self.0)).await
    }
}

/// A submission in the API. Its maker has checked that the viewer may see it.
#[derive(Clone, Debug)]
pub(crate) struct DeliverableObject(Arc<Deliverable>);

impl From<Deliverable> for DeliverableObject {
    fn from(deliverable: Deliverable) -> Self {
        Self(Arc::new(deliverable))
    }
}

/// One numbered submission of work for a claim.
#[Object(name = "Deliverable")]
impl DeliverableObject {
    /// Opaque, globally unique and permanent: pass it to `node(id:)`, and never parse it.
    pub(crate) async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }

    /// Counts the submissions of one claim from 1, without holes.
    async fn number(&self) -> i32 {
        self.0.number
    }

    /// What became of it.
    async fn status(&self) -> DeliverableStatus {
        self.0.status().into()
    }

    /// The claim that it was submitted for.
    async fn claim(&self, ctx: &Context<'_>) -> Result<ClaimObject> {
        // A viewer who may see the work may see the claim.
        let claim = Box::pin(ctx.get::<Loaders>().claims().load_one(self.0.claim_id)).await?;
        Ok(claim.ok_or_else(|| InternalError::corrupt(format!("{} is missing", self.0.claim_id)))?.into())
    }

    /// What the freelancer says about it. Plain text: render it as untrusted.
    async fn note(&self) -> &str {
        &self.0.note
    }

    /// What was handed in beside the note, in that order; at most 10.
    async fn files(&self, ctx: &Context<'_>) -> Result<Vec<FileObject>> {
        files_of(ctx, &self.0).await
    }

    /// What the client wants changed; null unless it was sent back.
    async fn revision_note(&self) -> Option<&str> {
        self.0.revision_note()
    }

    /// When it was handed in.
    async fn submitted_at(&self) -> DateTime {
        self.0.submitted_at.into()
    }

    /// When the client approved it or sent it back; null before that.
    async fn reviewed_at(&self) -> Option<DateTime> {
        self.0.reviewed_at().map(Into::into)
    }
}
