//! Reads of single jobs and of their skills; lists are in [`list`](super::list).

use std::collections::HashMap;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::{
    entity::{
        job_skills,
        jobs::{self, Finders as _},
    },
    model::Job,
    service::Jobs,
};
use crate::{
    accounts::{entity::skills, model::Skill},
    auth::actor::Actor,
    clock::Timestamp,
    error::InternalError,
    ids::{JobId, SkillId},
};

impl Jobs {
    /// A job, if the actor may see it.
    pub async fn find(&self, actor: &Actor, id: JobId) -> Result<Option<Job>, InternalError> {
        let row = jobs::Entity::find_by_id(id).visible_to(actor).one(self.db.reader()).await?;
        row.map(Job::try_from).transpose()
    }

    /// Many jobs by id, for a loader whose caller asks [`Job::is_visible_to`].
    pub async fn by_id(&self, ids: &[JobId]) -> Result<HashMap<JobId, Job>, InternalError> {
        let rows = jobs::Entity::find().filter(jobs::Column::Id.is_in(ids.to_vec())).all(self.db.reader()).await?;
        rows.into_iter().map(|row| Ok((row.id, row.try_into()?))).collect()
    }

    /// The skills of many jobs, as their clients listed them.
    pub async fn skills_of(&self, jobs: &[JobId]) -> Result<HashMap<JobId, Vec<Skill>>, InternalError> {
        type Row = (JobId, SkillId, String, String, Option<Timestamp>, Option<SkillId>);
        let rows: Vec<Row> = job_skills::Entity::find()
            .select_only()
            .column(job_skills::Column::JobId)
            .columns([skills::Column::Id, skills::Column::Slug, skills::Column::Name])
            .columns([skills::Column::RetiredAt, skills::Column::MergedInto])
            .inner_join(skills::Entity)
            .filter(job_skills::Column::JobId.is_in(jobs.to_vec()))
            .order_by_asc(job_skills::Column::Place)
            .into_tuple()
            .all(self.db.reader())
            .await?;
        let skill = |(job, id, slug, name, retired_at, merged_into)| {
            (job, skills::Model { id, slug, name, retired_at, merged_into })
        };
        self.accounts.with_merged(self.db.reader(), rows.into_iter().map(skill).collect()).await
    }
}
