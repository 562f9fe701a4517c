//! `lancewire verify`: reads a database and proves that its books and its log are right.
//!
//! Each domain that owns tables brings its share ([`Part`], in its `verify.rs`): queries for the rows that break an
//! invariant, of which no row is the proof, what compares an event with the rows that it is about, and what has to be
//! computed anew. Here they run, beside the walk over the log and the database's own guards ([`guards`]). The numbers are
//! those of the project's list of invariants.
//!
//! Nothing is written, and a live database may be checked: all of it sees one snapshot. What is read row by row is read
//! in pages, and of what is broken [`MOST`] rows are named, so memory is bounded whatever the size.

use sea_orm::{ConnectionTrait, DbErr};
use uuid::Uuid;

use crate::{
    claims, conversations,
    db::{Backend, Db, DbTransaction},
    domains,
    error::InternalError,
    events, files, jobs, notifications,
    proof::{MOST, Part, Progress, hex},
    wallet,
};

pub mod guards;

pub use crate::proof::{Finding, Report};

/// The domains, in the order in which they are asked.
const PARTS: [&dyn Part; 6] = [
    &wallet::verify::Proof,
    &jobs::verify::Proof,
    &claims::verify::Proof,
    &conversations::verify::Proof,
    &notifications::verify::Proof,
    &files::verify::Proof,
];

/// Whether retention has taken the beginning of the log: what is older than what is kept has no events any more.
const FORGOTTEN: &str = "((SELECT forgotten_position FROM event_log WHERE id = 1) > 0)";

/// Runs every check on one snapshot.
pub async fn verify(db: &Db) -> Result<Vec<Finding>, InternalError> {
    Ok(examine(db, &|_| ()).await?.findings)
}

/// The same with all there is to say, and with `progress`, which is told what is looked at.
pub async fn examine(db: &Db, progress: Progress<'_>) -> Result<Report, InternalError> {
    let backend = db.backend();
    let snapshot = db.snapshot().await?;
    let mut report = Report::default();
    settle(&snapshot, backend, "jit = off; SET LOCAL work_mem = '64MB'").await?;
    let checks = PARTS.iter().flat_map(|part| part.checks()).chain(events::verify::checks(backend, domains::KINDS));
    for (invariant, sql) in checks {
        progress(invariant);
        let broken = rows(&snapshot, db, &sql).await?;
        report.findings.push(Finding { invariant, broken });
    }
    // From here on by keys, page by page: a plan for the whole would be made anew for each page.
    settle(
        &snapshot,
        backend,
        "enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_seqscan = off",
    )
    .await?;
    walk(&snapshot, &mut report, progress).await?;
    for part in PARTS {
        part.examine(&snapshot, backend, &mut report, progress).await?;
    }
    settle(&snapshot, backend, "enable_hashjoin = on; SET LOCAL enable_mergejoin = on; SET LOCAL enable_seqscan = on")
        .await?;
    progress("the database's own guards");
    let (broken, note) = guards::compare(&snapshot, backend).await?;
    report.findings.push(Finding { invariant: "12 the database's own guards are those of a new database", broken });
    report.notes.extend(note);
    snapshot.rollback().await?;
    Ok(report)
}

/// Tells `PostgreSQL` how to plan in this transaction.
async fn settle(snapshot: &DbTransaction, backend: Backend, what: &str) -> Result<(), DbErr> {
    match backend {
        Backend::Sqlite => Ok(()),
        Backend::Postgres => snapshot.execute_unprepared(&format!("SET LOCAL {what}")).await.map(drop),
    }
}

async fn rows(snapshot: &DbTransaction, db: &Db, sql: &str) -> Result<Vec<String>, DbErr> {
    let words = match db.backend() {
        Backend::Sqlite => [("{true}", "1"), ("{false}", "0"), ("{nobody}", "zeroblob(16)")],
        Backend::Postgres => [
            ("{true}", "true"),
            ("{false}", "false"),
            ("{nobody}", "CAST('00000000-0000-0000-0000-000000000000' AS uuid)"),
        ],
    };
    let sql = words.iter().fold(sql.replace("{forgotten}", FORGOTTEN), |sql, (name, word)| sql.replace(name, word));
    let sql = format!("SELECT subject, detail FROM ({sql}) AS broken LIMIT {MOST}");
    let rows = snapshot.query_all_raw(db.statement(&sql, [])).await?;
    let broken = rows.iter().map(|row| {
        let subject = row.try_get_by_index::<Option<Uuid>>(0)?;
        let detail: Option<String> = row.try_get_by_index(1)?;
        let detail = detail.unwrap_or_default();
        Ok(subject.map_or_else(|| detail.clone(), |subject| format!("{subject}: {detail}")))
    });
    broken.collect()
}

/// Reads the log once, and compares each event with itself, with its rows and with its seal.
async fn walk(snapshot: &DbTransaction, report: &mut Report, progress: Progress<'_>) -> Result<(), InternalError> {
    let mut walk = events::verify::Walk::begin(snapshot, domains::KINDS).await?;
    let mut found: Vec<(&dyn Part, Finding)> = PARTS
        .iter()
        .filter_map(|part| Some((*part, Finding { invariant: part.agreement()?, broken: Vec::new() })))
        .collect();
    let mut count = 0;
    loop {
        let events = walk.next(snapshot).await?;
        if events.is_empty() {
            break;
        }
        count += events.len();
        progress(&format!("the event log: {count} events"));
        for (part, Finding { broken, .. }) in &mut found {
            part.events_agree(snapshot, &events, broken).await?;
            broken.truncate(MOST);
        }
    }
    if let Some(hash) = walk.anchor() {
        report.notes.push(format!("last seal of the event log: {}", hex(hash)));
    }
    report.findings.extend(found.into_iter().map(|(_, finding)| finding));
    let (unlisted, broken) = (walk.unlisted, walk.broken);
    let invariant = "7 the list of an event names whom the columns beside it name";
    report.findings.push(Finding { invariant, broken: unlisted });
    report.findings.push(Finding { invariant: "12 the events are those that were sealed", broken });
    Ok(())
}
