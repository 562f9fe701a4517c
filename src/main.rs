//! The command line: reads arguments, calls the library, turns errors into one line and an exit code. No logic.

use std::{
    io::Write,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use clap::{Parser, Subcommand};
use lancewire::{
    accounts::skills::{Imported, parse_vocabulary},
    app::{App, open_database, open_existing_database},
    backup::{back_up, restored},
    clock::Clock,
    config::{Config, Environment},
    db::{Backend, grants},
    descriptors, files,
    http::assets,
    ids::Ids,
    lifecycle::Lifecycle,
    schema, seed, telemetry,
    verify::examine,
};
use parking_lot::Mutex;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The real-time GraphQL API of a freelance marketplace.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// What to do; `serve` unless given.
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Migrates the database, seeds an empty one in development, and serves.
    Serve,
    /// Brings the database up to date.
    Migrate,
    /// Prints the GraphQL schema.
    Schema {
        /// In which form.
        #[arg(long, value_enum, default_value = "sdl")]
        format: SchemaFormat,
    },
    /// Fills an empty database with demo people, jobs and wallets.
    Seed,
    /// Proves that the books and the event log of a database are right: exits with 0 if they are, with 1 and the rows
    /// named if not, and with 2 if it could not look.
    Verify,
    /// What only the operator may do.
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Copies an SQLite database into a new file, while servers use it.
    Backup {
        /// Where to; nothing is overwritten.
        file: PathBuf,
    },
    /// Tells a database that it was restored from a copy, before servers use it: cursors of before are refused from now on,
    /// and everybody signs in again.
    Restored,
    /// Prints the SQL that gives a PostgreSQL role what the server needs, and no more, for the owner of the tables to run.
    Grants {
        /// The role.
        role: String,
    },
    /// The vocabulary of skills.
    #[command(subcommand)]
    Skills(SkillsCommand),
}

#[derive(Subcommand)]
enum SkillsCommand {
    /// Adds the skills in a file, and renames those that are there under another name. Nothing is done if a line is wrong.
    Import {
        /// CSV with a slug and a name in each line, or a name alone.
        file: PathBuf,
    },
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum SchemaFormat {
    /// The schema definition language, as in schema.graphql.
    Sdl,
    /// The answer to the introspection query, for code generators.
    Introspection,
    /// The short introspection that urql's graphcache takes as `schema`.
    Graphcache,
    /// What Apollo's `InMemoryCache` takes as `possibleTypes`.
    PossibleTypes,
}

#[derive(Subcommand)]
enum AdminCommand {
    /// Makes an account with the role ADMIN. The password is read from LANCEWIRE_ADMIN_PASSWORD or standard input.
    Create {
        /// Its email.
        #[arg(long)]
        email: String,
        /// Its display name.
        #[arg(long, default_value = "Administrator")]
        name: String,
    },
}

/// How long the process waits in the end for what blocks a thread and cannot be cancelled, such as a file on a disk that
/// does not answer.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// How `verify` ends when something is broken, and when it could not look.
const BROKEN: u8 = 1;
const COULD_NOT_LOOK: u8 = 2;
/// How often `verify` says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let command = Arguments::parse().command.unwrap_or(Command::Serve);
    // A bad setting is in the way of looking as a database that does not answer is.
    let failure = if matches!(command, Command::Verify) { ExitCode::from(COULD_NOT_LOOK) } else { ExitCode::FAILURE };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime.context("no threads can be started").and_then(|runtime| {
        let done = runtime.block_on(Box::pin(run(command)));
        runtime.shutdown_timeout(LAST_WAIT);
        done
    });
    done.unwrap_or_else(|error| {
        eprintln!("lancewire: {}", one_line(&error));
        failure
    })
}

