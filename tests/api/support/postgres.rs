//! A PostgreSQL of the tests' own.
//!
//! One server for the whole test binary, made in a temporary directory by the first test that asks and gone with the
//! process, however that ends; one database for each test, copied from a template that is migrated once. With
//! `LANCEWIRE_TEST_POSTGRES_URL` set, that server is used instead: the role needs CREATEDB, and the template stays
//! behind.
//!
//! Every `#[tokio::test]` has a runtime of its own, and a pool dies with the runtime it was made in. So all
//! administration happens on one thread that lives as long as the process and takes orders one by one, which also
//! keeps two tests from copying the template at the same moment.

use std::{
    env,
    fs::{self, Permissions},
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    panic::resume_unwind,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
};

use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection, DbErr, Statement};
use tempfile::TempDir;
use tokio::sync::{OnceCell, oneshot};
use url::Url;

use super::{
    disk::{Ballast, SmallDisk},
    tls::Authority,
};

/// The oldest release with all that the server relies on.
const OLDEST: u32 = 15;

/// A server whose data may be lost at any moment, and that serves many pools at once.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
synchronous_commit = off
full_page_writes = off
max_connections = 400
shared_buffers = 128MB
";

/// What is added for a server that may be stopped in the middle: nothing that it has acknowledged is lost when its
/// processes die, only when the machine does.
const MORTAL_SETTINGS: &str = "synchronous_commit = on\n";

/// For a small disk: little that is kept for later.
const FRUGAL_SETTINGS: &str = "
min_wal_size = 4MB
max_wal_size = 16MB
";

/// Runs the server until standard input ends. The other end of that pipe is in the test process, and the kernel closes
/// it however the process ends: by returning, by a panic, by SIGKILL. When it ends before the server is ready, nobody
/// hears that word, which must not end the keeper. A line `crash` or `start` does that to the server and is answered,
/// `revive` starts it unless it runs. With the connection string of another server it is a streaming replica of that
/// one.
const KEEPER: &str = r#"
binaries=$1 port=$2 settings=$3 source=$4 options=$5
exec 2>>log
finish() {
    "$binaries/pg_ctl" --pgdata=data --mode=immediate stop >>log
    rm -rf "$PWD"
}
start() {
    "$binaries/pg_ctl" --pgdata=data --log=log --options="-p $port" --wait start >>log
}
make() {
    if [ -n "$source" ]; then
        "$binaries/pg_basebackup" --pgdata=data --dbname="$source" --write-recovery-conf --checkpoint=fast --no-sync
    else
        "$binaries/initdb" --pgdata=data --username=postgres --auth=trust --encoding=UTF8 --no-locale --no-sync \
            $options >>log &&
            printf '%s' "$settings" >>data/postgresql.conf
    fi
}
trap finish EXIT
trap 'exit 1' HUP INT TERM
make && start ||
    { cat log; exit 1; }
trap '' PIPE
echo ready
while read -r order; do
    case $order in
    crash) "$binaries/pg_ctl" --pgdata=data --mode=immediate --wait stop >>log && echo ready ;;
    start) start && echo ready ;;
    revive) { "$binaries/pg_ctl" --pgdata=data status >>log || start; } && echo ready ;;
    esac || cat log
done
"#;

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    /// Without a database's name.
    server: Url,
    orders: mpsc::Sender<Order>,
    /// Begins the name of every database made here; unlike that of any other process on the same server.
    prefix: String,
    next: AtomicU32,
    template: OnceCell<()>,
    /// Holds the pipe whose end is the server's end.
    _keeper: Option<Keeper>,
}

/// A server of one test's own, which may crash and come back. Gone with this value.
#[derive(Debug)]
pub struct Mortal {
    url: Url,
    keeper: Arc<Mutex<Keeper>>,
    /// What its settings point to.
    files: Option<Arc<TempDir>>,
}

/// The shell that looks after a server, and its answers.
#[derive(Debug)]
struct Keeper {
    shell: Child,
    answers: BufReader<ChildStdout>,
    /// What the keeper cannot delete: a disk is mounted in it.
    directory: Option<TempDir>,
}

/// A test's own database, dropped with this value, even with open connections.
#[derive(Debug)]
pub struct Database {
    url: Url,
    orders: mpsc::Sender<Order>,
}

/// SQL for the administrator, and where the outcome goes.
type Order = (Vec<String>, oneshot::Sender<Result<(), DbErr>>);

