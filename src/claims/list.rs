//! Lists of claims and of the work handed in for them: what whom is shown, a page at a time.

use sea_orm::{
    ColumnTrait, Condition, EntityTrait, Order, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select,
    sea_query::Expr,
};

use super::{
    ClaimError, Claims,
    entity::{claims, deliverables},
    model::{Claim, ClaimStatus, Deliverable},
};
use crate::{
    auth::actor::Actor,
    error::Fault,
    ids::{JobId, UserId},
    jobs::model::Job,
    page::{Page, PageRequest},
};

impl Claims {
    /// What a list of claims shows the actor: those on a job of their own (or any job, for admins), or else their own.
    pub async fn scope(&self, actor: &Actor, job: Option<JobId>) -> Result<ClaimScope, ClaimError> {
        let viewer = actor.signed_in()?;
        let Some(job) = job else { return Ok(ClaimScope { freelancer: Some(viewer), job: None }) };
        let owner = self.jobs.find(actor, job).await?.is_some_and(|found| found.is_own(actor) || actor.is_admin());
        Ok(ClaimScope { freelancer: (!owner).then_some(viewer), job: Some(job) })
    }

    /// A page of claims, newest first.
    pub async fn page(
        &self,
        scope: ClaimScope,
        statuses: &[ClaimStatus],
        request: PageRequest,
    ) -> Result<Page<Claim>, Fault> {
        let id = Expr::col(claims::Column::Id);
        let rows = scope
            .select(statuses)
            .filter(request.bounds(&Order::Desc, &id, |cursor| Expr::value(cursor.id)))
            .order_by(claims::Column::Id, request.direction(Order::Desc))
            .limit(request.limit())
            .all(self.db.reader())
            .await?;
        request.page(rows).try_map(Claim::try_from)
    }

    /// How many claims [`Claims::page`] pages through.
    pub async fn count(&self, scope: ClaimScope, statuses: &[ClaimStatus]) -> Result<u64, Fault> {
        Ok(scope.select(statuses).count(self.db.reader()).await?)
    }

    /// A page of the work handed in for a job, newest first: all of it for its client and admins, their own for its
    /// claimant. Nothing for anybody else.
    pub async fn deliverables(
        &self,
        actor: &Actor,
        job: &Job,
        request: PageRequest,
    ) -> Result<Page<Deliverable>, Fault> {
        let rows = claims::Entity::find().filter(claims::Column::JobId.eq(job.id)).all(self.db.reader()).await?;
        let mut shown = Vec::new();
        for row in rows {
            let claim = Claim::try_from(row)?;
            if claim.shows_work_to(job, actor) {
                shown.push(claim.id);
            }
        }
        let id = Expr::col(deliverables::Column::Id);
        let rows = deliverables::Entity::find()
            .filter(deliverables::Column::ClaimId.is_in(shown))
            .filter(request.bounds(&Order::Desc, &id, |cursor| Expr::value(cursor.id)))
            .order_by(deliverables::Column::Id, request.direction(Order::Desc))
            .limit(request.limit())
            .all(self.db.reader())
            .await?;
        request.page(rows).try_map(Deliverable::try_from)
    }
}

/// Which claims a list is about.
#[derive(Clone, Copy, Debug)]
pub struct ClaimScope {
    /// Only this freelancer's.
    pub freelancer: Option<UserId>,
    /// Only those on this job.
    pub job: Option<JobId>,
}

impl ClaimScope {
    fn select(self, statuses: &[ClaimStatus]) -> Select<claims::Entity> {
        let mut condition = Condition::all();
        if let Some(freelancer) = self.freelancer {
            condition = condition.add(claims::Column::FreelancerId.eq(freelancer));
        }
        if let Some(job) = self.job {
            condition = condition.add(claims::Column::JobId.eq(job));
        }
        if !statuses.is_empty() {
            condition = condition.add(claims::Column::Status.is_in(statuses.iter().map(|status| status.as_str())));
        }
        claims::Entity::find().filter(condition)
    }
}
