//! How deposits and withdrawals end: each of PENDING, POSTED, VOIDED and FAILED against each outcome of
//! `confirmTransaction`, with all four parts of the wallet.

use std::time::Duration;

use chrono::TimeDelta;
use lancewire::clock::{Clock, Timestamp};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use crate::{
    on_both,
    support::{
        app::{Database, TestApp},
        footprint::footprint,
        people::{Person, fresh_key, money, text},
    },
};

/// The outcomes, and the status that each leads to.
const OUTCOMES: [(&str, &str); 3] = [("POST", "POSTED"), ("VOID", "VOIDED"), ("FAIL", "FAILED")];

/// Available, in escrow, pending in and pending out while 30.00 wait, and after each of the outcomes; of 100.00.
struct Course {
    mutation: &'static str,
    kind: &'static str,
    amount: &'static str,
    waiting: [&'static str; 4],
    ended: [[&'static str; 4]; 3],
}

const UNMOVED: [&str; 4] = ["100.00", "0.00", "0.00", "0.00"];
const COURSES: [Course; 2] = [
    Course {
        mutation: "deposit",
        kind: "DEPOSIT",
        amount: "30.00",
        waiting: ["100.00", "0.00", "30.00", "0.00"],
        ended: [["130.00", "0.00", "0.00", "0.00"], UNMOVED, UNMOVED],
    },
    Course {
        mutation: "withdraw",
        kind: "WITHDRAWAL",
        amount: "-30.00",
        waiting: ["70.00", "0.00", "0.00", "30.00"],
        ended: [["70.00", "0.00", "0.00", "0.00"], UNMOVED, UNMOVED],
    },
];

const TRANSACTION: &str =
    "id version type status amount { amount } availableAfter { amount } settledAt reverses { id } job { id }";

/// Begins a deposit or a withdrawal of 30.00.
async fn begin(ben: &Person, mutation: &str) -> Value {
    let mut input = json!({ "amount": money("30.00"), "idempotencyKey": fresh_key() });
    if mutation == "withdraw" {
        input["destination"] = "DE02 1203".into();
    }
    ben.mutate(mutation, input, &format!("transaction {{ {TRANSACTION} }} wallet {{ version }}")).await.good()
}

async fn transaction(ben: &Person, id: &str) -> Value {
    let query = format!("query($id: ID!) {{ node(id: $id) {{ ... on Transaction {{ {TRANSACTION} }} }} }}");
    ben.run(&query, json!({ "id": id })).await.data()["node"].clone()
}

async fn wallet_version(ben: &Person) -> i64 {
    ben.run("{ wallet { version } }", json!({})).await.data()["wallet"]["version"].as_i64().expect("a version")
}

/// The wallet's events so far.
async fn events(app: &TestApp) -> i64 {
    app.db_number("SELECT COUNT(*) FROM events WHERE kind = 'WALLET_UPDATED'").await
}

on_both! {
    async fn a_pending_transaction_ends_once_and_for_all(app: TestApp) {
        let admin = app.admin().await;
        for course in COURSES {
            for (place, (outcome, status)) in OUTCOMES.into_iter().enumerate() {
                let context = format!("{} {outcome}", course.mutation);
                let ben = app.freelancer("Ben").await.funded("100.00").await;
                let (version, recorded) = (wallet_version(&ben).await, events(&app).await);

                let begun = begin(&ben, course.mutation).await;
                let id = text(&begun, "/transaction/id");
                assert_eq!(begun["transaction"]["type"], course.kind, "{context}");
                assert_eq!(begun["transaction"]["status"], "PENDING", "{context}");
                assert_eq!(begun["transaction"]["version"], 1, "{context}");
                assert_eq!(begun["transaction"]["amount"]["amount"], course.amount, "{context}");
                assert_eq!(begun["transaction"]["availableAfter"]["amount"], course.waiting[0], "{context}");
                assert_eq!(begun["transaction"]["settledAt"], Value::Null, "{context}");
                assert_eq!(begun["wallet"]["version"], version + 1, "{context}");
                assert_eq!(ben.balance().await, course.waiting, "{context}");
                assert_eq!(events(&app).await, recorded + 1, "{context}");

                admin.confirm(&id, outcome).await.good();
                let settled = transaction(&ben, &id).await;
                assert_eq!((&settled["status"], &settled["version"]), (&json!(status), &json!(2)), "{context}");
                assert_eq!(settled["amount"]["amount"], course.amount, "{context}: what was asked for stays on record");
                assert_eq!(settled["availableAfter"]["amount"], course.ended[place][0], "{context}");
                assert!(settled["settledAt"].is_string(), "{context}");
                assert_eq!(ben.balance().await, course.ended[place], "{context}");
                assert_eq!(wallet_version(&ben).await, version + 2, "{context}");
                assert_eq!(events(&app).await, recorded + 2, "{context}");

                let before = footprint(&app).await;
                for (again, _) in OUTCOMES {
                    let fields = format!("errors {{ ... on TransactionNotPendingError {{ transaction {{ {TRANSACTION} }} }} }}");
                    let input = json!({ "transactionId": id, "outcome": again, "idempotencyKey": fresh_key() });
                    let refused = admin.mutate("confirmTransaction", input, &fields).await;
                    let error = refused.refused("TRANSACTION_NOT_PENDING");
                    assert_eq!(error["__typename"], "TransactionNotPendingError", "{context}, then {again}");
                    assert_eq!(error["path"], json!(["input", "transactionId"]), "{context}, then {again}");
                    assert_eq!(error["transaction"], settled, "{context}, then {again}: it carries it as it is");
                    assert_eq!(footprint(&app).await, before, "{context}, then {again}");
                }
            }
        }
    }

    async fn what_was_born_posted_cannot_be_confirmed(app: TestApp) {
        let (ada, admin) = (app.client("Ada").await, app.admin().await);
        ada.post_job("Escrowed").await;
        let reply = ada.run("{ wallet { transactions(type: [ESCROW_HOLD]) { nodes { id status } } } }", json!({})).await;
        let hold = reply.at("/data/wallet/transactions/nodes/0");
        assert_eq!(hold["status"], "POSTED");
        let before = footprint(&app).await;
        for (outcome, _) in OUTCOMES {
            admin.confirm(hold["id"].as_str().expect("an id"), outcome).await.refused("TRANSACTION_NOT_PENDING");
        }
        assert_eq!(footprint(&app).await, before);
    }

    async fn confirming_is_the_admins_and_posts_unless_told_otherwise(app: TestApp) {
        let (ben, admin) = (app.freelancer("Ben").await, app.admin().await);
        let id = text(&begin(&ben, "deposit").await, "/transaction/id");
        let before = footprint(&app).await;
        assert_eq!(ben.confirm(&id, "POST").await.code(), "FORBIDDEN");
        assert_eq!(app.anonymous().confirm(&id, "POST").await.code(), "UNAUTHENTICATED");
        assert_eq!(footprint(&app).await, before);
        let input = json!({ "transactionId": id, "idempotencyKey": fresh_key() });
        let confirmed = admin.mutate("confirmTransaction", input, "transaction { status }").await.good();
        assert_eq!(confirmed["transaction"]["status"], "POSTED");
        assert_eq!(ben.balance().await, ["30.00", "0.00", "0.00", "0.00"]);
        let audited = "SELECT COUNT(*) FROM admin_actions WHERE action = 'confirmTransaction'";
        assert_eq!(app.db_number(audited).await, 1);
    }

    async fn nobody_settles_what_they_asked_for(app: TestApp) {
        let (both, admin) = (app.client("Both").await, app.admin().await);
        let id = text(both.run("{ viewer { id } }", json!({})).await.data(), "/viewer/id");
        let roles = json!({ "userId": id, "roles": ["CLIENT", "ADMIN"] });
        admin.mutate("setUserRoles", roles, "user { id }").await.good();
        let own = [begin(&both, "deposit").await, begin(&both, "withdraw").await].map(|begun| text(&begun, "/transaction/id"));
        let before = footprint(&app).await;
        for id in &own {
            for (outcome, _) in OUTCOMES {
                both.confirm(id, outcome).await.refused("OWN_TRANSACTION");
            }
        }
        assert_eq!(footprint(&app).await, before);
        for id in &own {
            admin.confirm(id, "POST").await.good();
            both.confirm(id, "POST").await.refused("OWN_TRANSACTION");
        }
    }

    async fn pending_money_cannot_be_spent(app: TestApp) {
        let ben = app.freelancer("Ben").await.funded("100.00").await;
        begin(&ben, "deposit").await;
        let withdrawal = text(&begin(&ben, "withdraw").await, "/transaction/id");
        ben.withdraw("70.01").await.refused("INSUFFICIENT_FUNDS");
        app.admin().await.confirm(&withdrawal, "FAIL").await.good();
        ben.withdraw("100.00").await.good();
        assert_eq!(ben.balance().await, ["0.00", "0.00", "30.00", "100.00"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sandbox_settles_what_is_due_and_is_held_up_by_nobody() {
    const DELAY: Duration = Duration::from_mins(1);
    let clock = Clock::manual(Clock::system().now());
    let sandbox = "[payments]\nprovider = 'sandbox'\nsandbox_delay_ms = 60000\n";
    let app = TestApp::start_with(Database::Sqlite, sandbox, clock.clone()).await;
    let back_door = async |sql: &str| app.app.db.writer().execute_unprepared(sql).await.expect("runs");
    back_door(
        "CREATE TRIGGER stuck BEFORE UPDATE ON transactions WHEN OLD.amount_minor = 1000 \
         BEGIN SELECT RAISE(ABORT, 'stuck'); END",
    )
    .await;
    let (ada, ben) = (app.freelancer("Ada").await, app.freelancer("Ben").await);
    let sockets = [ada.socket().await, ben.socket().await];
    let wallets = sockets.each_ref().map(|socket| {
        socket.subscribe("subscription { walletUpdated { transaction { id status settledAt } } }", json!({}))
    });
    app.listening(2).await;
    ada.deposit("10.00").await.good();
    ben.deposit("20.00").await.good();
    let begun_at = clock.now();
    for (socket, wallet) in sockets.iter().zip(&wallets) {
        assert_eq!(socket.next(wallet).await["data"]["walletUpdated"]["transaction"]["status"], "PENDING");
    }

    clock.advance(DELAY);
    let settled = async |person: usize| {
        let event = sockets[person].next(&wallets[person]).await["data"]["walletUpdated"]["transaction"].clone();
        assert_eq!(event["status"], "POSTED");
        text(&event, "/settledAt").parse::<Timestamp>().expect("a time")
    };
    assert_eq!(settled(1).await, begun_at + DELAY);
    assert_eq!(ada.balance().await, ["0.00", "0.00", "10.00", "0.00"]);

    back_door("DROP TRIGGER stuck").await;
    clock.advance(Duration::from_millis(100));
    assert_eq!(settled(0).await - begun_at, TimeDelta::milliseconds(60_100));
    assert_eq!(ada.balance().await, ["10.00", "0.00", "0.00", "0.00"]);
    for socket in sockets {
        socket.close().await;
    }
    app.finish().await;
}