/// The server that all tests of this process share.
///
/// # Panics
///
/// When there is no PostgreSQL to start: a test that needs one never passes without.
pub async fn shared() -> &'static Postgres {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    // Starting blocks for a second or so; the thread that asks may have timers to serve meanwhile.
    let started = tokio::task::spawn_blocking(|| SHARED.get_or_init(Postgres::start)).await;
    started.unwrap_or_else(|failure| resume_unwind(failure.into_panic()))
}

impl Postgres {
    /// A fresh database, migrated by `migrate`, which gets the URL of an empty database and must close its pool.
    ///
    /// Only the first call of the process runs `migrate`: all databases are copies of what it made.
    ///
    /// # Panics
    ///
    /// When the server refuses, with its reason.
    pub async fn database(&self, migrate: impl AsyncFnOnce(String)) -> Database {
        let template = format!("{}_template", self.prefix);
        self.template
            .get_or_init(async || {
                // A leftover is from an earlier try that failed half way.
                self.administer([drop_database(&template), format!("CREATE DATABASE {template}")]).await;
                migrate(self.url(&template).to_string()).await;
                // A template must have no visitors while it is copied; a closed pool's sessions may linger.
                self.administer([
                    format!("ALTER DATABASE {template} ALLOW_CONNECTIONS false"),
                    format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{template}'"),
                ])
                .await;
            })
            .await;
        let name = format!("{}_{}", self.prefix, self.next.fetch_add(1, Ordering::Relaxed));
        self.administer([drop_database(&name), format!("CREATE DATABASE {name} TEMPLATE {template}")]).await;
        Database { url: self.url(&name), orders: self.orders.clone() }
    }

    /// A database without anything.
    ///
    /// # Panics
    ///
    /// When the server refuses, with its reason.
    pub async fn empty(&self) -> Database {
        let name = format!("{}_{}", self.prefix, self.next.fetch_add(1, Ordering::Relaxed));
        self.administer([drop_database(&name), format!("CREATE DATABASE {name}")]).await;
        Database { url: self.url(&name), orders: self.orders.clone() }
    }

    /// A copy of a database that nobody uses any more: who is still connected is thrown out.
    ///
    /// # Panics
    ///
    /// When the server refuses, with its reason.
    pub async fn copy(&self, source: &Database) -> Database {
        let source = source.url.path().trim_start_matches('/');
        let name = format!("{}_{}", self.prefix, self.next.fetch_add(1, Ordering::Relaxed));
        self.administer([
            format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{source}'"),
            format!("CREATE DATABASE {name} TEMPLATE {source}"),
        ])
        .await;
        Database { url: self.url(&name), orders: self.orders.clone() }
    }

    fn url(&self, database: &str) -> Url {
        let mut url = self.server.clone();
        url.set_path(database);
        url
    }

    async fn administer<const N: usize>(&self, statements: [String; N]) {
        let (done, outcome) = oneshot::channel();
        self.orders.send((statements.into(), done)).expect("the administrator listens");
        outcome.await.expect("the administrator answers").expect("PostgreSQL does as told");
    }

    fn start() -> Self {
        let (server, keeper) = if let Ok(url) = env::var("LANCEWIRE_TEST_POSTGRES_URL") {
            (url.parse().expect("LANCEWIRE_TEST_POSTGRES_URL is a URL"), None)
        } else {
            let (url, keeper) = start_server(SETTINGS, None, None);
            (url, Some(keeper))
        };
        let (orders, queue) = mpsc::channel();
        let (started, session) = mpsc::channel();
        let url = server.to_string();
        thread::spawn(move || administrate(url, &queue, &started));
        let session = session.recv().expect("the administrator connects");
        let prefix = format!("lw_{session}");
        Self { server, orders, prefix, next: AtomicU32::new(1), template: OnceCell::new(), _keeper: keeper }
    }
}

impl Mortal {
    /// A new server with one empty database.
    ///
    /// # Panics
    ///
    /// When there is no PostgreSQL to start.
    pub async fn start() -> Self {
        Self::begin("", None, None).await
    }

