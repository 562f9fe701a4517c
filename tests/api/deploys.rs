//! Versions of the program and of the schema side by side: which migrates, which serves, and which refuses to start.

use std::{fs, process::Stdio};

use futures_util::future::join_all;
use migration::{Migrator, MigratorTrait};
use reqwest::Method;
use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection, Statement};
use serde_json::json;

use crate::support::{
    app::{Database, soon, until},
    binary::{Home, Port, lines, signal},
    http::{Http, Reply},
    postgres,
};

/// A step that this program does not know, and no program before it.
const LATER: &str = "m29990101_000001_later";

/// An empty database, and homes of nodes that use it.
struct Place {
    url: String,
    _lent: Option<postgres::Database>,
    _home: tempfile::TempDir,
}

impl Place {
    async fn empty(database: Database) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let (url, lent) = match database {
            Database::Sqlite => (format!("sqlite:{}", home.path().join("shared.db").display()), None),
            Database::Postgres => {
                let lent = postgres::shared().await.empty().await;
                (lent.url().to_owned(), Some(lent))
            }
        };
        Self { url, _lent: lent, _home: home }
    }

    fn home(&self) -> Home {
        Home::new().with("LANCEWIRE_DATABASE__URL", self.url.clone())
    }

    /// The database, behind the program's back.
    async fn db(&self) -> DatabaseConnection {
        let mut options = ConnectOptions::new(self.url.clone());
        options.max_connections(1).sqlx_logging(false);
        sea_orm::Database::connect(options).await.expect("opens")
    }

    async fn run(&self, sql: &str) {
        let db = self.db().await;
        db.execute_unprepared(sql).await.expect("done");
        db.close().await.expect("closes");
    }

    async fn steps(&self) -> Vec<String> {
        let db = self.db().await;
        let query = Statement::from_string(db.get_database_backend(), "SELECT version FROM seaql_migrations");
        let rows = db.query_all_raw(query).await.expect("rows");
        let steps = rows.iter().map(|row| row.try_get_by_index(0).expect("a text")).collect();
        db.close().await.expect("closes");
        steps
    }

    /// As if a later version had been here.
    async fn migrated_later(&self) {
        self.run(&format!("INSERT INTO seaql_migrations (version, applied_at) VALUES ('{LATER}', 0)")).await;
    }

    /// As if it had taken something away.
    async fn contracted(&self) {
        self.run(&format!("UPDATE schema_compat SET min_version = '{LATER}'")).await;
    }
}

/// Runs the program, which must end with one line that says why.
async fn refused(home: &Home, arguments: &[&str]) -> String {
    let output = home.run(arguments).await;
    let mut said = lines(&output.stderr);
    let code = if arguments == ["verify"] { 2 } else { 1 };
    assert_eq!((output.status.code(), said.len()), (Some(code), 1), "{said:#?}");
    said.remove(0)
}

