//! What a year of operation does to each mutation and list: the same requests on a young database and on a grown one, on
//! both databases, in one run.
//!
//! The server is stopped in between and the rows are written by SQL (`sqlite3`, `psql`), as copies of rows that it made, so
//! that a column which is added later needs nothing here. The copies are not booked: `lancewire verify` is not for them.
//! Requests go one after another over one connection; p50 is what a caller waits.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{Bench, lone_lancewire};
use crate::{
    api::text,
    lancewire::{Lancewire, Settings, fresh_file},
    options::Database,
    postgres::Postgres,
    process::SERVER_CORE,
    report::{count, millis},
};

/// How much there is in the end: events in the log, transactions of one wallet, notifications of its owner, and jobs of the
/// same client.
const EVENTS: usize = 5_000_000;
const TRANSACTIONS: usize = 1_000_000;
const NOTIFICATIONS: usize = 500_000;
const JOBS: usize = 50_000;
/// Rows that one statement writes.
const STEP: usize = 500_000;
/// How often each request is sent.
const ROUNDS: usize = 40;
/// What a request may take on the grown database, in times of what it took before.
const BOUND: f64 = 2.0;

/// Why a request may take more than that.
const REASONS: [(&str, &str); 6] = [
    ("jobs of a client: totalCount", "counts up to 10,000 rows, where there were a few dozen"),
    ("jobs: totalCount", "counts up to 10,000 rows, where there were a few dozen"),
    ("jobs: search", "the words stand in most of the jobs, which are all looked up to be sorted"),
    ("notifications: unreadCount", "counts up to 10,000 rows, where there were a few"),
    ("markNotificationsRead: many", "marks 100,000 rows, where there were a few"),
    ("transactions: totalCount", "counts up to 10,000 rows, where there were a few"),
];

/// Two tables.
pub fn run(bench: &mut Bench) -> Result<()> {
    if !lone_lancewire(bench) {
        return Ok(());
    }
    let scaled = [EVENTS, TRANSACTIONS, NOTIFICATIONS, JOBS].map(|number| bench.options.scaled(number));
    let [events, transactions, notifications, jobs] = scaled.map(|number| count(number as u64));
    bench.report.section(
        "Growth",
        &format!(
            "p50 of each request before and after: {events} events in the log, {transactions} transactions of one wallet, \
             {notifications} notifications of its owner, who has {jobs} jobs. {ROUNDS} requests each, one after another. \
             More than {BOUND:.0}x is marked, with the reason."
        ),
    );
    for database in [Database::Sqlite, Database::Postgres] {
        let rows = one(bench, database, scaled)?;
        bench.report.note(&format!("On {}:", database.name()));
        bench.report.table(&["", "before ms", "after ms", "grown", "why more than twice"], &rows);
    }
    Ok(())
}

