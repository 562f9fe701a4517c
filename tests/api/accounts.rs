//! Accounts and their sessions: who gets in, for how long, and what puts them out again.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::DateTime;
use futures_util::future::join_all;
use lancewire::{
    auth::passwords::{Password, PasswordSettings, Passwords},
    clock::Clock,
};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use crate::{
    on_both,
    support::{
        app::{Database, TestApp},
        http::Reply,
        people::{Outcome, PASSWORD, Person, text},
    },
};

mod guesses;

const PAIR: &str = "session { accessToken accessTokenExpiresAt refreshToken refreshTokenExpiresAt } user { id }";
const MINUTE: Duration = Duration::from_secs(60);

/// A server whose time stands still until it is moved.
async fn frozen(database: Database, settings: &str) -> (TestApp, Clock) {
    let clock = Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).expect("valid"));
    (TestApp::start_with(database, settings, clock.clone()).await, clock)
}

fn account(email: &str) -> Value {
    json!({ "email": email, "password": PASSWORD, "displayName": "Ada", "roles": ["CLIENT"] })
}

async fn sign_in(app: &TestApp, email: &str, password: &str) -> Outcome {
    app.anonymous().mutate("signIn", json!({ "email": email, "password": password }), PAIR).await
}

async fn refresh(app: &TestApp, token: &str) -> Outcome {
    app.anonymous().mutate("refreshSession", json!({ "refreshToken": token }), PAIR).await
}

async fn viewer(app: &TestApp, token: &str) -> Reply {
    app.http.graphql(Some(token), "{ viewer { id roles } }", json!({})).await
}

/// The answer to a token that opens nothing.
#[track_caller]
fn challenged(reply: &Reply, code: &str) {
    assert_eq!((reply.status.as_u16(), reply.code()), (401, code), "{reply}");
    assert!(reply.body.get("data").is_none(), "{reply}");
    let challenge = reply.headers.get("www-authenticate").expect("a challenge").to_str().expect("a text");
    assert_eq!(challenge, "Bearer error=\"invalid_token\"");
}