    /// A new server with one empty database that is spoken to over TLS only, and shows a certificate of this authority.
    pub async fn start_secured(authority: &Authority) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let [certificate, key] = authority.certify();
        let rules = "hostssl all all 127.0.0.1/32 trust\nhostssl replication all 127.0.0.1/32 trust\n";
        let files = [("certificate", certificate.as_str()), ("key", &key), ("rules", rules)];
        let [certificate, key, rules] = files.map(|(name, content)| {
            let file = folder.path().join(name);
            fs::write(&file, content).expect("written");
            // PostgreSQL uses no key that others may read.
            fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("set");
            give_away(&file);
            file.display().to_string()
        });
        give_away(folder.path());
        let settings =
            format!("ssl = on\nssl_cert_file = '{certificate}'\nssl_key_file = '{key}'\nhba_file = '{rules}'\n");
        let mut secured = Self::begin(&settings, None, None).await;
        secured.files = Some(Arc::new(folder));
        secured
    }

    /// A new server whose data is on a disk that can be filled. Only root may have one: `PostgreSQL` runs as nobody who
    /// may mount anything.
    pub async fn start_on(disk: SmallDisk) -> Option<Self> {
        if is_root() { Some(Self::begin(FRUGAL_SETTINGS, None, Some(disk)).await) } else { None }
    }

    /// A new server that follows this one by streaming replication, beginning with all that is in it now.
    pub async fn follower(&self) -> Self {
        let mut source = self.url.clone();
        // Replication is of the whole server.
        source.set_path("");
        Self { files: self.files.clone(), ..Self::begin("", Some(source), None).await }
    }

    async fn begin(settings: &str, source: Option<Url>, disk: Option<SmallDisk>) -> Self {
        let settings = format!("{SETTINGS}{MORTAL_SETTINGS}{settings}");
        let start = move || start_server(&settings, source.as_ref(), disk);
        let started = tokio::task::spawn_blocking(start).await;
        let (url, keeper) = started.unwrap_or_else(|failure| resume_unwind(failure.into_panic()));
        Self { url, keeper: Arc::new(Mutex::new(keeper)), files: None }
    }

    /// Takes all the room that is left on its disk.
    pub fn fill(&self) -> Ballast {
        let keeper = self.keeper.lock().expect("nobody panicked");
        let directory = keeper.directory.as_ref().expect("it has a disk of its own").path();
        let directory = directory.strip_prefix("/").expect("absolute");
        let root = PathBuf::from(format!("/proc/{}/root", keeper.shell.id()));
        Ballast::fill(root.join(directory).join("data/ballast"))
    }

    /// Starts it again if it has ended by itself.
    pub async fn revive(&self) {
        self.order("revive").await;
    }

    /// What to connect to.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Stops it at once, as a crash would: no session is asked, no checkpoint is written.
    pub async fn crash(&self) {
        self.order("crash").await;
    }

    /// Starts it again, which recovers what was committed.
    pub async fn recover(&self) {
        self.order("start").await;
    }

    async fn order(&self, order: &'static str) {
        let keeper = Arc::clone(&self.keeper);
        let done = tokio::task::spawn_blocking(move || keeper.lock().expect("nobody panicked").order(order)).await;
        done.unwrap_or_else(|failure| resume_unwind(failure.into_panic()));
    }
}

impl Keeper {
    fn order(&mut self, order: &str) {
        let commands = self.shell.stdin.as_mut().expect("a pipe");
        commands.write_all(format!("{order}\n").as_bytes()).expect("the keeper listens");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the keeper reports");
        assert_eq!(line, "ready\n", "PostgreSQL does not {order}");
    }
}

impl Database {
    /// What to connect to.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Nobody waits for it, and a server that is already gone has dropped everything.
        let (done, _) = oneshot::channel();
        let _ = self.orders.send((vec![drop_database(self.url.path().trim_start_matches('/'))], done));
    }
}

fn drop_database(name: &str) -> String {
    format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")
}

/// Connects, reports the session's number, and carries out orders until the process ends.
fn administrate(url: String, queue: &mpsc::Receiver<Order>, started: &mpsc::Sender<i32>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut options = ConnectOptions::new(url);
        // One connection, for good: its number is in the databases' names.
        options.min_connections(1).max_connections(1).idle_timeout(None).max_lifetime(None).sqlx_logging(false);
        let database = sea_orm::Database::connect(options).await.expect("PostgreSQL lets us in");
        started.send(session(&database).await.expect("PostgreSQL answers")).expect("somebody asked");
        while let Ok((statements, done)) = queue.recv() {
            // No receiver: the order came from a drop.
            let _ = done.send(execute(&database, &statements).await);
        }
    });
}

async fn session(database: &DatabaseConnection) -> Result<i32, DbErr> {
    let query = Statement::from_string(database.get_database_backend(), "SELECT pg_backend_pid()");
    database.query_one_raw(query).await?.expect("one row").try_get_by_index(0)
}

async fn execute(database: &DatabaseConnection, statements: &[String]) -> Result<(), DbErr> {
    for statement in statements {
        database.execute_unprepared(statement).await?;
    }
    Ok(())
}

