//! A server for one test: the real router over real sockets, and a database of its own.
//!
//! [`on_both`](crate::on_both) tells a story once on each database. Afterwards [`TestApp::finish`] proves every
//! invariant on what the story left behind and that no task outlives the server.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use chrono::TimeDelta;
use lancewire::{
    app::{App, open_database},
    clock::Clock,
    config::{Config, Environment},
    db::{Backend, Db},
    domains, files,
    ids::Ids,
    lifecycle::Lifecycle,
    verify::verify,
};
use sea_orm::{ConnectOptions, ConnectionTrait, Statement};
use tempfile::TempDir;
use tokio::sync::Mutex;
use url::Url;

use super::{
    http::Http,
    people::{Person, sign_up_admin},
    postgres,
    socket::Socket,
};

/// Settings that make a server quick and patient enough for tests.
const SETTINGS: &str = r#"
    [http]
    listen = "127.0.0.1:0"
    connections_per_address = 100000
    [auth]
    password_memory_kib = 8
    password_iterations = 1
    password_parallel = 8
    free_attempts_per_address = 100000
    sign_ups_per_address = 100000
    [search]
    enabled = false
    [payments]
    provider = "none"
    [budgets]
    anonymous = 100000000
    signed_in = 100000000
    address = 100000000
    [sockets]
    sockets_per_address = 10000
    drain_ms = 200
    [subscriptions]
    groups_per_user = 1000000
    groups_per_address = 1000000
    filters_per_user = 1000000
    filters_per_address = 1000000
    bytes_per_user = 4000000000
    bytes_per_address = 4000000000
    bytes = 4000000000
"#;

/// How long events are kept.
pub const WEEK: TimeDelta = TimeDelta::days(7);

/// Which database a story runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    Sqlite,
    Postgres,
}

/// A running server. Clones share it.
#[derive(Clone)]
pub struct TestApp {
    pub app: Arc<App>,
    pub addr: SocketAddr,
    pub http: Http,
    /// Knows this app in turn: [`TestApp::finish`] lets go of it.
    admin: Arc<Mutex<Option<Person>>>,
    /// How the invariants begin that the story breaks by the back door.
    tampered: Arc<Mutex<Vec<&'static str>>>,
    _home: Arc<TempDir>,
    lent: Option<Arc<postgres::Database>>,
}

/// A copy of a test's database, gone with this value.
pub struct DbCopy {
    pub db: Db,
    _home: TempDir,
    _lent: Option<postgres::Database>,
}