fn one(bench: &mut Bench, database: Database, grown: [usize; 4]) -> Result<Vec<Vec<String>>> {
    let home = bench.folder()?;
    let settings = Settings::on(database);
    let (url, shell, mut postgres) = match database {
        Database::Sqlite => {
            let file = fresh_file(&home)?;
            (format!("sqlite:{}", file.display()), Shell::Sqlite(file), None)
        }
        Database::Postgres => {
            let postgres = Postgres::start(SERVER_CORE)?;
            (postgres.url(), Shell::Postgres, Some(postgres))
        }
    };
    let mut measured = Vec::new();
    for round in ["before", "after"] {
        if round == "after" {
            let started = Instant::now();
            fill(&shell, postgres.as_ref(), grown)?;
            bench.report.note(&format!("{}: filled in {} s.", database.name(), started.elapsed().as_secs()));
        }
        let mut lancewire = Lancewire::start_on(&bench.options, &settings, &url, postgres.take(), &home)?;
        measured.push(play(&mut lancewire, round)?);
        postgres = lancewire.postgres.take();
        lancewire.process.ask_to_end()?;
        let deadline = Instant::now() + Duration::from_secs(60);
        while lancewire.process.is_running() {
            ensure!(Instant::now() < deadline, "the server does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let [before, after] = measured.try_into().ok().context("two measurements")?;
    let rows = before.into_iter().zip(after).map(|((name, before), (_, after))| {
        let ratio = after.as_secs_f64() / before.as_secs_f64();
        let reason = REASONS.iter().find(|(of, _)| *of == name).map_or("", |(_, reason)| *reason);
        let why = if ratio > BOUND { reason } else { "" };
        let mark = if ratio > BOUND { "**" } else { "" };
        vec![name, millis(before), millis(after), format!("{mark}{ratio:.2}x{mark}"), why.to_owned()]
    });
    Ok(rows.collect())
}

/// Where SQL is run while no server does.
enum Shell {
    Sqlite(PathBuf),
    Postgres,
}

impl Shell {
    fn ask(&self, postgres: Option<&Postgres>, sql: &str) -> Result<String> {
        match self {
            Self::Postgres => postgres.context("a PostgreSQL")?.ask(sql),
            Self::Sqlite(file) => sqlite(file, sql),
        }
    }
}

fn sqlite(file: &Path, sql: &str) -> Result<String> {
    // What is lost by a crash here is filled again.
    let begin = "PRAGMA synchronous = OFF; PRAGMA cache_size = -400000; PRAGMA temp_store = MEMORY;";
    let output = Command::new("sqlite3").arg(file).arg(format!("{begin}\n{sql}")).output();
    let output = output.context("sqlite3, which this scenario fills the file with")?;
    ensure!(output.status.success(), "sqlite3: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// A copy of one row so many times, with other values in some of its columns.
struct Copies<'a> {
    table: &'a str,
    /// Which row, as a condition.
    of: &'a str,
    /// Columns and what stands in them; `{n}` is the number of the copy, from 1.
    but: &'a [(&'a str, &'a str)],
    /// Columns that give themselves a value.
    without: &'a [&'a str],
    count: usize,
}

impl Copies<'_> {
    fn make(&self, shell: &Shell, postgres: Option<&Postgres>) -> Result<()> {
        let Self { table, of, but, without, count } = self;
        let names = match shell {
            // Without generated columns.
            Shell::Sqlite(_) => format!("SELECT name FROM pragma_table_info('{table}')"),
            Shell::Postgres => format!(
                "SELECT column_name FROM information_schema.columns WHERE table_name = '{table}' \
                 AND table_schema = 'public' AND is_generated = 'NEVER' ORDER BY ordinal_position"
            ),
        };
        let names = shell.ask(postgres, &names)?;
        let columns: Vec<&str> = names.lines().filter(|name| !without.contains(name)).collect();
        ensure!(!columns.is_empty(), "{table} has no columns");
        let value = |name: &&str| {
            let other = but.iter().find(|(column, _)| column == name).map(|(_, value)| value.replace("{n}", "n"));
            other.unwrap_or_else(|| format!("one.{name}"))
        };
        let values: Vec<String> = columns.iter().map(value).collect();
        for from in (0..*count).step_by(STEP) {
            let to = (from + STEP).min(*count);
            let numbers = match shell {
                Shell::Sqlite(_) => format!(
                    "WITH RECURSIVE numbers (n) AS (SELECT {} UNION ALL SELECT n + 1 FROM numbers WHERE n < {to})",
                    from + 1
                ),
                Shell::Postgres => format!("WITH numbers AS (SELECT n FROM generate_series({}, {to}) AS n)", from + 1),
            };
            let sql = format!(
                "INSERT INTO {table} ({}) {numbers} SELECT {} FROM numbers, (SELECT * FROM {table} WHERE {of} LIMIT 1) AS one",
                columns.join(", "),
                values.join(", ")
            );
            shell.ask(postgres, &sql).with_context(|| format!("filling {table}"))?;
        }
        Ok(())
    }
}

/// Writes what a year leaves behind, all of it older than what is there.
fn fill(
    shell: &Shell,
    postgres: Option<&Postgres>,
    [events, transactions, notifications, jobs]: [usize; 4],
) -> Result<()> {
    let on_sqlite = matches!(shell, Shell::Sqlite(_));
    let ada = "(SELECT id FROM users WHERE email = 'ada@example.com')";
    // Ids in their order, below all that servers make.
    let [id, later_id] = if on_sqlite {
        ["CAST(x'0001' || printf('%014d', {n}) AS BLOB)", "CAST(x'0002' || printf('%014d', {n}) AS BLOB)"]
    } else {
        ["CAST('0001' || lpad(to_hex({n}), 28, '0') AS uuid)", "CAST('0002' || lpad(to_hex({n}), 28, '0') AS uuid)"]
    };
    let make = |copies: Copies| copies.make(shell, postgres);
    let of_ada = format!("wallet_id = {ada} AND status = 'POSTED' AND type = 'ESCROW_HOLD'");
    make(Copies { table: "transactions", of: &of_ada, but: &[("id", id)], without: &[], count: transactions })?;
    let of_ada = format!("user_id = {ada}");
    let unread = [("id", id), ("read_at", "NULL")];
    make(Copies { table: "notifications", of: &of_ada, but: &unread, without: &[], count: notifications })?;
    let title = "'Job ' || {n} || ' of many'";
    let of_ada = format!("client_id = {ada} AND status = 'COMPLETED'");
    let completed = [("id", id), ("title", title)];
    make(Copies { table: "jobs", of: &of_ada, but: &completed, without: &[], count: jobs - jobs / 5 })?;
    let of_ada = format!("client_id = {ada} AND status = 'OPEN'");
    let open = [("id", later_id), ("title", title)];
    make(Copies { table: "jobs", of: &of_ada, but: &open, without: &[], count: jobs / 5 })?;

    // A tenth of the log is for everybody, the rest is of others' wallets and inboxes.
    let head: i64 = if on_sqlite {
        shell.ask(postgres, "SELECT seq FROM sqlite_sequence WHERE name = 'events'")?.parse()?
    } else {
        shell.ask(postgres, "SELECT last_position FROM event_log")?.parse()?
    };
    let public = events / 10;
    let other = if on_sqlite {
        "CAST(x'0003' || printf('%014d', {n} % 1000) AS BLOB)"
    } else {
        "CAST('0003' || lpad(to_hex({n} % 1000), 28, '0') AS uuid)"
    };
    let mut at = head;
    for (of, event_id, owned, payload, count) in [
        ("kind = 'WALLET_UPDATED'", id, true, true, (events - public) / 2),
        ("kind = 'JOB_UPDATED' AND is_public", later_id, false, false, public),
        (
            "kind = 'NOTIFICATION_RECEIVED'",
            &id.replace("0001", "0004"),
            true,
            true,
            events - public - (events - public) / 2,
        ),
    ] {
        let place = format!("{at} + {{n}}");
        let mut but = vec![("event_id", event_id)];
        // Nobody reads these.
        but.extend(payload.then_some(("payload", "'{}'")));
        but.extend(owned.then_some(("owner_id", other)));
        but.extend((!on_sqlite).then_some(("position", place.as_str())));
        make(Copies { table: "events", of, but: &but, without: &["id"], count })?;
        at += i64::try_from(count)?;
    }
    if on_sqlite {
        return Ok(());
    }
    shell.ask(postgres, &format!("UPDATE event_log SET last_position = {at}"))?;
    // As autovacuum would have by then.
    shell.ask(postgres, "VACUUM ANALYZE").map(drop)
}

/// What each request took.
#[derive(Default)]
struct Times(Vec<(String, Vec<Duration>)>);

impl Times {
    fn take(&mut self, name: &str, time: Duration) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, times)) => times.push(time),
            None => self.0.push((name.to_owned(), vec![time])),
        }
    }

    fn medians(self) -> Vec<(String, Duration)> {
        let median = |mut times: Vec<Duration>| {
            times.sort_unstable();
            times[times.len() / 2]
        };
        self.0.into_iter().map(|(name, times)| (name, median(times))).collect()
    }
}

