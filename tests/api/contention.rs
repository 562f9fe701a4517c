//! Payments of different users never wait for each other, cost few statements, and do not depend on the database's
//! default isolation level.

use futures_util::future::join_all;
use lancewire::{clock::Clock, db::Db};
use sea_orm::{ConnectionTrait, DbErr};
use serde_json::Value;

use crate::{
    on_both,
    support::{
        app::{Database, TestApp, holds, soon},
        people::{Person, text},
    },
};

const PAIRS: usize = 24;

/// A client, a freelancer, and work that waits for the client's word.
struct Pair {
    client: Person,
    work: String,
}

async fn pair(app: &TestApp, number: usize) -> Pair {
    let client = app.client(&format!("Client{number}")).await;
    let freelancer = app.freelancer(&format!("Freelancer{number}")).await;
    let job = text(&client.post_job("A job").await, "/id");
    let claim = text(&freelancer.claim(&job).await.good(), "/claim/id");
    let work = text(&freelancer.submit(&claim).await.good(), "/deliverable/id");
    Pair { client, work }
}

async fn postgres() -> TestApp {
    TestApp::start_with(Database::Postgres, "[database]\nmax_connections = 32\n", Clock::system()).await
}

/// While somebody holds this client's wallet: `held` begins and waits for it in the middle of its journal, and whatever
/// `others` do is done meanwhile.
async fn while_one_waits<T>(app: &TestApp, client: &Person, held: impl Future<Output = T>, others: impl Future) -> T {
    let db = &app.app.db;
    let holder = db.writer().begin("BEGIN").await.expect("a transaction");
    let lock = format!(
        "SELECT 1 FROM wallets w JOIN users u ON u.id = w.id WHERE u.email = '{}' FOR UPDATE OF w",
        client.email
    );
    holder.execute_unprepared(&lock).await.expect("locked");
    let meanwhile = async {
        let waits =
            "EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')";
        holds(db.writer(), waits).await;
        soon(others).await;
        holder.rollback().await.expect("let go");
    };
    let (done, ()) = soon(futures_util::future::join(held, meanwhile)).await;
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approvals_of_other_pairs_do_not_wait_for_one_in_the_middle() {
    let app = postgres().await;
    let mut pairs = join_all((0..PAIRS).map(|number| pair(&app, number))).await;
    let first = pairs.remove(0);
    let others = join_all(pairs.iter().map(async |pair| pair.client.approve(&pair.work).await.good()));
    while_one_waits(&app, &first.client, first.client.approve(&first.work), others).await.good();
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confirmations_of_other_people_do_not_wait_for_one_in_the_middle() {
    let app = postgres().await;
    let admin = app.admin().await;
    let mut deposits = join_all((0..PAIRS).map(async |number| {
        let client = app.client(&format!("Client{number}")).await;
        let deposit = text(&client.deposit("1.00").await.good(), "/transaction/id");
        (client, deposit)
    }))
    .await;
    let (first, held) = deposits.remove(0);
    let others = join_all(deposits.iter().map(async |(_, deposit)| admin.confirm(deposit, "POST").await.good()));
    while_one_waits(&app, &first, admin.confirm(&held, "POST"), others).await.good();
    app.finish().await;
}

/// How many statements a request takes, the one that looks at the session included.
async fn cost(app: &TestApp, request: impl Future<Output = Value>) -> (u64, Value) {
    let before = app.app.db.statements();
    let payload = request.await;
    (app.app.db.statements() - before, payload)
}

on_both! {
    async fn a_life_of_a_job_takes_few_statements(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        let mut least = [u64::MAX; 4];
        // The log is read in the background, which adds to the count now and then and never takes from it. The first life
        // opens accounts that stay.
        for _ in 0..7 {
            let (post, job) = cost(&app, ada.post_job("A job")).await;
            let job = text(&job, "/id");
            let (claim, claimed) = cost(&app, async { ben.claim(&job).await.good() }).await;
            let claimed = text(&claimed, "/claim/id");
            let (submit, work) = cost(&app, async { ben.submit(&claimed).await.good() }).await;
            let work = text(&work, "/deliverable/id");
            let (approve, _) = cost(&app, async { ada.approve(&work).await.good() }).await;
            for (least, count) in least.iter_mut().zip([post, claim, submit, approve]) {
                *least = count.min(*least);
            }
        }
        println!("post, claim, submit, approve: {least:?} statements");
        let [post, claim, submit, approve] = least;
        assert!(post <= 15 && claim <= 13 && submit <= 13 && approve <= 20, "{least:?}");
    }
}

async fn isolation(connection: &impl ConnectionTrait, db: &Db) -> String {
    let row = connection.query_one_raw(db.statement("SHOW transaction_isolation", [])).await.expect("an answer");
    row.expect("a row").try_get_by_index(0).expect("a text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_default_isolation_of_the_database_changes_nothing() {
    let app = postgres().await;
    let name = app.app.config.database.url.rsplit('/').next().expect("a name").to_owned();
    app.db_run(&format!("ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")).await;
    let node = app.neighbour().await;
    let db = &node.app.db;
    assert_eq!(isolation(db.writer(), db).await, "read committed");
    assert_eq!(isolation(db.tail(), db).await, "read committed");
    let within = db.transact(|tx| async move { Ok::<_, DbErr>(isolation(&*tx, db).await) }).await.expect("commits");
    assert_eq!(within, "read committed");
    let snapshot = db.snapshot().await.expect("a snapshot");
    assert_eq!(isolation(&snapshot, db).await, "repeatable read");
    snapshot.rollback().await.expect("over");
    node.finish().await;
    app.finish().await;
}
