//! Lists of claims and of the work handed in for them: what whom is shown, a page at a time.

use std::collections::HashMap;

use sea_orm::{
    ColumnTrait, EntityTrait, FromQueryResult as _, Order, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait as _, Select, sea_query::Expr,
};

use super::{
    Claims,
    entity::{
        claims::{self, Finders as _},
        deliverables,
    },
    model::{Claim, ClaimStatus, Deliverable},
};
use crate::{
    auth::actor::Actor,
    error::InternalError,
    ids::{ClaimId, JobId, UserId},
    page::{Page, PageRequest, read_all},
};

impl Claims {
    /// What a list of claims shows the actor, who is the user `viewer`: those on a job of their own (or any job, for admins), or else their own.
    pub async fn scope(&self, actor: &Actor, viewer: UserId, job: Option<JobId>) -> Result<ClaimScope, InternalError> {
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
    ) -> Result<Page<Claim>, InternalError> {
        let rows = scope.page(statuses, request).all(self.db.reader()).await?;
        request.page(rows).try_map(Claim::try_from)
    }

    /// The same for several lists.
    pub async fn pages(&self, lists: &[ClaimsIn]) -> Result<Vec<Page<Claim>>, InternalError> {
        let select = |list: &ClaimsIn| list.scope.page(&list.statuses, list.request).into_query();
        let found = read_all(self.db.reader(), lists.iter().map(select).collect()).await?;
        let pages = found.into_iter().zip(lists).map(|(rows, list)| {
            let rows = rows.iter().map(|row| claims::Model::from_query_result(row, "")).collect::<Result<_, _>>()?;
            list.request.page(rows).try_map(Claim::try_from)
        });
        pages.collect()
    }

    /// How many claims [`Claims::page`] pages through.
    pub async fn count(&self, scope: ClaimScope, statuses: &[ClaimStatus]) -> Result<u64, InternalError> {
        Ok(scope.select(statuses).count(self.db.reader()).await?)
    }

    /// Pages of the work handed in for claims, newest first. The caller has been let to see it.
    pub async fn pages_of_work(&self, lists: &[WorkFor]) -> Result<Vec<Page<Deliverable>>, InternalError> {
        let id = Expr::col(deliverables::Column::Id);
        let select = |list: &WorkFor| {
            deliverables::Entity::find()
                .filter(deliverables::Column::ClaimId.is_in(list.claims.clone()))
                .filter(list.request.bounds(&Order::Desc, &id, |cursor| Expr::value(cursor.id)))
                .order_by(deliverables::Column::Id, list.request.direction(Order::Desc))
                .limit(list.request.limit())
                .into_query()
        };
        let found = read_all(self.db.reader(), lists.iter().map(select).collect()).await?;
        let pages = found.into_iter().zip(lists).map(|(rows, list)| {
            let rows = rows.iter().map(|row| deliverables::Model::from_query_result(row, ""));
            list.request.page(rows.collect::<Result<_, _>>()?).try_map(Deliverable::try_from)
        });
        pages.collect()
    }

    /// All claims there ever were on many jobs, for a loader whose caller checks who may see them.
    pub async fn all_of(&self, jobs: &[JobId]) -> Result<HashMap<JobId, Vec<Claim>>, InternalError> {
        let rows = claims::Entity::find().filter(claims::Column::JobId.is_in(jobs.to_vec()));
        let mut found: HashMap<JobId, Vec<Claim>> = HashMap::new();
        for row in rows.all(self.db.reader()).await? {
            found.entry(row.job_id).or_default().push(row.try_into()?);
        }
        Ok(found)
    }
}

/// A page of claims.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClaimsIn {
    /// Which list.
    pub scope: ClaimScope,
    /// In one of these statuses; empty: in any.
    pub statuses: Vec<ClaimStatus>,
    /// Which rows.
    pub request: PageRequest,
}

/// A page of the work handed in for some claims.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WorkFor {
    /// Which claims.
    pub claims: Vec<ClaimId>,
    /// Which rows.
    pub request: PageRequest,
}

/// Which claims a list is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClaimScope {
    /// Only this freelancer's.
    pub freelancer: Option<UserId>,
    /// Only those on this job.
    pub job: Option<JobId>,
}

impl ClaimScope {
    fn page(self, statuses: &[ClaimStatus], request: PageRequest) -> Select<claims::Entity> {
        let id = Expr::col(claims::Column::Id);
        self.select(statuses)
            .filter(request.bounds(&Order::Desc, &id, |cursor| Expr::value(cursor.id)))
            .order_by(claims::Column::Id, request.direction(Order::Desc))
            .limit(request.limit())
    }

    fn select(self, statuses: &[ClaimStatus]) -> Select<claims::Entity> {
        let mut select = claims::Entity::find();
        if let Some(freelancer) = self.freelancer {
            select = select.of_freelancer(freelancer);
        }
        if let Some(job) = self.job {
            select = select.on_job(job);
        }
        if statuses.is_empty() {
            return select;
        }
        select.filter(claims::Column::Status.is_in(statuses.iter().map(|status| status.as_str())))
    }
}