/// Who asks.
struct Cast {
    ada: Rc<str>,
    ben: Rc<str>,
    admin: Rc<str>,
}

fn play(lancewire: &mut Lancewire, round: &str) -> Result<Vec<(String, Duration)>> {
    let cast = Cast {
        ada: lancewire.sign_in("ada@example.com")?,
        ben: lancewire.sign_in("ben@example.com")?,
        admin: lancewire.sign_in("root@example.com")?,
    };
    let mut times = Times::default();
    // Pages and plans are warm after a few.
    for number in 0..5 {
        lists(lancewire, &cast, &mut Times::default())?;
        life(lancewire, &cast, &mut Times::default(), &format!("{round}-warm-{number}"))?;
    }
    for number in 0..ROUNDS {
        lists(lancewire, &cast, &mut times)?;
        life(lancewire, &cast, &mut times, &format!("{round}-{number}"))?;
    }
    let newest = "{ viewer { notifications(first: 1) { nodes { id } } } }";
    let newest =
        text(&lancewire.api.run(Some(&cast.ada), newest, &json!({}))?, "/data/viewer/notifications/nodes/0/id")?;
    let input = json!({ "upToId": newest });
    mutate(
        lancewire,
        &cast.ada,
        &mut times,
        "markNotificationsRead",
        "viewer { id }",
        input,
        "markNotificationsRead: many",
    )?;
    Ok(times.medians())
}

