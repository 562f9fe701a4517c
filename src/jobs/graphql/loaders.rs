//! Look-ups of jobs, batched for each request, and the check of who may see what they find.

use std::{collections::HashMap, sync::Arc};

use async_graphql::{Context, Result, dataloader::Loader};

use super::objects::{JobObject, SkillsOf};
use crate::{
    accounts::model::Skill,
    error::InternalError,
    graphql::context::ContextExt,
    ids::JobId,
    jobs::{Jobs, list::JobsOf, model::Job},
    page::Page,
    schema::Loaders,
};

/// Batches look-ups of jobs.
pub(crate) struct JobLoader(pub(crate) Jobs);

impl Loader<JobId> for JobLoader {
    type Value = Job;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[JobId]) -> Result<HashMap<JobId, Job>, Arc<InternalError>> {
        self.0.by_id(keys).await.map_err(Arc::new)
    }
}

impl Loader<SkillsOf> for JobLoader {
    type Value = Vec<Skill>;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[SkillsOf]) -> Result<HashMap<SkillsOf, Vec<Skill>>, Arc<InternalError>> {
        let jobs: Vec<JobId> = keys.iter().map(|key| key.0).collect();
        let skills = self.0.skills_of(&jobs).await.map_err(Arc::new)?;
        Ok(skills.into_iter().map(|(job, skills)| (SkillsOf(job), skills)).collect())
    }
}

impl Loader<JobsOf> for JobLoader {
    type Value = Page<Job>;
    type Error = Arc<InternalError>;

    async fn load(&self, keys: &[JobsOf]) -> Result<HashMap<JobsOf, Page<Job>>, Arc<InternalError>> {
        let pages = self.0.pages_of_clients(keys).await.map_err(Arc::new)?;
        Ok(keys.iter().cloned().zip(pages).collect())
    }
}

/// A job that something refers to, if the viewer may see it.
pub(crate) async fn visible_job(ctx: &Context<'_>, id: JobId) -> Result<Option<JobObject>> {
    let job = Box::pin(ctx.get::<Loaders>().jobs().load_one(id)).await?;
    let visible = |job: &Job| job.is_public() || job.is_visible_to(&ctx.actor());
    Ok(job.filter(visible).map(Into::into))
}