/// An error and its causes. Many tell of their cause in their own words: what was said is not said again.
fn one_line(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |line, cause| match line {
        line if line.contains(&cause) => line,
        line if line.is_empty() => cause,
        line => format!("{line}: {cause}"),
    })
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    if let Command::Schema { format } = command {
        match format {
            SchemaFormat::Sdl => print!("{}", schema::sdl()),
            SchemaFormat::Introspection => println!("{:#}", schema::introspection()),
            SchemaFormat::Graphcache => println!("{:#}", schema::graphcache()),
            SchemaFormat::PossibleTypes => println!("{:#}", schema::possible_types()),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut config = Config::load()?;
    telemetry::init_logs(&config.telemetry)?;
    let clock = Clock::system();
    let ids = Ids::from_entropy(clock.clone());
    match command {
        Command::Schema { .. } => {}
        Command::Migrate => {
            config.database.migrate = true;
            open_database(&config, ids, Lifecycle::new()).await?;
        }
        Command::Verify => {
            return verify(config, ids).await;
        }
        Command::Seed => {
            if config.environment == Environment::Production {
                bail!(
                    "seeding makes an admin and others with a password that everybody knows; it is not for production"
                );
            }
            let app = App::build(config, clock, ids).await?;
            if !app.services.accounts.is_empty().await? {
                bail!("the database is not empty; seeding is for an empty one");
            }
            seed::seed(&app).await?;
            app.shut_down().await;
        }
        Command::Admin(AdminCommand::Create { email, name }) => {
            let password = match std::env::var("LANCEWIRE_ADMIN_PASSWORD") {
                Ok(password) => password,
                Err(_) => std::io::read_to_string(std::io::stdin())?.trim_end_matches(['\r', '\n']).to_owned(),
            };
            let app = App::build(config, clock, ids).await?;
            let admin = app.services.accounts.create_admin(&email, &password, &name).await?;
            app.shut_down().await;
            println!("{}", admin.id);
        }
        Command::Backup { file } => {
            let bytes = back_up(&open_existing_database(config, ids).await?, &file).await?;
            println!("{} has {bytes} bytes", file.display());
        }
        Command::Restored => {
            let accounts = restored(&open_existing_database(config, ids).await?).await?;
            println!("cursors of before are refused from now on; {accounts} accounts sign in again");
        }
        Command::Grants { role } => {
            if config.database.backend() == Backend::Sqlite {
                bail!("database.url is an SQLite file, which has no users: its owner is whom the file belongs to");
            }
            let db = open_existing_database(config, ids).await?;
            grants::statements(&db, &role).await?.iter().for_each(|grant| println!("{grant}"));
        }
        Command::Skills(SkillsCommand::Import { file }) => {
            let shown = file.display();
            let text = std::fs::read_to_string(&file).with_context(|| format!("{shown} cannot be read"))?;
            let words = parse_vocabulary(&text).map_err(|wrong| anyhow!("{shown}: {wrong}"))?;
            let app = App::build(config, clock, ids).await?;
            let Imported { added, renamed, kept } = app.services.accounts.import_skills(&words).await?;
            app.shut_down().await;
            println!("{added} added, {renamed} renamed, {kept} as they were");
        }
        Command::Serve => return Box::pin(serve(config, clock, ids)).await,
    }
    Ok(ExitCode::SUCCESS)
}

/// Says on standard output what was found, and on standard error how far it is.
async fn verify(config: Config, ids: Ids) -> anyhow::Result<ExitCode> {
    let folder = config.files.folder(&config.database.url);
    let db = open_existing_database(config, ids).await?;
    let begun = Instant::now();
    let said = Mutex::new(None::<Instant>);
    let progress = |what: &str| {
        let mut said = said.lock();
        if said.is_none_or(|said| said.elapsed() >= TELL_EVERY) {
            eprintln!("lancewire: {:4} s: {what}", begun.elapsed().as_secs());
            *said = Some(Instant::now());
        }
    };
    let mut report = examine(&db, &progress).await?;
    if let Some(folder) = folder {
        report.findings.push(files::verify::bytes(&db, folder, &progress).await?);
    }
    for finding in &report.findings {
        println!("{} {}", if finding.broken.is_empty() { "ok    " } else { "BROKEN" }, finding.invariant);
        finding.broken.iter().for_each(|row| println!("         {row}"));
    }
    report.notes.iter().for_each(|note| println!("note   {note}"));
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(BROKEN) })
}