fn lists(lancewire: &mut Lancewire, cast: &Cast, times: &mut Times) -> Result<()> {
    let who = "{ viewer { id } }";
    let ada = text(&lancewire.api.run(Some(&cast.ada), who, &json!({}))?, "/data/viewer/id")?;
    let job = "id title status budget { amount } postedAt skills { slug } client { displayName }";
    let none = json!({});
    let of_client = json!({ "filter": { "clientId": ada } });
    let requests: [(&str, &Rc<str>, String, &Value); 14] = [
        ("jobs", &cast.ben, format!("{{ jobs(first: 20) {{ nodes {{ {job} }} }} }}"), &none),
        ("jobs: totalCount", &cast.ben, "{ jobs(first: 1) { totalCount } }".into(), &none),
        (
            "jobs: by budget",
            &cast.ben,
            format!("{{ jobs(first: 20, orderBy: {{ field: BUDGET, direction: ASC }}) {{ nodes {{ {job} }} }} }}"),
            &none,
        ),
        ("jobs: search", &cast.ben, format!("{{ jobs(first: 20, query: \"rust\") {{ nodes {{ {job} }} }} }}"), &none),
        (
            "jobs: of a skill",
            &cast.ben,
            format!("{{ jobs(first: 20, filter: {{ anySkill: [\"rust\"] }}) {{ nodes {{ {job} }} }} }}"),
            &none,
        ),
        (
            "jobs of a client",
            &cast.ben,
            format!("query($filter: JobFilter) {{ jobs(first: 20, filter: $filter) {{ nodes {{ {job} }} }} }}"),
            &of_client,
        ),
        (
            "jobs of a client: totalCount",
            &cast.ben,
            "query($filter: JobFilter) { jobs(first: 1, filter: $filter) { totalCount } }".into(),
            &of_client,
        ),
        ("postedJobs", &cast.ada, format!("{{ viewer {{ postedJobs(first: 20) {{ nodes {{ {job} }} }} }} }}"), &none),
        ("claims", &cast.ben, "{ claims(first: 20) { nodes { id status job { title } } } }".into(), &none),
        (
            "transactions",
            &cast.ada,
            "{ wallet { transactions(first: 20) { nodes { id type status amount { amount } } } } }".into(),
            &none,
        ),
        ("notifications", &cast.ada, "{ viewer { notifications(first: 20) { nodes { id title } } } }".into(), &none),
        (
            "notifications: unreadCount",
            &cast.ada,
            "{ viewer { notifications(first: 1) { unreadCount } } }".into(),
            &none,
        ),
        ("events: the last", &cast.ada, "{ events(last: 20) { nodes { id } } }".into(), &none),
        ("events: the first", &cast.ada, "{ events(first: 20) { nodes { id } } }".into(), &none),
    ];
    for (name, token, query, variables) in requests {
        let started = Instant::now();
        lancewire.api.run(Some(token), &query, variables).context(name)?;
        times.take(name, started.elapsed());
    }
    Ok(())
}

