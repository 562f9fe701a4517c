//! Opens the database for the server and for the command line, and refuses one that does not fit.

use std::path::Path;

use super::StartError;
use crate::{
    config::Config,
    db::{Backend, Db, grants},
    ids::Ids,
    lifecycle::Lifecycle,
    migrations, wallet,
};

/// Rights that a database user lacks, as far as they are logged.
const SHOWN_GRANTS: usize = 5;

/// Opens the database and brings its tables up to date, or refuses them. Two nodes may do so at the same time.
pub async fn open_database(config: &Config, ids: Ids, lifecycle: Lifecycle) -> Result<Db, StartError> {
    if let Some(file) = sqlite_file(&config.database.url).filter(|file| !file.exists()) {
        make_sqlite_file(file).map_err(|error| StartError::Connect(sea_orm::DbErr::Custom(error.to_string())))?;
    }
    let db = Db::connect(&config.database, ids, lifecycle).await.map_err(StartError::Connect)?;
    if db.backend() == Backend::Postgres {
        check_grants(&db).await?;
    }
    migrations::bring_up(&db, &config.database).await?;
    wallet::currency::check(&db, &config.marketplace.currency(), true).await?;
    Ok(db)
}

/// Refuses a database user who would fail at the first request that needs what they lack.
async fn check_grants(db: &Db) -> Result<(), StartError> {
    let lacks = grants::missing(db).await.map_err(StartError::Connect)?;
    if lacks.is_empty() {
        return Ok(());
    }
    let user = grants::user(db).await.map_err(StartError::Connect)?;
    // One line: the first few say what is wrong.
    let more = lacks.len().saturating_sub(SHOWN_GRANTS);
    let mut shown = lacks.into_iter().take(SHOWN_GRANTS).collect::<Vec<_>>().join(", ");
    if more > 0 {
        shown = format!("{shown} and {more} more rights");
    }
    Err(StartError::Grants { user, lacks: shown })
}

/// Opens a database that is there and of this version, and changes nothing in it. Its statements may take as long as they
/// take: it is for a look at everything.
pub async fn open_existing_database(mut config: Config, ids: Ids) -> Result<Db, StartError> {
    if sqlite_file(&config.database.url).is_some_and(|path| !path.exists()) {
        return Err(StartError::Absent);
    }
    config.database.migrate = false;
    config.database.statement_timeout_ms = 0;
    let db = Db::connect(&config.database, ids, Lifecycle::new()).await.map_err(StartError::Connect)?;
    migrations::bring_up(&db, &config.database).await?;
    wallet::currency::check(&db, &config.marketplace.currency(), false).await?;
    Ok(db)
}

/// An empty database in a folder that is made if need be, for its owner alone. SQLite gives the files beside it the same
/// mode.
fn make_sqlite_file(file: &Path) -> std::io::Result<()> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    let mut options = std::fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.write(true).create(true).truncate(false).open(file).map(drop)
}

fn sqlite_file(url: &str) -> Option<&Path> {
    let path = url.strip_prefix("sqlite:")?.trim_start_matches("//");
    Some(Path::new(path.split('?').next().unwrap_or(path)))
}
