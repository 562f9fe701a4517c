//! `lancewire verify`: reads a database and proves that its books and its log are right.
//!
//! Each domain brings its share (`verify.rs` there): queries for the rows that break an invariant, of which no row is the
//! proof, and what compares an event with the rows that it is about. Here they run, beside the walk over the log, the
//! chains of the ledger, the seals of both and the database's own guards ([`guards`]). The numbers are those of the
//! project's list of invariants.
//!
//! Nothing is written, and a live database may be checked: all of it sees one snapshot. What is read row by row is read in
//! pages, and of what is broken [`MOST`] rows are named, so memory is bounded whatever the size.

use sea_orm::{ConnectionTrait, DbErr};
use uuid::Uuid;

use crate::{
    claims,
    db::{Backend, Db, Transaction},
    domains,
    error::Fault,
    events, jobs, notifications, wallet,
};

pub mod guards;

/// Rows that are named of each invariant; how many more there are is not said.
const MOST: usize = 1_000;

/// Whether retention has taken the beginning of the log: what is older than what is kept has no events any more.
const FORGOTTEN: &str = "((SELECT forgotten_position FROM event_log WHERE id = 1) > 0)";

/// What a check found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What should hold.
    pub invariant: &'static str,
    /// The rows that break it, in words; none if it holds.
    pub broken: Vec<String>,
}

/// What was found, and what an operator should know beside it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// One for each invariant.
    pub findings: Vec<Finding>,
    /// Lines to keep: the last seals, and what could not be compared.
    pub notes: Vec<String>,
}

impl Report {
    /// Whether everything holds.
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.broken.is_empty())
    }
}

/// Runs every check on one snapshot.
pub async fn verify(db: &Db) -> Result<Vec<Finding>, Fault> {
    Ok(examine(db, &|_| ()).await?.findings)
}

/// The same with all there is to say, and with `progress`, which is told what is looked at.
pub async fn examine(db: &Db, progress: &(dyn Fn(&str) + Sync)) -> Result<Report, Fault> {
    let backend = db.backend();
    let snapshot = db.snapshot().await?;
    let mut report = Report::default();
    settle(&snapshot, backend, "jit = off; SET LOCAL work_mem = '64MB'").await?;
    let checks = [
        wallet::verify::checks(),
        jobs::verify::checks(),
        claims::verify::checks(),
        notifications::verify::checks(),
        events::verify::checks(backend, domains::KINDS),
    ];
    for (invariant, sql) in checks.into_iter().flatten() {
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
    ledger(&snapshot, backend, &mut report, progress).await?;
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
async fn settle(snapshot: &Transaction, backend: Backend, what: &str) -> Result<(), DbErr> {
    match backend {
        Backend::Sqlite => Ok(()),
        Backend::Postgres => snapshot.execute_unprepared(&format!("SET LOCAL {what}")).await.map(drop),
    }
}

async fn rows(snapshot: &Transaction, db: &Db, sql: &str) -> Result<Vec<String>, DbErr> {
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
async fn walk(snapshot: &Transaction, report: &mut Report, progress: &(dyn Fn(&str) + Sync)) -> Result<(), Fault> {
    let mut walk = events::verify::Walk::begin(snapshot, domains::KINDS).await?;
    let (mut wallets, mut jobs, mut claims, mut inboxes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut count = 0;
    loop {
        let events = walk.next(snapshot).await?;
        if events.is_empty() {
            break;
        }
        count += events.len();
        progress(&format!("the event log: {count} events"));
        wallet::verify::events_agree(snapshot, &events, &mut wallets).await?;
        jobs::verify::events_agree(snapshot, &events, &mut jobs).await?;
        claims::verify::events_agree(snapshot, &events, &mut claims).await?;
        notifications::verify::events_agree(snapshot, &events, &mut inboxes).await?;
        for broken in [&mut wallets, &mut jobs, &mut claims, &mut inboxes] {
            broken.truncate(MOST);
        }
    }
    if let Some(hash) = walk.anchor() {
        report.notes.push(format!("last seal of the event log: {}", hex(hash)));
    }
    let findings = [
        ("7 what an event says of a wallet is what happened to it", wallets),
        ("7 what an event says of a job is what happened to it", jobs),
        ("7 what an event says of a claim is what happened to it", claims),
        ("7 what an event says of an inbox is what came into it", inboxes),
        ("7 the list of an event names whom the columns beside it name", walk.unlisted),
        ("12 the events are those that were sealed", walk.broken),
    ];
    report.findings.extend(findings.map(|(invariant, broken)| Finding { invariant, broken }));
    Ok(())
}

/// Computes the ledger's chains and seals anew.
async fn ledger(
    snapshot: &Transaction,
    backend: Backend,
    report: &mut Report,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<(), Fault> {
    let told = |entries| progress(&format!("the chains of the ledger: {entries} entries"));
    let chains = wallet::verify::chains(snapshot, (backend, MOST), &told).await?;
    if chains.unchained > 0 {
        report.notes.push(format!(
            "{} entries of the ledger have no hash yet; a node chains them in the background",
            chains.unchained
        ));
    }
    report.findings.push(Finding { invariant: "12 the chain of each account is unbroken", broken: chains.broken });
    progress("the seals of the ledger");
    let seals = wallet::verify::seals(snapshot, (backend, MOST)).await?;
    if let Some((number, hash)) = &seals.anchor {
        report.notes.push(format!("last seal of the ledger: {number} {}", hex(hash)));
    }
    report.findings.push(Finding { invariant: "12 the journals are those that were sealed", broken: seals.broken });
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |text, byte| text + &format!("{byte:02x}"))
}