/// Tells a story on both databases: `on_both! { async fn name(app: TestApp) { .. } }`. With settings of its own:
/// `on_both! { with "[marketplace]\nlive_claims = 2"; async fn .. }`.
#[macro_export]
macro_rules! on_both {
    (with $settings:expr; $($(#[$attribute:meta])* async fn $name:ident($app:ident: TestApp) $story:block)+) => {$(
        $(#[$attribute])*
        mod $name {
            use super::*;

            async fn story($app: $crate::support::app::TestApp) $story

            async fn tell(database: $crate::support::app::Database) {
                let clock = lancewire::clock::Clock::system();
                let app = $crate::support::app::TestApp::start_with(database, $settings, clock).await;
                story(app.clone()).await;
                app.finish().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                tell($crate::support::app::Database::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                tell($crate::support::app::Database::Postgres).await;
            }
        }
    )+};
    ($($stories:tt)+) => {
        $crate::on_both! { with ""; $($stories)+ }
    };
}

impl TestApp {
    /// A server with the tests' settings.
    pub async fn start(database: Database) -> Self {
        Self::start_with(database, "", Clock::system()).await
    }

    /// A server with settings of its own on top, and perhaps a clock moved by hand.
    pub async fn start_with(database: Database, settings: &str, clock: Clock) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let (url, lent) = match database {
            Database::Sqlite => (format!("sqlite:{}", home.path().join("test.db").display()), None),
            Database::Postgres => {
                let lent = postgres::shared().await.database(migrate).await;
                (lent.url().to_owned(), Some(Arc::new(lent)))
            }
        };
        let keys = home.path().join("keys");
        let index = home.path().join("search");
        let files = home.path().join("files");
        let places = format!(
            "[database]\nurl = {url:?}\n[auth]\nkeys_dir = {:?}\n[search]\nfolder = {:?}\n[files]\nfolder = {:?}\n",
            keys.display().to_string(),
            index.display().to_string(),
            files.display().to_string()
        );
        let config =
            Config::layered(Environment::Development, &[SETTINGS, &places, settings]).expect("usable settings");
        let (app, addr) = serve(config, clock).await;
        Self {
            app: Arc::new(app),
            addr,
            http: Http::new(addr),
            admin: Arc::default(),
            tampered: Arc::default(),
            _home: Arc::new(home),
            lent,
        }
    }

    /// Somebody who is not signed in.
    pub fn anonymous(&self) -> Person {
        Person::anonymous(self)
    }

    /// A new client with 10,000.00 to spend.
    pub async fn client(&self, name: &str) -> Person {
        let client = Person::sign_up(self, name, &["CLIENT"]).await;
        client.funded("10000.00").await
    }

    /// A new freelancer.
    pub async fn freelancer(&self, name: &str) -> Person {
        Person::sign_up(self, name, &["FREELANCER"]).await
    }

    /// The one admin.
    pub async fn admin(&self) -> Person {
        let mut admin = self.admin.lock().await;
        if admin.is_none() {
            *admin = Some(sign_up_admin(self).await);
        }
        admin.clone().expect("just made")
    }

    /// Stops the server and starts another one in its place: same database, same keys, same address. People move by
    /// [`Person::at`].
    pub async fn restarted(self) -> Self {
        assert!(self.app.shut_down().await, "a task did not leave by itself");
        self.app.db.clone().close().await;
        let mut config = self.app.config.clone();
        config.http.listen = self.addr;
        let (app, _) = serve(config, self.app.clock.clone()).await;
        Self { app: Arc::new(app), ..self }
    }

    /// One more node: same database, same keys, an address of its own. Its [`TestApp::finish`] leaves the database as
    /// it is.
    pub async fn neighbour(&self) -> Self {
        self.neighbour_with(|_| ()).await
    }

    /// The same with settings that `change` has changed.
    pub async fn neighbour_with(&self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.app.config.clone();
        change(&mut config);
        let (app, addr) = serve(config, self.app.clock.clone()).await;
        Self { app: Arc::new(app), addr, http: Http::new(addr), ..self.clone() }
    }

    /// Waits until all that was committed so far is published: a subscription that starts then does not receive it.
    pub async fn published(&self) {
        let hub = &self.app.services.hub;
        // A database that is away has nothing to publish.
        if let Ok(head) = hub.log().stamp().await {
            until("what was committed is published", || hub.head() >= head).await;
        }
    }

    /// A socket, signed in or not.
    pub async fn socket(&self, token: Option<&str>) -> Socket {
        self.published().await;
        Socket::connect(self.addr, token).await
    }

    /// Waits until so many subscriptions listen, so that nothing that happens from now on is missed.
    pub async fn listening(&self, subscriptions: usize) {
        let hub = &self.app.services.hub;
        let listeners = || domains::KINDS.iter().map(|kind| hub.listeners(kind)).sum::<usize>();
        until("subscriptions listen", || listeners() == subscriptions).await;
    }

    /// Stops the server after proving that its books and log are right.
    pub async fn finish(self) {
        // What was committed a moment ago may not have a position yet.
        self.app.services.hub.log().stamp().await.expect("a stamp");
        self.db_proves_its_invariants().await;
        assert!(self.app.shut_down().await, "a task did not leave by itself");
        assert_eq!(self.app.lifecycle.running(), 0, "a task outlives the server");
        self.admin.lock().await.take();
    }

    /// Back door: every invariant of the books and the log.
    pub async fn db_proves_its_invariants(&self) {
        let mut findings = verify(&self.app.db).await.expect("verify runs");
        let folder = self.app.config.files.folder(&self.app.config.database.url).expect("a folder");
        findings.push(files::verify::bytes(&self.app.db, folder, &|_| ()).await.expect("the bytes are read"));
        let tampered = self.tampered.lock().await;
        let by_story = |invariant: &str| tampered.iter().any(|begins| invariant.starts_with(begins));
        let broken: Vec<_> =
            findings.iter().filter(|finding| !finding.broken.is_empty() && !by_story(finding.invariant)).collect();
        assert!(broken.is_empty(), "{broken:#?}");
    }

    /// Back door: this story writes what no step would, and so breaks the invariant that begins with these words.
    pub async fn db_tampered(&self, invariant: &'static str) {
        self.tampered.lock().await.push(invariant);
    }

    /// Back door: a copy of the database, for stories that break something. The server must have stopped.
    ///
    /// # Panics
    ///
    /// When it cannot be copied.
    pub async fn db_copy(&self) -> DbCopy {
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut settings = self.app.config.database.clone();
        let lent = match &self.lent {
            None => {
                let file = home.path().join("copy.db").display().to_string();
                let copy = format!("VACUUM INTO '{file}'");
                self.app.db.writer().execute_unprepared(&copy).await.expect("a copy");
                settings.url = format!("sqlite:{file}");
                None
            }
            Some(source) => {
                self.app.db.clone().close().await;
                let copy = postgres::shared().await.copy(source).await;
                copy.url().clone_into(&mut settings.url);
                Some(copy)
            }
        };
        let db = Db::connect(&settings, self.app.db.ids().clone(), Lifecycle::new()).await.expect("the copy opens");
        DbCopy { db, _home: home, _lent: lent }
    }

    /// Back door: takes the database away, sessions included, or gives it back. PostgreSQL only.
    pub async fn db_away(&self, away: bool) {
        let mut url: Url = self.app.config.database.url.parse().expect("a URL");
        let database = url.path().trim_start_matches('/').to_owned();
        url.set_path("postgres");
        let mut options = ConnectOptions::new(url.to_string());
        options.max_connections(1).sqlx_logging(false);
        let administrator = sea_orm::Database::connect(options).await.expect("connects");
        let run = async |sql: String| administrator.execute_unprepared(&sql).await.expect("PostgreSQL does as told");
        run(format!("ALTER DATABASE {database} ALLOW_CONNECTIONS {}", !away)).await;
        if away {
            run(format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")).await;
        }
        administrator.close().await.expect("closes");
    }

    /// Back door: SQL with the words for which the databases differ: `{fresh}` is a new id, `{position}` the column
    /// that an event's place in the log is kept in, `{true}` the truth.
    pub fn db_dialect(&self, sql: &str) -> String {
        let words = match self.app.db.backend() {
            Backend::Sqlite => ["randomblob(16)", "id", "1"],
            Backend::Postgres => ["gen_random_uuid()", "position", "true"],
        };
        let names = ["{fresh}", "{position}", "{true}"];
        names.iter().zip(words).fold(sql.to_owned(), |sql, (name, word)| sql.replace(name, word))
    }

    /// Back door: one statement.
    pub async fn db_run(&self, sql: &str) {
        self.app.db.writer().execute_unprepared(sql).await.expect("the statement runs");
    }

    /// Back door: what stands in the log by now has been there for a week.
    pub async fn db_age(&self) {
        self.db_run("DELETE FROM event_ages").await;
        self.app.services.hub.log().note_age(WEEK).await.expect("noted");
        self.db_run(&format!("UPDATE event_ages SET noted_ms = noted_ms - {}", WEEK.num_milliseconds())).await;
    }

    /// Back door: forgets what has been in the log for a week, in small steps.
    pub async fn db_forget(&self) {
        let log = self.app.services.hub.log();
        while log.forget(WEEK, 2).await.expect("it forgets") > 0 {}
    }

    /// Back door: the steps that are not done yet.
    pub async fn db_migrate(&self) {
        migrate(self.app.config.database.url.clone()).await;
    }

    /// Back door: one number out of the database.
    pub async fn db_number(&self, sql: &str) -> i64 {
        let row = self.app.db.reader().query_one_raw(self.app.db.statement(sql, [])).await.expect("the query runs");
        let row = row.expect("a row");
        row.try_get_by_index::<i64>(0).or_else(|_| row.try_get_by_index::<i32>(0).map(Into::into)).expect("a number")
    }
}

async fn serve(config: Config, clock: Clock) -> (App, SocketAddr) {
    let ids = Ids::from_entropy(clock.clone());
    let app = App::build(config, clock, ids).await.expect("the server can be built");
    let listener = app.listen().expect("a free port");
    let addr = app.serve(listener).expect("an address");
    (app, addr)
}

/// Waits for a condition that no message announces.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let patient = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), patient)
        .await
        .unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

/// Waits until a condition of SQL holds in a `PostgreSQL`. Gives up before that ends a transaction in which nothing
/// happens.
pub async fn holds(db: &impl ConnectionTrait, condition: &str) {
    let query = Statement::from_string(db.get_database_backend(), format!("SELECT 1 WHERE {condition}"));
    let patient = async { while db.query_one_raw(query.clone()).await.expect("the query runs").is_none() {} };
    tokio::time::timeout(Duration::from_secs(30), patient)
        .await
        .unwrap_or_else(|_| panic!("waited in vain until {condition}"));
}

/// What is about to come. A test that waits for ever tells nobody what is wrong.
pub async fn soon<F: Future>(coming: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), coming).await.expect("it comes soon")
}

/// Brings an empty database up to date.
pub async fn migrate(url: String) {
    let settings = format!("[database]\nurl = {url:?}\n");
    let config = Config::layered(Environment::Development, &[SETTINGS, &settings]).expect("usable settings");
    let db = open_database(&config, Ids::from_entropy(Clock::system()), Lifecycle::new()).await.expect("migrated");
    db.close().await;
}