async fn nodes_migrate_an_empty_database_together(database: Database) {
    let place = Place::empty(database).await;
    let homes: Vec<Home> = (0..4).map(|_| place.home()).collect();
    let outputs = join_all(homes.iter().map(|home| home.run(&["migrate"]))).await;
    for output in outputs {
        assert!(output.status.success(), "{:#?}", lines(&output.stderr));
    }
    assert_eq!(place.steps().await.len(), Migrator::migrations().len(), "each step once");
    assert_eq!(homes[0].run(&["seed"]).await.status.code(), Some(0));
    assert_eq!(homes[1].run(&["verify"]).await.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_migrate_an_empty_sqlite_file_together() {
    nodes_migrate_an_empty_database_together(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_migrate_an_empty_postgresql_database_together() {
    nodes_migrate_an_empty_database_together(Database::Postgres).await;
}

/// The log moves to a wider table with all that it holds, and goes on where it stood, also if its latest events are gone.
async fn a_log_that_is_widened_goes_on_where_it_stood(database: Database) {
    let place = Place::empty(database).await;
    if let Some(file) = place.url.strip_prefix("sqlite:") {
        fs::write(file, "").expect("an empty file");
    }
    let db = place.db().await;
    Migrator::up(&db, Some(3)).await.expect("the steps before");
    let (blob, moment) = match database {
        Database::Sqlite => ("randomblob(16)", "'2026-11-21 09:30:00.000'"),
        Database::Postgres => ("gen_random_uuid()", "now()"),
    };
    let public = if database == Database::Sqlite { "1" } else { "true" };
    let insert = |kind: &str| {
        format!(
            "INSERT INTO events (event_id, kind, subject_id, subject_version, is_public, owner_id, payload, occurred_at) \
             VALUES ({blob}, '{kind}', {blob}, 1, {public}, {blob}, '{{}}', {moment})"
        )
    };
    for _ in 0..3 {
        db.execute_unprepared(&insert("JOB_POSTED")).await.expect("an event");
    }
    db.execute_unprepared(&insert("CLAIM_UPDATED")).await.expect_err("not known yet");
    let number = async |sql: &str| {
        let query = Statement::from_string(db.get_database_backend(), sql);
        let row = db.query_one_raw(query).await.expect("a query").expect("a row");
        row.try_get_by_index::<i64>(0).expect("a number")
    };
    if database == Database::Sqlite {
        // The number that a refused row took is given again.
        assert_eq!(number("SELECT MAX(id) FROM events").await, 3);
    }
    db.execute_unprepared("DELETE FROM events WHERE id = 3").await.expect("forgotten");
    Migrator::up(&db, None).await.expect("the other steps");
    assert_eq!(number("SELECT COUNT(*) FROM events").await, 2);
    for kind in ["CLAIM_UPDATED", "DRAFT_UPDATED"] {
        db.execute_unprepared(&insert(kind)).await.expect("known now");
    }
    db.execute_unprepared(&insert("NOTHING")).await.expect_err("never known");
    assert!(number("SELECT MIN(id) FROM events WHERE kind = 'CLAIM_UPDATED'").await > 3, "no number is given twice");
    if database == Database::Sqlite {
        assert_eq!(number("SELECT position FROM events WHERE kind = 'CLAIM_UPDATED'").await, 4);
    }
    db.execute_unprepared("UPDATE events SET payload = 'x'").await.expect_err("append-only, as before");
    db.close().await.expect("closes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_widened_goes_on_where_it_stood_on_sqlite() {
    a_log_that_is_widened_goes_on_where_it_stood(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_widened_goes_on_where_it_stood_on_postgres() {
    a_log_that_is_widened_goes_on_where_it_stood(Database::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_waits_for_anothers_steps_holds_none_of_them_up() {
    let place = Place::empty(Database::Postgres).await;
    let (other, index) = (place.db().await, place.db().await);
    other.execute_unprepared("CREATE TABLE large (id int)").await.expect("made");
    other.execute_unprepared("SELECT pg_advisory_lock(4721001)").await.expect("locked");
    let home = place.home();
    let mut waiting = home.command(&["migrate"]).spawn().expect("it starts");
    let asks = async || {
        let query = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%advisory_xact%' \
                     AND pid <> pg_backend_pid()";
        let query = Statement::from_string(other.get_database_backend(), query);
        other.query_one_raw(query).await.expect("a query").is_some()
    };
    soon(async { while !asks().await {} }).await;
    let built = index.execute_unprepared("CREATE INDEX CONCURRENTLY large_idx ON large (id)");
    soon(built).await.expect("built while somebody waits");
    assert!(waiting.try_wait().expect("it was ours").is_none(), "not before the lock is free");
    other.execute_unprepared("SELECT pg_advisory_unlock(4721001)").await.expect("free");
    assert!(soon(waiting.wait()).await.expect("it ends").success());
    assert_eq!(place.steps().await.len(), Migrator::migrations().len());
    for db in [other, index] {
        db.close().await.expect("closes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_start_on_an_empty_database_and_both_serve() {
    let place = Place::empty(Database::Postgres).await;
    let admin = ("LANCEWIRE_ADMIN_PASSWORD", "an operator's secret");
    let homes = [place.home().with(admin.0, admin.1), place.home().with(admin.0, admin.1)];
    // Both build the whole server, which migrates first; neither of them fails for the other's sake.
    let made = join_all(
        homes
            .iter()
            .zip(["a@example.com", "b@example.com"])
            .map(async |(home, email)| home.run(&["admin", "create", "--email", email]).await),
    )
    .await;
    assert!(made.iter().all(|output| output.status.success()), "{made:?}");
    let servers = [homes[0].serve().await, homes[1].serve().await];
    for server in &servers {
        let http = Http::new(server.addr);
        http.graphql(None, "{ skills { slug } }", json!({})).await.data();
        assert_eq!(Reply::of(http.request(Method::GET, "/health/ready")).await.at("/schema"), "ok");
    }
    for server in servers {
        server.signal("TERM").await;
        assert_eq!(server.ended().await.code(), Some(0));
    }
}

#[tokio::test]
async fn who_may_not_migrate_says_what_to_run() {
    for database in [Database::Sqlite, Database::Postgres] {
        let place = Place::empty(database).await;
        let careful = place.home().with("LANCEWIRE_DATABASE__MIGRATE", "false");
        let said = refused(&careful, &["serve"]).await;
        assert!(said.contains("database.migrate") && said.contains("run `lancewire migrate`"), "{said}");
        assert!(said.contains("_initial"), "it names what is missing: {said}");
        // That is the one command which migrates whatever the setting says.
        assert!(careful.run(&["migrate"]).await.status.success());
        let server = careful.serve().await;
        server.signal("TERM").await;
        assert_eq!(server.ended().await.code(), Some(0));
    }
}

async fn a_newer_schema_is_served_until_something_is_taken_away(database: Database) {
    let place = Place::empty(database).await;
    let port = Port::reserve();
    let home = place.home().with("LANCEWIRE_HTTP__LISTEN", port.addr.to_string());
    assert!(home.run(&["migrate"]).await.status.success());
    place.migrated_later().await;
    assert!(home.run(&["migrate"]).await.status.success(), "there is nothing to do, and that is no failure");

    let log = home.path().join("log");
    let output = fs::File::create(&log).expect("a file");
    let mut node = home.command(&["serve"]).stdout(Stdio::null()).stderr(output).spawn().expect("it starts");
    until("it listens", || std::net::TcpStream::connect(port.addr).is_ok()).await;
    let http = Http::new(port.addr);
    let ready = async || Reply::of(http.request(Method::GET, "/health/ready")).await;
    let fine = ready().await;
    assert_eq!((fine.status.as_u16(), fine.at("/schema")), (200, &json!("ok")), "{fine}");
    http.graphql(None, "{ skills { slug } }", json!({})).await.data();
    assert!(home.run(&["verify"]).await.status.success());

    place.contracted().await;
    // What the database said a moment ago is good for a moment.
    soon(async { while ready().await.status.as_u16() == 200 {} }).await;
    for _ in 0..3 {
        let unfit = ready().await;
        assert_eq!((unfit.status.as_u16(), unfit.at("/schema")), (503, &json!("too new")), "{unfit}");
    }
    let told = fs::read_to_string(&log).expect("a log");
    let told: Vec<&str> = told.lines().filter(|line| line.contains("no longer ready")).collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains(LATER) && told[0].contains("start a newer version"), "{told:#?}");
    for command in ["serve", "migrate", "verify", "seed"] {
        let said = refused(&home, &[command]).await;
        assert!(said.contains("database.url") && said.contains(LATER), "{command}: {said}");
    }
    signal(&node, "TERM").await;
    assert!(soon(node.wait()).await.expect("it was ours").success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_schema_is_served_until_something_is_taken_away_on_sqlite() {
    a_newer_schema_is_served_until_something_is_taken_away(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_schema_is_served_until_something_is_taken_away_on_postgresql() {
    a_newer_schema_is_served_until_something_is_taken_away(Database::Postgres).await;
}

#[tokio::test]
async fn a_schema_of_another_branch_is_left_alone() {
    let place = Place::empty(Database::Sqlite).await;
    assert!(place.home().run(&["migrate"]).await.status.success());
    let mut steps = place.steps().await;
    let ours = steps.pop().expect("a step");
    steps.push(LATER.to_owned());
    place.migrated_later().await;
    place.run(&format!("DELETE FROM seaql_migrations WHERE version = '{ours}'")).await;
    let said = refused(&place.home(), &["serve"]).await;
    assert!(said.contains(LATER) && said.contains(&ours) && said.contains("has both"), "{said}");
    assert_eq!(place.steps().await, steps, "and nothing was touched");
}

/// A file of the repository.
fn file(path: &str) -> String {
    fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a file")
}

/// The settings that a file names by their variables are settings, and say so in `config/default.toml`.
#[test]
fn deploy_files_set_what_can_be_set() {
    let (mut section, mut known) = (String::new(), vec!["LANCEWIRE_ENVIRONMENT".to_owned()]);
    for line in file("config/default.toml").lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_uppercase();
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            known.push(format!("LANCEWIRE_{section}__{}", key.to_uppercase()));
        }
    }
    for path in
        ["deploy/compose.yaml", "deploy/kubernetes.yaml", "Dockerfile", "scripts/cluster", "bench/src/lancewire.rs"]
    {
        let text = file(path);
        let named = text.match_indices("LANCEWIRE_").map(|(at, _)| {
            text[at..].chars().take_while(|letter| letter.is_ascii_uppercase() || *letter == '_').collect::<String>()
        });
        // HAProxy's own variables have one underscore.
        let wrong: Vec<String> = named.filter(|name| name.contains("__") && !known.contains(name)).collect();
        assert_eq!(wrong, [""; 0], "{path}");
    }
}

#[test]
fn deploy_files_bound_what_a_node_takes_and_who_reaches_it() {
    let compose = file("deploy/compose.yaml");
    let services =
        compose.split_once("\nservices:\n").and_then(|(_, rest)| rest.split_once("\n# Fixed")).expect("services").0;
    let own: Vec<&str> = services.split("\n  ").filter(|line| line.ends_with(':') && !line.starts_with(' ')).collect();
    assert_eq!(own, ["proxy:", "postgres:", "redis:"], "the nodes share one block");
    let node =
        compose.split_once("x-node: &node").and_then(|(_, rest)| rest.split_once("\nservices:")).expect("a block").0;
    for part in services.split("\n\n  ").filter(|part| part.contains("image:")).chain([node]) {
        for bound in ["mem_limit: ", "logging: *logging", "restart: unless-stopped"] {
            assert!(part.contains(bound), "no {bound} in\n{part}");
        }
    }
    assert!(compose.contains("max-size: 10m") && compose.contains("max-file:"), "logs are rotated");
    assert!(!compose.contains("9090:9090"), "figures are not published");

    let kubernetes = file("deploy/kubernetes.yaml");
    let policy = kubernetes.split("\n---\n").find(|part| part.contains("kind: NetworkPolicy")).expect("a policy");
    for rule in
        ["policyTypes: [Ingress, Egress]", "port: http", "port: operators", "port: 53, protocol: UDP", "port: 5432"]
    {
        assert!(policy.contains(rule), "no {rule} in\n{policy}");
    }
    let deployment = kubernetes.split("\n---\n").find(|part| part.contains("kind: Deployment")).expect("a deployment");
    for bound in ["limits: { memory: 1Gi, ephemeral-storage: 2Gi }", "port: operators", "prometheus.io/port: \"9090\""]
    {
        assert!(deployment.contains(bound), "no {bound}");
    }
    assert!(!deployment.contains("port: http }"), "probes do not compete with strangers");
    assert!(kubernetes.contains("LANCEWIRE_TELEMETRY__METRICS_LISTEN: 0.0.0.0:9090"));
}

/// The image's binary is what this makes of it: it runs, and a debugger finds the rest by its name.
#[tokio::test]
async fn a_binary_is_split_into_what_runs_and_what_a_debugger_reads() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = env!("CARGO_BIN_EXE_lancewire");
    let split = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/split-symbols");
    let output = tokio::process::Command::new(split).args([program.as_ref(), folder.path()]).output().await;
    let output = output.expect("it runs");
    assert!(output.status.success(), "{:#?}", lines(&output.stderr));
    let size = |name: &str| fs::metadata(folder.path().join(name)).expect("a file").len();
    let (whole, stripped) = (fs::metadata(program).expect("a file").len(), size("lancewire"));
    assert!(stripped < whole * 3 / 4 && size("lancewire.debug") > 1_000_000, "{stripped} of {whole}");
    let binary = fs::read(folder.path().join("lancewire")).expect("bytes");
    assert!(binary.windows(15).any(|bytes| bytes == b"lancewire.debug"), "it names its symbols");
    let version = tokio::process::Command::new(folder.path().join("lancewire")).arg("--version").output().await;
    let version = version.expect("it runs");
    assert_eq!(lines(&version.stdout), [format!("lancewire {}", env!("CARGO_PKG_VERSION"))]);
}