/// Makes a server, or a replica of `source`, and waits until it accepts connections.
fn start_server(settings: &str, source: Option<&Url>, disk: Option<SmallDisk>) -> (Url, Keeper) {
    let binaries = find_binaries().unwrap_or_else(|| {
        panic!("no PostgreSQL {OLDEST} or newer (initdb, pg_ctl): run scripts/prepare-tests or install `postgresql`")
    });
    let mut log = String::new();
    for _ in 0..3 {
        match try_start_server(&binaries, settings, source, disk) {
            Ok(started) => return started,
            Err(why) => log = why,
        }
        // Between finding a free port and using it another process may have been faster.
        if !log.contains("could not bind") {
            break;
        }
    }
    panic!("PostgreSQL does not start:\n{log}");
}

fn try_start_server(
    binaries: &Path,
    settings: &str,
    source: Option<&Url>,
    disk: Option<SmallDisk>,
) -> Result<(Url, Keeper), String> {
    // PostgreSQL refuses to run as root; the user that runs it instead needs the directory.
    let user = is_root().then(unprivileged);
    let parent = if user.is_some() { PathBuf::from("/tmp") } else { env::temp_dir() };
    let directory =
        tempfile::Builder::new().prefix("lancewire-postgres-").tempdir_in(parent).expect("a temporary directory");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);

    let mut command = match (disk, user) {
        (Some(disk), Some((user, group))) => {
            fs::create_dir(directory.path().join("data")).expect("a folder for the disk");
            let mut command = disk.command("data", &format!("uid={user},gid={group},mode=700"));
            command.args(["setpriv", &format!("--reuid={user}"), &format!("--regid={group}"), "--clear-groups"]);
            command.arg("/bin/sh");
            command
        }
        _ => Command::new("/bin/sh"),
    };
    command.arg("-c").arg(KEEPER).arg("keeper").arg(binaries).arg(port.to_string()).arg(settings);
    command.arg(source.map_or("", Url::as_str));
    command.arg(if disk.is_some() { "--wal-segsize=1" } else { "" });
    // A clean environment: PGDATA, PGOPTIONS and the like would steer the server. A group of its own: what interrupts
    // the tests must not stop the keeper before it has cleaned up.
    command.current_dir(&directory).process_group(0);
    command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default()).env("LC_ALL", "C");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    if let Some((user, group)) = user {
        chown(&directory, Some(user), Some(group)).expect("the directory can be given away");
        if disk.is_none() {
            command.uid(user).gid(group);
        }
    }
    let mut shell = command.spawn().expect("/bin/sh starts");
    // From here on the keeper deletes the directory if it can.
    let directory = if disk.is_some() {
        Some(directory)
    } else {
        let _ = directory.keep();
        None
    };

    let mut answers = BufReader::new(shell.stdout.take().expect("a pipe"));
    let mut line = String::new();
    answers.read_line(&mut line).expect("the keeper reports");
    if line == "ready\n" {
        let url = format!("postgres://postgres@127.0.0.1:{port}/postgres").parse().expect("a URL");
        return Ok((url, Keeper { shell, answers, directory }));
    }
    answers.read_to_string(&mut line).expect("the keeper reports");
    shell.wait().expect("the keeper ends");
    Err(line)
}

/// Where the server's programs and tools are.
///
/// # Panics
///
/// When there is no PostgreSQL.
pub fn binaries_path() -> String {
    find_binaries().expect("a PostgreSQL").display().to_string()
}

/// The directory of the newest server programs, in PATH or where Debian keeps them.
fn find_binaries() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    env::split_paths(&path)
        .chain(debian.map(|version| version.path().join("bin")))
        .filter(|directory| directory.join("pg_ctl").exists())
        .filter_map(|directory| Some((major_version(&directory.join("initdb"))?, directory)))
        .filter(|(version, _)| *version >= OLDEST)
        .max_by_key(|(version, _)| *version)
        .map(|(_, directory)| directory)
}

/// The 15 of `initdb (PostgreSQL) 15.6 (Debian 15.6-0)`.
fn major_version(initdb: &Path) -> Option<u32> {
    let output = Command::new(initdb).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().find_map(|word| word.split('.').next()?.parse().ok())
}

/// Gives a file to the user that runs PostgreSQL.
fn give_away(path: &Path) {
    if is_root() {
        let (user, group) = unprivileged();
        chown(path, Some(user), Some(group)).expect("a file can be given away");
    }
}

fn is_root() -> bool {
    id(&["-u"]) == Some(0)
}

/// User and group to run the server as when we are root.
fn unprivileged() -> (u32, u32) {
    ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| Some((id(&["-u", name])?, id(&["-g", name])?)))
        .expect("a user `postgres` or `nobody`")
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
