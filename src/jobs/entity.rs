//! The tables of jobs, the way from their rows to the domain, and finders that take the scope of the caller.
//!
//! A use case finds by [`jobs::Finders`] and never looks at a row that its caller may not see. Loaders, whose look-ups
//! many viewers share, find by id alone; what they find is judged by
//! [`Job::is_visible_to`](super::model::Job::is_visible_to), which says the same.

/// `jobs`
pub mod jobs {
    use chrono::{DateTime, Utc};
    use sea_orm::{
        ActiveValue::Set, Condition, ExprTrait, FromQueryResult, Iterable, QueryFilter, QueryResult, QuerySelect,
        entity::prelude::*, sea_query::LockType,
    };

    use crate::{
        auth::actor::Actor,
        clock::Timestamp,
        error::InternalError,
        ids::{JobId, UserId},
        jobs::model::{Job, JobRecord, JobStatus},
        money::Money,
    };

    /// A row.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "jobs")]
    #[expect(missing_docs, reason = "columns are documented with the table, in the migration")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: JobId,
        pub version: i64,
        pub client_id: UserId,
        pub claimant_id: Option<UserId>,
        pub title: String,
        pub description: String,
        pub status: String,
        pub budget_minor: Money,
        pub deadline: Option<Timestamp>,
        pub deadline_order: Timestamp,
        pub cancel_reason: Option<String>,
        pub posted_at: Option<Timestamp>,
        pub created_at: Timestamp,
        pub updated_at: Timestamp,
        pub withheld: bool,
    }

    /// None that the code follows.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}

    /// Whose jobs a query finds, and whether it locks them.
    pub trait Finders: Sized {
        /// Only what the actor may see.
        #[must_use]
        fn visible_to(self, actor: &Actor) -> Self;

        /// Only this client's own.
        #[must_use]
        fn of_client(self, client: UserId) -> Self;

        /// Locks them until the transaction ends. Rows that merely refer to a job may be written meanwhile. What is found
        /// is as it is once it is locked, also where another transaction had to be waited for.
        #[must_use]
        fn locked(self) -> Self;
    }

    impl Finders for Select<Entity> {
        fn visible_to(self, actor: &Actor) -> Self {
            if actor.is_admin() {
                return self;
            }
            let shown = Column::Withheld.eq(false).or(Column::Status.ne(JobStatus::Open.as_str()));
            let public = Condition::all().add(Column::PostedAt.is_not_null()).add(shown);
            self.filter(match actor.user() {
                Some(user) => Condition::any().add(public).add(Column::ClientId.eq(user)),
                None => public,
            })
        }

        fn of_client(self, client: UserId) -> Self {
            self.filter(Column::ClientId.eq(client))
        }

        fn locked(self) -> Self {
            self.lock(LockType::NoKeyUpdate)
        }
    }

    /// Where a job without a deadline stands among those with one: at the end.
    pub fn deadline_order(deadline: Option<Timestamp>) -> Timestamp {
        // 9999-12-31T00:00:00Z
        deadline.or_else(|| DateTime::<Utc>::from_timestamp(253_402_214_400, 0)).unwrap_or(DateTime::UNIX_EPOCH)
    }

    /// A row of `Entity::find`, read by the places of its columns: asking for each by its name costs more than the rest
    /// of reading a page.
    #[derive(Clone, Debug)]
    pub struct Placed(Model);

    impl FromQueryResult for Placed {
        fn from_query_result(row: &QueryResult, _: &str) -> Result<Self, DbErr> {
            Ok(Self(Model {
                id: row.try_get_by_index(0)?,
                version: row.try_get_by_index(1)?,
                client_id: row.try_get_by_index(2)?,
                claimant_id: row.try_get_by_index(3)?,
                title: row.try_get_by_index(4)?,
                description: row.try_get_by_index(5)?,
                status: row.try_get_by_index(6)?,
                budget_minor: row.try_get_by_index(7)?,
                deadline: row.try_get_by_index(8)?,
                deadline_order: row.try_get_by_index(9)?,
                cancel_reason: row.try_get_by_index(10)?,
                posted_at: row.try_get_by_index(11)?,
                created_at: row.try_get_by_index(12)?,
                updated_at: row.try_get_by_index(13)?,
                withheld: row.try_get_by_index(14)?,
            }))
        }
    }

    impl TryFrom<Placed> for Job {
        type Error = InternalError;

        fn try_from(row: Placed) -> Result<Self, InternalError> {
            row.0.try_into()
        }
    }

    impl TryFrom<Model> for Job {
        type Error = InternalError;

        fn try_from(row: Model) -> Result<Self, InternalError> {
            JobRecord {
                id: row.id,
                version: row.version,
                client_id: row.client_id,
                claimant_id: row.claimant_id,
                title: row.title,
                description: row.description,
                status: JobStatus::from_column(&row.status)?,
                budget: row.budget_minor,
                deadline: row.deadline,
                cancel_reason: row.cancel_reason,
                posted_at: row.posted_at,
                created_at: row.created_at,
                updated_at: row.updated_at,
                withheld: row.withheld,
            }
            .try_into()
        }
    }

    /// The columns in which two versions of a job differ. One that is set to what it holds already is written all the
    /// same on `SQLite`, and with it each index that it stands in.
    pub fn changes(before: &Job, after: &Job) -> ActiveModel {
        let (held, mut row) = (ActiveModel::from(before.clone()), ActiveModel::from(after.clone()));
        for column in Column::iter() {
            if row.get(column) == held.get(column) {
                row.not_set(column);
            }
        }
        row
    }

    impl From<Job> for ActiveModel {
        fn from(job: Job) -> Self {
            let job = JobRecord::from(job);
            Self {
                id: Set(job.id),
                version: Set(job.version),
                client_id: Set(job.client_id),
                claimant_id: Set(job.claimant_id),
                title: Set(job.title),
                description: Set(job.description),
                status: Set(job.status.as_str().to_owned()),
                budget_minor: Set(job.budget),
                deadline: Set(job.deadline),
                deadline_order: Set(deadline_order(job.deadline)),
                cancel_reason: Set(job.cancel_reason),
                posted_at: Set(job.posted_at),
                created_at: Set(job.created_at),
                updated_at: Set(job.updated_at),
                withheld: Set(job.withheld),
            }
        }
    }
}