on_both! {
    async fn an_account_is_opened_once_for_each_address(app: TestApp) {
        let anonymous = app.anonymous();
        let opened = anonymous.mutate("signUp", account("Ada.L@Example.com"), PAIR).await.good();
        assert_eq!(viewer(&app, &text(&opened, "/session/accessToken")).await.data()["viewer"]["id"], opened["user"]["id"]);
        for again in ["Ada.L@Example.com", "ada.l@EXAMPLE.com", " ada.l@example.com "] {
            let error = anonymous.mutate("signUp", account(again), PAIR).await.refused("EMAIL_TAKEN");
            assert_eq!(error["path"], json!(["input", "email"]), "{again}");
        }
        sign_in(&app, "ADA.L@example.com", PASSWORD).await.good();
        assert_eq!(app.db_number("SELECT COUNT(*) FROM users WHERE email = 'ada.l@example.com'").await, 1);
    }

    async fn a_refresh_token_works_once_and_a_stolen_one_ends_its_family(app: TestApp) {
        let ada = app.freelancer("Ada").await;
        let elsewhere = ada.sign_in_again().await;
        let second = refresh(&app, &ada.refresh_token).await.good();
        assert_eq!(second["user"]["id"], ada.id);
        let third = refresh(&app, &text(&second, "/session/refreshToken")).await.good();
        let newest = text(&third, "/session/accessToken");
        viewer(&app, &newest).await.data();

        // The thief, or the owner after the thief: nobody can tell, so both are put out.
        refresh(&app, &ada.refresh_token).await.refused("INVALID_CREDENTIALS");
        challenged(&viewer(&app, &newest).await, "UNAUTHENTICATED");
        refresh(&app, &text(&third, "/session/refreshToken")).await.refused("INVALID_CREDENTIALS");
        elsewhere.run("{ viewer { id } }", json!({})).await.data();
        refresh(&app, &elsewhere.refresh_token).await.good();

        for nonsense in ["", "x", "é".repeat(43).as_str(), "A".repeat(43).as_str(), newest.as_str()] {
            refresh(&app, nonsense).await.refused("INVALID_CREDENTIALS");
        }
    }

    async fn signing_out_ends_the_session_at_once_and_no_other(app: TestApp) {
        let ada = app.freelancer("Ada").await;
        let elsewhere = ada.sign_in_again().await;
        let sign_out = "mutation { signOut { errors { __typename } } }";
        assert_eq!(ada.run(sign_out, json!({})).await.data()["signOut"]["errors"], json!([]));
        challenged(&ada.run("{ viewer { id } }", json!({})).await, "UNAUTHENTICATED");
        refresh(&app, &ada.refresh_token).await.refused("INVALID_CREDENTIALS");
        elsewhere.run("{ viewer { id } }", json!({})).await.data();
        assert_eq!(app.anonymous().run(sign_out, json!({})).await.code(), "UNAUTHENTICATED");
    }

    async fn a_refresh_token_gives_the_same_successor_for_a_moment(app: TestApp) {
        let ada = app.freelancer("Ada").await;
        let successor = |refreshed: &Value| {
            (text(refreshed, "/session/refreshToken"), text(refreshed, "/session/refreshTokenExpiresAt"))
        };
        // Two tabs, or an answer that was lost.
        let first = refresh(&app, &ada.refresh_token).await.good();
        let again = refresh(&app, &ada.refresh_token).await.good();
        assert_eq!(successor(&first), successor(&again));
        assert_ne!(text(&first, "/session/refreshToken"), ada.refresh_token);
        for refreshed in [&first, &again] {
            viewer(&app, &text(refreshed, "/session/accessToken")).await.data();
        }
        // At the same moment, too.
        let (token, _) = successor(&first);
        let refreshed = futures_util::future::join_all((0..8).map(|_| refresh(&app, &token))).await;
        let mut next: Vec<_> = refreshed.into_iter().map(|refreshed| successor(&refreshed.good())).collect();
        next.dedup();
        assert_eq!(next.len(), 1, "{next:?}");
        let stored = app.db_number("SELECT COUNT(*) FROM refresh_tokens WHERE successor_salt IS NOT NULL").await;
        assert_eq!(stored, 2, "a salt for each that was used a moment ago");
        // Only the last one but one: of the one before, the successor has arrived.
        let access = text(&first, "/session/accessToken");
        viewer(&app, &access).await.data();
        refresh(&app, &ada.refresh_token).await.refused("INVALID_CREDENTIALS");
        challenged(&viewer(&app, &access).await, "UNAUTHENTICATED");
        refresh(&app, &next[0].0).await.refused("INVALID_CREDENTIALS");

        // When the moment is over it was stolen from somebody.
        let bea = ada.sign_in_again().await;
        let first = refresh(&app, &bea.refresh_token).await.good();
        let long_ago = "UPDATE refresh_tokens SET used_at = '2020-01-01T00:00:00.000+00:00' WHERE used_at IS NOT NULL";
        app.app.db.writer().execute_unprepared(long_ago).await.expect("done");
        refresh(&app, &bea.refresh_token).await.refused("INVALID_CREDENTIALS");
        challenged(&viewer(&app, &text(&first, "/session/accessToken")).await, "UNAUTHENTICATED");

        // What was revoked in between stays so.
        let cat = ada.sign_in_again().await;
        let first = refresh(&app, &cat.refresh_token).await.good();
        let sign_out = "mutation { signOut { errors { __typename } } }";
        app.http.graphql(Some(&text(&first, "/session/accessToken")), sign_out, json!({})).await.data();
        for token in [&cat.refresh_token, &successor(&first).0] {
            refresh(&app, token).await.refused("INVALID_CREDENTIALS");
        }
        // A later refresh takes the salts away that have served.
        let dot = ada.sign_in_again().await;
        let first = refresh(&app, &dot.refresh_token).await.good();
        app.app.db.writer().execute_unprepared(long_ago).await.expect("done");
        refresh(&app, &successor(&first).0).await.good();
        let salts = "SELECT COUNT(*) FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id \
                     WHERE s.ended_at IS NULL AND t.successor_salt IS NOT NULL";
        assert_eq!(app.db_number(salts).await, 1);
    }

    async fn who_proves_who_they_are_is_shown_their_own_account_there_and_nowhere_else(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        let job = text(&ada.post_job("Port it").await, "/id");
        let own = "id email roles wallet { available { amount } owner { email } transactions(first: 9) { nodes { type } } } \
                   claims(first: 1) { nodes { id } } notifications(first: 1) { nodes { id } } \
                   postedJobs(first: 1) { nodes { title escrow { amount } viewerCanUpdate } }";
        let sign_in = json!({ "email": ada.email, "password": PASSWORD });
        let mine = ada.run(&format!("{{ viewer {{ {own} }} }}"), json!({})).await.data()["viewer"].clone();
        assert_eq!((&mine["email"], &mine["wallet"]["available"]["amount"]), (&json!(ada.email), &json!("9900.00")));
        assert_eq!(mine["postedJobs"]["nodes"][0]["escrow"]["amount"], "100.00");
        for sender in [&app.anonymous(), &ben, &ada] {
            let signed_in = sender.mutate("signIn", sign_in.clone(), &format!("user {{ {own} }}")).await.good();
            assert_eq!(signed_in["user"], mine);
            let token = ada.sign_in_again().await.refresh_token;
            let token = json!({ "refreshToken": token });
            let refreshed = sender.mutate("refreshSession", token, &format!("user {{ {own} }}")).await.good();
            assert_eq!(refreshed["user"], mine);
            let email = format!("new-{}@example.com", crate::support::people::fresh_key());
            let signed_up = sender.mutate("signUp", account(&email), &format!("user {{ {own} }}")).await.good();
            assert_eq!((&signed_up["user"]["email"], &signed_up["user"]["wallet"]["available"]["amount"]),
                       (&json!(email), &json!("0.00")));
        }
        let changed = ada.mutate("updateProfile", json!({}), &format!("viewer {{ {own} }}")).await.good();
        assert_eq!(changed["viewer"], mine);
        let admin = app.admin().await;
        let input = json!({ "email": admin.email, "password": PASSWORD });
        let signed_in = app.anonymous().mutate("signIn", input, "user { roles }").await.good();
        assert_eq!(signed_in["user"]["roles"], json!(["ADMIN"]));

        // All other fields of the same request belong to the sender.
        let query = "mutation($in: SignInInput!, $claim: ClaimJobInput!, $profile: UpdateProfileInput!) { \
                     before: updateProfile(input: $profile) { viewer { id email } } \
                     signIn(input: $in) { user { email } errors { __typename } } \
                     claimJob(input: $claim) { job { client { email wallet { id } postedJobs(first: 1) { nodes { id } } } escrow { amount } \
                       viewerClaim { id } } claim { freelancer { id email } } } \
                     after: updateProfile(input: $profile) { viewer { id email } } }";
        let claim = json!({ "jobId": job, "idempotencyKey": crate::support::people::fresh_key() });
        let variables = json!({ "in": sign_in, "claim": claim, "profile": {} });
        let reply = ben.run(query, variables.clone()).await;
        let data = reply.data();
        assert_eq!(data["signIn"]["user"]["email"], json!(ada.email));
        assert_eq!(data["claimJob"]["job"]["client"], json!({ "email": null, "wallet": null, "postedJobs": null }));
        assert_eq!(data["claimJob"]["claim"]["freelancer"], json!({ "id": ben.id, "email": ben.email }));
        for place in ["before", "after"] {
            assert_eq!(data[place]["viewer"], json!({ "id": ben.id, "email": ben.email }), "{place}");
        }
        let nobody = app.anonymous().run(query, variables).await;
        assert_eq!(nobody.at("/data/signIn/user/email"), &json!(ada.email));
        for field in ["before", "claimJob", "after"] {
            assert_eq!(nobody.at(&format!("/data/{field}")), &Value::Null, "{nobody}");
        }
        // And an attempt that fails shows nothing.
        let wrong = json!({ "in": { "email": ada.email, "password": "a wrong password" }, "claim": claim, "profile": {} });
        let reply = ben.run(query, wrong).await;
        assert_eq!(reply.data()["signIn"]["user"], Value::Null);
        assert!(!reply.body.to_string().contains(&ada.email), "{reply}");
    }

    async fn a_new_password_ends_every_session_but_the_one_it_was_changed_from(app: TestApp) {
        let ada = app.freelancer("Ada").await;
        let elsewhere = ada.sign_in_again().await;
        let change = async |current: &str, new: &str| {
            let input = json!({ "currentPassword": current, "newPassword": new });
            ada.mutate("changePassword", input, "session { accessToken refreshToken } viewer { id email }").await
        };
        let error = change("not my password", "another long secret").await.refused("INVALID_CREDENTIALS");
        assert_eq!(error["path"], json!(["input", "currentPassword"]));
        let error = change(PASSWORD, "short").await.refused("INVALID");
        assert_eq!(error["path"], json!(["input", "newPassword"]));
        elsewhere.run("{ viewer { id } }", json!({})).await.data();

        let changed = change(PASSWORD, "another long secret").await.good();
        assert_eq!(changed["viewer"], json!({ "id": ada.id, "email": ada.email }));
        challenged(&elsewhere.run("{ viewer { id } }", json!({})).await, "UNAUTHENTICATED");
        refresh(&app, &elsewhere.refresh_token).await.refused("INVALID_CREDENTIALS");
        // The session goes on with what it had, and with what it got.
        ada.run("{ viewer { id } }", json!({})).await.data();
        refresh(&app, &ada.refresh_token).await.good();
        assert_eq!(viewer(&app, &text(&changed, "/session/accessToken")).await.data()["viewer"]["id"], ada.id);
        refresh(&app, &text(&changed, "/session/refreshToken")).await.good();
        sign_in(&app, &ada.email, PASSWORD).await.refused("INVALID_CREDENTIALS");
        sign_in(&app, &ada.email, "another long secret").await.good();
    }

    async fn one_mailbox_has_one_account_however_it_is_spelled(app: TestApp) {
        let sign_up = async |email: &str| app.anonymous().mutate("signUp", account(email), PAIR).await;
        for (first, others) in [
            ("mailbox@example.com", &[" MailBox@EXAMPLE.com ", "mailbox@ｅｘａｍｐｌｅ.ｃｏｍ", "ｍａｉｌｂｏｘ＠example。com", "mailbox@exam\u{AD}ple.com"][..]),
            ("jose\u{301}@bücher.example", &["JOSÉ@BÜCHER.example", "josé@xn--bcher-kva.example", "josé@bu\u{308}cher.example"]),
            ("x@xn--e1afmkfd.xn--p1ai", &["X@Пример.рф"]),
        ] {
            sign_up(first).await.good();
            for other in others {
                sign_up(other).await.refused("EMAIL_TAKEN");
                sign_in(&app, other, PASSWORD).await.good();
            }
        }
        // What mail systems may keep apart is kept apart.
        for other in ["mailbox+tag@example.com", "mail.box@example.com", "mailbox@example.org"] {
            sign_up(other).await.good();
        }
        assert_eq!(app.db_number("SELECT COUNT(*) FROM users WHERE email = 'josé@bücher.example'").await, 1);
        let shown = app.app.services.accounts.create_admin("MAILBOX@ｅxample.com", PASSWORD, "Admin").await;
        assert!(shown.is_err(), "not on the command line either");
    }

    async fn accounts_from_before_keep_their_owners(app: TestApp) {
        let (ada, ben, eve) = (app.freelancer("Ada").await, app.freelancer("Ben").await, app.freelancer("Eve").await);
        let (zoe, dan) = (app.freelancer("Zoe").await, app.freelancer("Dan").await);
        let kept = async |person: &Person, email: &str| {
            let sql = format!("UPDATE users SET email = '{email}' WHERE email = '{}'", person.email);
            app.db_run(&sql).await;
        };
        // As they were kept in NFC and lower case alone.
        kept(&ada, "ａda@xn--bcher-kva.example").await;
        kept(&ben, "ben@@example.com").await;
        kept(&eve, "zoe@ｅxample.com").await;
        kept(&zoe, "zoe@example.com").await;
        kept(&dan, "dan@пример.рф").await;
        let owner = async |spelling: &str| text(&sign_in(&app, spelling, PASSWORD).await.good(), "/user/id");
        assert_eq!(owner("ben@@example.com").await, ben.id, "no address, and still the name of an account");
        assert_eq!(owner("Zoe@ｅxample.com").await, eve.id, "the spelling itself comes first");
        assert_eq!(owner("zoe@example.com").await, zoe.id);
        assert_eq!(owner("dan@xn--e1afmkfd.xn--p1ai").await, dan.id);

        // The step is one of data: it can be run again.
        app.db_run("DELETE FROM seaql_migrations WHERE version = 'm20261127_000002_mailboxes'").await;
        app.db_migrate().await;
        for spelling in ["ada@bücher.example", "ａda@xn--bcher-kva.example", "ADA@Bücher.example"] {
            assert_eq!(owner(spelling).await, ada.id, "{spelling}");
        }
        app.anonymous().mutate("signUp", account("ada@bücher.example"), PAIR).await.refused("EMAIL_TAKEN");
        assert_eq!(owner("ben@@example.com").await, ben.id);
        assert_eq!(owner("zoe@ｅxample.com").await, eve.id, "whose mailbox has an account keeps the old spelling");
        assert_eq!(owner("dan@пример.рф").await, dan.id);
    }

    async fn a_profile_changes_where_it_is_said_to(app: TestApp) {
        let ada = app.freelancer("Ada").await;
        let update = async |input: Value| {
            ada.mutate("updateProfile", input, "viewer { displayName avatarUrl skills { slug } }").await
        };
        let all = json!({ "displayName": "Ada L.", "avatarUrl": "https://example.com/a.png", "skills": ["rust", "react", "rust"] });
        let expected = json!({
            "displayName": "Ada L.", "avatarUrl": "https://example.com/a.png",
            "skills": [{ "slug": "react" }, { "slug": "rust" }],
        });
        assert_eq!(update(all).await.good()["viewer"], expected);
        assert_eq!(update(json!({})).await.good()["viewer"], expected, "what is left out stays");
        let cleared = update(json!({ "avatarUrl": null, "skills": [] })).await.good();
        assert_eq!(cleared["viewer"], json!({ "displayName": "Ada L.", "avatarUrl": null, "skills": [] }));
        for (input, path) in [
            (json!({ "displayName": null }), json!(["input", "displayName"])),
            (json!({ "displayName": " " }), json!(["input", "displayName"])),
            (json!({ "displayName": "x".repeat(81) }), json!(["input", "displayName"])),
            (json!({ "displayName": "Ada\u{202e}" }), json!(["input", "displayName"])),
            (json!({ "avatarUrl": "http://example.com/a.png" }), json!(["input", "avatarUrl"])),
            (json!({ "avatarUrl": "javascript:alert(1)" }), json!(["input", "avatarUrl"])),
            (json!({ "skills": null }), json!(["input", "skills"])),
            (json!({ "skills": ["rust", "alchemy"] }), json!(["input", "skills", "1"])),
        ] {
            assert_eq!(update(input.clone()).await.refused("INVALID")["path"], path, "{input}");
        }
        let after = ada.run("{ viewer { displayName avatarUrl skills { slug } } }", json!({})).await;
        assert_eq!(after.data()["viewer"], cleared["viewer"], "a refused change changes nothing");
    }

    async fn rights_count_from_the_next_request(app: TestApp) {
        let (admin, ada) = (app.admin().await, app.freelancer("Ada").await);
        let set = async |by: &Person, user: &str, roles: &[&str]| {
            by.mutate("setUserRoles", json!({ "userId": user, "roles": roles }), "user { roles }").await
        };
        let draft = crate::support::people::new_job("A draft", "1.00");
        assert_eq!(ada.draft(draft.clone()).await.code(), "FORBIDDEN");
        set(&admin, &ada.id, &["CLIENT"]).await.good();
        ada.draft(draft).await.good();
        assert_eq!(ada.claim("job_01j9zt5e9qf6sbf0yxv6xg5k8m").await.code(), "FORBIDDEN", "no freelancer any more");
        set(&admin, &ada.id, &["ADMIN"]).await.good();
        ada.run("{ transactions(first: 1) { nodes { id } } }", json!({})).await.data();
        set(&admin, &ada.id, &[]).await.good();
        assert_eq!(ada.run("{ transactions(first: 1) { nodes { id } } }", json!({})).await.code(), "FORBIDDEN");

        assert_eq!(set(&ada, &ada.id, &["ADMIN"]).await.code(), "FORBIDDEN");
        assert_eq!(set(&app.anonymous(), &ada.id, &["ADMIN"]).await.code(), "UNAUTHENTICATED");
        set(&admin, &admin.id, &["CLIENT"]).await.refused("INVALID");
        set(&admin, "user_01j9zt5e9qf6sbf0yxv6xg5k8m", &["CLIENT"]).await.refused("NOT_FOUND");
        set(&admin, "ada", &["CLIENT"]).await.refused("NOT_FOUND");
        assert_eq!(app.db_number("SELECT COUNT(*) FROM admin_actions").await, 3, "each deed is noted, no attempt is");
    }

    async fn who_is_suspended_is_out_and_may_come_back(app: TestApp) {
        let (admin, ada) = (app.admin().await, app.freelancer("Ada").await);
        let set = async |user: &str, suspended: bool| {
            let input = json!({ "userId": user, "suspended": suspended, "reason": "Fraud." });
            admin.mutate("setUserSuspended", input, "user { id }").await
        };
        set(&ada.id, true).await.good();
        challenged(&ada.run("{ viewer { id } }", json!({})).await, "UNAUTHENTICATED");
        refresh(&app, &ada.refresh_token).await.refused("INVALID_CREDENTIALS");
        sign_in(&app, &ada.email, PASSWORD).await.refused("INVALID_CREDENTIALS");
        set(&ada.id, false).await.good();
        challenged(&ada.run("{ viewer { id } }", json!({})).await, "UNAUTHENTICATED");
        ada.sign_in_again().await.run("{ viewer { id } }", json!({})).await.data();
        set(&admin.id, true).await.refused("INVALID");
        set("user_01j9zt5e9qf6sbf0yxv6xg5k8m", true).await.refused("NOT_FOUND");
    }
}