async fn serve(config: Config, clock: Clock, ids: Ids) -> anyhow::Result<ExitCode> {
    // Before anything counts by it.
    descriptors::raise();
    let development = config.environment == Environment::Development;
    let app = App::build(config, clock, ids).await?;
    let listen = app.config.http.listen;
    let listener = app.listen().with_context(|| format!("http.listen: cannot listen on {listen}"))?;
    if !development {
        let known = app.services.accounts.with_password(&seed::PEOPLE.map(|(email, ..)| email), seed::PASSWORD).await?;
        if let Some(email) = known.first() {
            bail!(
                "this database has {} accounts of a development server with the password that everybody knows, such as \
                 {email}; give each another password, or begin with an empty database",
                known.len()
            );
        }
    } else if app.services.accounts.is_empty().await? {
        seed::seed(&app).await.context("cannot seed the empty database")?;
    }
    // Before the process announces that it serves: it may be asked to stop immediately after that.
    let mut stop = StopSignals::listen()?;
    let address = app.serve(listener)?;
    tracing::info!(%address, "serving");
    if development {
        if !address.ip().is_loopback() {
            tracing::warn!(
                %address,
                "a development server listens on more than loopback: all who reach it may sign in as an admin with a \
                 known password; set LANCEWIRE_ENVIRONMENT=production or http.listen to 127.0.0.1"
            );
        }
        greet(&address.to_string(), &app.config);
    }
    tokio::select! {
        () = stop.next() => {}
        () = app.lifecycle.failed() => {}
    }
    tracing::info!("stopping");
    tokio::select! {
        () = app.announce_end() => {}
        // Asked again, it does not wait for load balancers.
        () = stop.next() => {}
        // Nor after a failure: what is in memory here, sessions included, may be of a log that is no more.
        () = app.lifecycle.failed() => {}
    }
    let clean = app.shut_down().await && !app.lifecycle.has_failed();
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// SIGINT and SIGTERM, which end the process by themselves until this is made.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next one.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Tells a newcomer where to go. Nobody may be listening: a closed standard output is no reason to end.
fn greet(address: &str, config: &Config) {
    let s = if config.tls.is_on() { "s" } else { "" };
    let playground = match (config.http.playground, assets::playground()) {
        (false, _) => "switched off (http.playground)".to_owned(),
        (true, None) => "not built: needs Node 20.19 or newer, then `make run`".to_owned(),
        (true, Some(_)) => format!("http{s}://{address}/graphql"),
    };
    let logins = seed::PEOPLE.map(|(email, name, _)| format!("    {email:22} {name}")).join("\n");
    let password = seed::PASSWORD;
    let text = format!(
        "\n  lancewire is at http{s}://{address}/\n\n\
         \x20 playground   {playground}\n\
         \x20 subscribe    ws{s}://{address}/graphql   (graphql-transport-ws)\n\
         \x20 schema       http{s}://{address}/schema.graphql\n\
         \x20 operations   http{s}://{address}/health/ready   http{s}://{address}/metrics\n\n\
         \x20 Demo logins, all with the password {password}:\n{logins}\n\n\
         \x20 Try it:\n\n\
         \x20 curl -s http{s}://{address}/graphql -H 'content-type: application/json' \\\n\
         \x20   -d '{{\"query\":\"{{ jobs(first: 3) {{ nodes {{ title budget {{ amount currencyCode }} }} }} }}\"}}'\n\n"
    );
    let _ = std::io::stdout().write_all(text.as_bytes());
}