/// `job_skills`
pub mod job_skills {
    use sea_orm::entity::prelude::*;

    use crate::{
        accounts::entity::skills,
        ids::{JobId, SkillId},
    };

    /// A row.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "job_skills")]
    #[expect(missing_docs, reason = "columns are documented with the table, in the migration")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub job_id: JobId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub skill_id: SkillId,
        pub place: i32,
    }

    /// To the vocabulary.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {
        /// The skill.
        #[sea_orm(
            belongs_to = "crate::accounts::entity::skills::Entity",
            from = "Column::SkillId",
            to = "crate::accounts::entity::skills::Column::Id"
        )]
        Skill,
    }

    impl Related<skills::Entity> for Entity {
        fn to() -> RelationDef {
            Relation::Skill.def()
        }
    }

    impl ActiveModelBehavior for ActiveModel {}
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use migration::{Migrator, MigratorTrait};
    use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, EntityTrait, IntoActiveModel};

    use super::jobs::{ActiveModel, Entity, Finders as _, Model, Placed};
    use crate::{
        auth::actor::{Actor, Principal, Roles},
        clock::Clock,
        ids::Ids,
        jobs::model::{Job, JobRecord, JobStatus, Terms},
        money::Money,
    };

    /// A database that the migrations have made. The parties are no part of it.
    async fn empty() -> DatabaseConnection {
        let mut options = ConnectOptions::new("sqlite::memory:");
        options.max_connections(1).sqlx_logging(false);
        let db = Database::connect(options).await.expect("opens");
        Migrator::up(&db, None).await.expect("migrated");
        db.execute_unprepared("PRAGMA foreign_keys = OFF").await.expect("set");
        db
    }

    #[tokio::test]
    async fn what_a_finder_shows_is_what_the_model_shows() {
        let db = empty().await;
        let (ids, now) = (Ids::seeded(Clock::system(), 2), Clock::system().now());
        let user = |roles| {
            let (user, session) = (ids.next(), ids.next());
            Actor::User(Principal { user, session, roles, expires_at: now, commits: None })
        };
        let (client, stranger) = (user(Roles { client: true, ..Roles::default() }), user(Roles::default()));
        let admin = user(Roles { admin: true, ..Roles::default() });
        let own = client.user().expect("a user");
        let terms = || Terms {
            title: "Logo".into(),
            description: "A logo".into(),
            budget: Money::from_minor(1),
            deadline: None,
        };
        let mut jobs = Vec::new();
        for status in JobStatus::ALL {
            let claimed = [JobStatus::Claimed, JobStatus::InReview, JobStatus::Completed, JobStatus::Disputed];
            for (posted, withheld) in [(false, false), (true, false), (true, true)] {
                let record = JobRecord {
                    status: *status,
                    posted_at: posted.then_some(now),
                    claimant_id: claimed.contains(status).then(|| ids.next()),
                    withheld,
                    ..Job::draft(ids.next(), own, terms(), now).into()
                };
                // Not every status can be either.
                let Ok(job) = Job::try_from(record) else { continue };
                Entity::insert(ActiveModel::from(job.clone())).exec_without_returning(&db).await.expect("written");
                jobs.push(job);
            }
        }
        assert!(jobs.len() > JobStatus::ALL.len());
        for actor in [client, stranger, admin, Actor::Anonymous] {
            for job in &jobs {
                let found = Entity::find_by_id(job.id).visible_to(&actor).one(&db).await.expect("read");
                assert_eq!(found.is_some(), job.is_visible_to(&actor), "{:?} to {actor:?}", job.status());
                let found = Entity::find_by_id(job.id).of_client(own).one(&db).await.expect("read");
                assert!(found.is_some());
            }
        }
        let of_another = stranger.user().expect("a user");
        let found = Entity::find().of_client(of_another).one(&db).await.expect("read");
        assert!(found.is_none(), "nobody else's");
    }

    /// With another value in each column.
    #[tokio::test]
    async fn a_row_that_is_read_by_places_is_the_one_that_is_read_by_names() {
        let db = empty().await;
        let ids = Ids::seeded(Clock::system(), 1);
        let now = Clock::system().now();
        let at = |minutes| now + TimeDelta::minutes(minutes);
        let written = Model {
            id: ids.next(),
            version: 2,
            client_id: ids.next(),
            claimant_id: Some(ids.next()),
            title: "The title".into(),
            description: "The description".into(),
            status: "CANCELLED".into(),
            budget_minor: Money::from_minor(3),
            deadline: Some(at(1)),
            deadline_order: at(2),
            cancel_reason: Some("The reason".into()),
            posted_at: Some(at(3)),
            created_at: at(4),
            updated_at: at(5),
            withheld: true,
        };
        let row = written.clone().into_active_model();
        Entity::insert(row).exec_without_returning(&db).await.expect("written");
        let placed = Entity::find().into_model::<Placed>().one(&db).await.expect("read").expect("a row");
        let named = Entity::find().one(&db).await.expect("read").expect("a row");
        assert_eq!(named, written);
        assert_eq!(Job::try_from(placed).expect("a job"), Job::try_from(named).expect("a job"));
    }
}