on_both! {
    with "[auth]\npassword_iterations = 2\nfree_attempts_per_account = 1000\nfree_attempts_per_address = 1000\n";

    async fn no_session_of_an_old_password_outlives_its_change(app: TestApp) {
        let mut ada = app.freelancer("Ada").await;
        let (mut old, mut new) = (PASSWORD.to_owned(), "another good passphrase".to_owned());
        for round in 0..12 {
            let change = async {
                let input = json!({ "currentPassword": old, "newPassword": new });
                ada.mutate("changePassword", input, "session { accessToken }").await.good()
            };
            let (changed, sessions) = tokio::join!(change, join_all((0..6).map(|_| sign_in(&app, &ada.email, &old))));
            for session in sessions.into_iter().filter(Outcome::is_good) {
                let token = text(&session.good(), "/session/accessToken");
                challenged(&viewer(&app, &token).await, "UNAUTHENTICATED");
            }
            let token = text(&changed, "/session/accessToken");
            viewer(&app, &token).await.data();
            ada.token = Some(token.into());
            sign_in(&app, &ada.email, &old).await.refused("INVALID_CREDENTIALS");
            sign_in(&app, &ada.email, &new).await.good();
            std::mem::swap(&mut old, &mut new);
            assert_ne!(old, new, "round {round}");
        }
    }

    async fn sign_ins_at_the_same_time_may_all_bring_a_stronger_hash(app: TestApp) {
        let feeble = PasswordSettings { memory_kib: 8, iterations: 1, lanes: 1, parallel: 1 };
        let password = Password::parse(PASSWORD).expect("a good one");
        let ada = app.freelancer("Ada").await;
        for _ in 0..5 {
            let passwords = Passwords::new(&feeble, app.app.db.ids().clone()).expect("parameters");
            let hash = passwords.hash(&password).await.expect("a hash");
            app.db_run(&format!("UPDATE users SET password_hash = '{hash}' WHERE email = '{}'", ada.email)).await;
            for session in join_all((0..6).map(|_| sign_in(&app, &ada.email, PASSWORD))).await {
                session.good();
            }
        }
    }

    async fn two_admins_cannot_leave_the_house_without_one(app: TestApp) {
        let first = app.admin().await;
        for round in 0..10 {
            let other = app.freelancer(&format!("Root{round}")).await;
            let set = async |by: &Person, user: &Person, roles: &[&str]| {
                by.mutate("setUserRoles", json!({ "userId": user.id, "roles": roles }), "user { id }").await
            };
            set(&first, &other, &["ADMIN"]).await.good();
            let other = other.sign_in_again().await;
            let first = first.sign_in_again().await;
            let (one, two) = tokio::join!(set(&first, &other, &[]), set(&other, &first, &[]));
            assert!(!(one.is_good() && two.is_good()), "round {round}: both went");
            let admins = app.db_number("SELECT COUNT(*) FROM users WHERE is_admin").await;
            assert!(admins > 0, "round {round}: nobody is left");
            if two.is_good() {
                set(&other, &first, &["ADMIN"]).await.good();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_moment_counts_from_the_first_use() {
    let (app, clock) = frozen(Database::Sqlite, "").await;
    let ada = app.freelancer("Ada").await;
    let first = refresh(&app, &ada.refresh_token).await.good();
    for _ in 0..3 {
        clock.advance(Duration::from_secs(3));
        let again = refresh(&app, &ada.refresh_token).await.good();
        assert_eq!(again["session"]["refreshToken"], first["session"]["refreshToken"]);
    }
    clock.advance(Duration::from_secs(1));
    refresh(&app, &ada.refresh_token).await.refused("INVALID_CREDENTIALS");
    refresh(&app, &text(&first, "/session/refreshToken")).await.refused("INVALID_CREDENTIALS");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_give_the_same_successor() {
    let app = TestApp::start(Database::Postgres).await;
    let neighbour = app.neighbour().await;
    let mut token = app.freelancer("Ada").await.refresh_token;
    for round in 0..6 {
        let (one, two) = tokio::join!(refresh(&app, &token), refresh(&neighbour, &token));
        let tokens = [one.good(), two.good()].map(|refreshed| text(&refreshed, "/session/refreshToken"));
        assert_eq!(tokens[0], tokens[1], "round {round}");
        token.clone_from(&tokens[0]);
    }
    neighbour.finish().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_an_account_is_told_where() {
    let app = TestApp::start(Database::Sqlite).await;
    let anonymous = app.anonymous();
    let with = |change: Value| {
        let mut input = account("grace.hopper@example.com");
        input.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        input
    };
    for (change, field) in [
        (json!({ "email": "nobody" }), "email"),
        (json!({ "email": "a b@example.com" }), "email"),
        (json!({ "email": format!("{}@example.com", "x".repeat(300)) }), "email"),
        (json!({ "password": "nine char" }), "password"),
        (json!({ "password": "1234567890" }), "password"),
        (json!({ "password": "Password123" }), "password"),
        (json!({ "password": "my-GRACE.hopper-secret" }), "password"),
        (json!({ "password": "a".repeat(129) }), "password"),
        (json!({ "password": "with\u{7}a bell inside" }), "password"),
        (json!({ "displayName": "" }), "displayName"),
        (json!({ "roles": [] }), "roles"),
    ] {
        let error = anonymous.mutate("signUp", with(change.clone()), PAIR).await.refused("INVALID");
        assert_eq!(error["path"], json!(["input", field]), "{change}");
        assert!(!error["message"].as_str().expect("a text").is_empty());
    }
    for roles in [json!(["ADMIN"]), json!(["CLIENT", "ADMIN"])] {
        let outcome = anonymous.mutate("signUp", with(json!({ "roles": roles })), PAIR).await;
        assert_eq!(outcome.code(), "BAD_USER_INPUT", "{}", outcome.reply);
    }
    assert_eq!(app.db_number("SELECT COUNT(*) FROM users").await, 0);
    anonymous.mutate("signUp", with(json!({})), PAIR).await.good();
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_does_not_learn_who_has_an_account() {
    let app = TestApp::start(Database::Sqlite).await;
    let (admin, ada, ben) = (app.admin().await, app.freelancer("Ada").await, app.freelancer("Ben").await);
    let input = json!({ "userId": ben.id, "suspended": true, "reason": "Fraud." });
    admin.mutate("setUserSuspended", input, "user { id }").await.good();
    let refusals = [
        sign_in(&app, "nobody@example.com", PASSWORD).await,
        sign_in(&app, "no address at all", PASSWORD).await,
        sign_in(&app, &ada.email, "a wrong password").await,
        sign_in(&app, &ada.email, "").await,
        sign_in(&app, &ada.email, &"x".repeat(10_000)).await,
        sign_in(&app, &ben.email, PASSWORD).await,
        sign_in(&app, &ben.email, "a wrong password").await,
    ];
    for refusal in &refusals {
        assert_eq!(refusal.reply.body, refusals[0].reply.body);
        assert_eq!(refusal.reply.status, refusals[0].reply.status);
    }
    assert_eq!(refusals[0].code(), "INVALID_CREDENTIALS");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_end_when_they_say_so() {
    let (app, clock) = frozen(Database::Sqlite, "").await;
    let ada = app.freelancer("Ada").await;
    let session = sign_in(&app, &ada.email, PASSWORD).await.good()["session"].clone();
    let (access, first) = (text(&session, "/accessToken"), text(&session, "/refreshToken"));
    assert_eq!(session["accessTokenExpiresAt"], "2027-01-15T08:15:00.000Z", "in a quarter of an hour");
    assert_eq!(session["refreshTokenExpiresAt"], "2027-02-14T08:00:00.000Z", "in thirty days");

    clock.advance(15 * MINUTE - Duration::from_millis(1));
    viewer(&app, &access).await.data();
    clock.advance(Duration::from_millis(1));
    challenged(&viewer(&app, &access).await, "TOKEN_EXPIRED");
    let second = refresh(&app, &first).await.good();
    viewer(&app, &text(&second, "/session/accessToken")).await.data();

    clock.advance(30 * 24 * 60 * MINUTE);
    refresh(&app, &text(&second, "/session/refreshToken")).await.refused("INVALID_CREDENTIALS");
    challenged(&viewer(&app, &text(&second, "/session/accessToken")).await, "TOKEN_EXPIRED");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_not_ours_is_never_taken_for_nobody() {
    let app = TestApp::start(Database::Sqlite).await;
    let other = TestApp::start(Database::Sqlite).await;
    let (ada, stranger) = (app.freelancer("Ada").await, other.freelancer("Ada").await);
    let token = ada.token.as_deref().expect("a token");
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>().try_into().expect("three parts");
    let none = BASE64_URL_SAFE_NO_PAD.encode(r#"{"typ":"at+jwt","alg":"none"}"#);
    let foreign = stranger.token.as_deref().expect("a token").to_owned();
    for forged in [
        format!("{none}.{claims}."),
        format!("{header}.{claims}.{}", signature.chars().rev().collect::<String>()),
        format!("{header}.{claims}"),
        foreign,
        ada.refresh_token.clone(),
        "x".repeat(5_000),
    ] {
        challenged(&viewer(&app, &forged).await, "UNAUTHENTICATED");
    }
    let basic =
        app.http.request(reqwest::Method::GET, "/graphql?query={viewer{id}}").header("authorization", "Basic eA==");
    challenged(&Reply::of(basic).await, "UNAUTHENTICATED");
    viewer(&app, token).await.data();
    app.finish().await;
    other.finish().await;
}
