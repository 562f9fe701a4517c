//! How a read on a replica knows whether somebody's own writes can be seen: each commit of theirs counts up their row in
//! `commit_marks`. Without a replica in the settings nothing is marked.

use sea_orm::{ConnectionTrait, DbErr};

use crate::{
    db::{Db, Tx},
    ids::UserId,
};

impl Db {
    /// The same database with `author`'s mark on each commit, where a replica may be read.
    #[must_use]
    pub fn on_behalf_of(&self, author: UserId) -> Self {
        Self { author: self.shared.marks.then_some(author), ..self.clone() }
    }

    /// Whether commits are marked.
    pub fn marks_commits(&self) -> bool {
        self.shared.marks
    }

    /// How many of `user`'s commits are marked.
    pub async fn commits_of(&self, user: UserId) -> Result<i64, DbErr> {
        let statement = self.statement("SELECT commits FROM commit_marks WHERE user_id = ?", [user.into()]);
        self.reader.query_one_raw(statement).await?.map_or(Ok(0), |row| row.try_get("", "commits"))
    }

    /// Marks a commit as its author's.
    pub(in crate::db) async fn mark(&self, tx: &Tx) -> Result<(), DbErr> {
        let Some(author) = self.author else { return Ok(()) };
        let sql = "INSERT INTO commit_marks (user_id, commits) VALUES (?, 1) \
                   ON CONFLICT (user_id) DO UPDATE SET commits = commit_marks.commits + 1";
        tx.defer(sql, [author.into()]).await
    }
}