/// One job from its draft to its payment, another that is called off, and money in and out.
fn life(lancewire: &mut Lancewire, cast: &Cast, times: &mut Times, round: &str) -> Result<()> {
    let keys: BTreeMap<&str, String> = [
        "post", "draft", "publish", "claim", "submit", "approve", "again", "deposit", "withdraw", "confirm", "post2",
        "claim2", "post3", "claim3", "free", "settle",
    ]
    .map(|step| (step, format!("growth-{round}-{step}")))
    .into();
    let key = |step: &str| keys[step].clone();
    let money = |amount: &str| json!({ "amount": amount, "currencyCode": "USD" });
    let new = |step: &str| {
        json!({ "idempotencyKey": key(step), "title": "One more", "description": "All of it.", "budget": money("5.00"),
                "skills": ["rust", "graphql"] })
    };
    let Cast { ada, ben, admin } = cast;
    let mut ask = |token: &Rc<str>, field: &str, fields: &str, input: Value| {
        mutate(lancewire, token, times, field, fields, input, field)
    };
    let id = |answer: &Value, pointer: &str| text(answer, pointer);

    let job = id(&ask(ada, "postJob", "job { id }", new("post"))?, "/job/id")?;
    ask(ada, "updateJob", "job { id }", json!({ "id": job, "patch": { "budget": money("6.00") } }))?;
    let claim = id(
        &ask(ben, "claimJob", "claim { id }", json!({ "jobId": job, "idempotencyKey": key("claim") }))?,
        "/claim/id",
    )?;
    let work = json!({ "claimId": claim, "note": "Done.", "idempotencyKey": key("submit") });
    let work = id(&ask(ben, "submitDeliverable", "deliverable { id }", work)?, "/deliverable/id")?;
    ask(ada, "requestRevision", "job { id }", json!({ "deliverableId": work, "note": "Almost." }))?;
    let work = json!({ "claimId": claim, "note": "Done again.", "idempotencyKey": key("again") });
    let work = id(&ask(ben, "submitDeliverable", "deliverable { id }", work)?, "/deliverable/id")?;
    ask(ada, "approveDeliverable", "job { id }", json!({ "deliverableId": work, "idempotencyKey": key("approve") }))?;

    let draft = id(&ask(ada, "draftJob", "job { id }", new("draft"))?, "/job/id")?;
    ask(ada, "publishJob", "job { id }", json!({ "id": draft, "idempotencyKey": key("publish") }))?;
    let claim = json!({ "jobId": draft, "idempotencyKey": key("claim2") });
    let claim = id(&ask(ben, "claimJob", "claim { id }", claim)?, "/claim/id")?;
    ask(ben, "releaseClaim", "job { id }", json!({ "claimId": claim }))?;
    ask(ada, "cancelJob", "job { id }", json!({ "id": draft, "reason": "Plans changed." }))?;
    let stuck = id(&ask(ada, "postJob", "job { id }", new("post3"))?, "/job/id")?;
    ask(ben, "claimJob", "claim { id }", json!({ "jobId": stuck, "idempotencyKey": key("claim3") }))?;
    let free = json!({ "jobId": stuck, "step": "REFUND", "reason": "Stuck.", "idempotencyKey": key("free") });
    ask(admin, "interveneInJob", "job { id }", free)?;

    let deposit = json!({ "amount": money("20.00"), "idempotencyKey": key("deposit") });
    let deposit = id(&ask(ada, "deposit", "transaction { id }", deposit)?, "/transaction/id")?;
    let confirm = json!({ "transactionId": deposit, "outcome": "POST", "idempotencyKey": key("confirm") });
    ask(admin, "confirmTransaction", "transaction { id }", confirm)?;
    let withdraw = json!({ "amount": money("1.00"), "destination": "DE02", "idempotencyKey": key("withdraw") });
    let withdrawal = id(&ask(ada, "withdraw", "transaction { id }", withdraw)?, "/transaction/id")?;
    let settle = json!({ "transactionId": withdrawal, "outcome": "POST", "idempotencyKey": key("settle") });
    ask(admin, "confirmTransaction", "transaction { id }", settle)?;
    ask(ada, "updateProfile", "viewer { id }", json!({ "displayName": "Ada Client" }))?;
    let sign_in = json!({ "email": "ada@example.com", "password": "correct-horse-battery" });
    let session = ask(ada, "signIn", "session { refreshToken }", sign_in)?;
    let refresh = json!({ "refreshToken": id(&session, "/session/refreshToken")? });
    ask(ada, "refreshSession", "session { refreshToken }", refresh)?;
    Ok(())
}

/// Runs a mutation, which must do what it says, and takes its time.
fn mutate(
    lancewire: &mut Lancewire,
    token: &Rc<str>,
    times: &mut Times,
    field: &str,
    fields: &str,
    input: Value,
    name: &str,
) -> Result<Value> {
    let mut capital = field.to_owned();
    capital[..1].make_ascii_uppercase();
    let query = format!(
        "mutation($input: {capital}Input!) {{ {field}(input: $input) {{ {fields} errors {{ ... on UserError {{ message }} }} }} }}"
    );
    let started = Instant::now();
    let answer = lancewire.api.run(Some(token), &query, &json!({ "input": input }))?;
    times.take(name, started.elapsed());
    let payload = &answer["data"][field];
    ensure!(payload["errors"].as_array().is_some_and(Vec::is_empty), "{field}: {answer}");
    Ok(payload.clone())
}
