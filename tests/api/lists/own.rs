//! Lists of one's own: posted jobs with drafts, claims, the history of a wallet, the inbox; and the skills.

use serde_json::{Value, json};

use super::{PARTS, walk};
use crate::{
    on_both,
    support::people::{Person, money, new_job, text},
};

/// The list's query with its paging variables.
fn paged(list: &str) -> String {
    let paging = "first: $first, after: $after, last: $last, before: $before";
    let list = list.replace("PAGING", paging).replace("PARTS", PARTS);
    format!("query($first: Int, $after: String, $last: Int, $before: String) {{ {list} }}")
}

/// A whole list, read in threes both ways.
async fn all(who: &Person, list: &str, place: &str) -> Vec<String> {
    walk(who, &paged(list), place, &json!({}), 3).await
}

fn newest_first<'a>(ids: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let mut ids: Vec<_> = ids.into_iter().cloned().collect();
    ids.sort();
    ids.reverse();
    ids
}

async fn notifications(who: &Person, unread_only: bool) -> (Vec<String>, Value) {
    let ids = all(
        who,
        &format!("viewer {{ notifications(unreadOnly: {unread_only}, PAGING) {{ PARTS }} }}"),
        "/viewer/notifications",
    )
    .await;
    let reply = who.run("{ viewer { notifications(first: 1) { unreadCount } } }", json!({})).await;
    (ids, reply.at("/data/viewer/notifications/unreadCount").clone())
}

async fn mark_read(who: &Person, up_to: &str) -> crate::support::people::Outcome {
    let fields = "viewer { id notifications { unreadCount nodes { id readAt } } }";
    who.mutate("markNotificationsRead", json!({ "upToId": up_to }), fields).await
}

on_both! {
    async fn posted_jobs_hold_drafts_and_are_their_authors(app: TestApp) {
        let (ada, bob) = (app.client("Ada").await, app.client("Bob").await);
        let (mut drafts, mut open, mut cancelled) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..5 {
            drafts.push(text(&ada.draft(new_job(&format!("Draft {number}"), "10.00")).await.good(), "/job/id"));
            open.push(text(&ada.post_job(&format!("Open {number}")).await, "/id"));
            bob.post_job("Not Ada's").await;
        }
        for job in [open.remove(0), drafts.remove(0)] {
            ada.cancel(&job).await.good();
            cancelled.push(job);
        }
        for (arguments, expected) in [
            ("", newest_first(drafts.iter().chain(&open).chain(&cancelled))),
            ("status: [DRAFT],", newest_first(&drafts)),
            ("status: [OPEN, CANCELLED],", newest_first(open.iter().chain(&cancelled))),
            ("status: [COMPLETED],", vec![]),
        ] {
            let list = format!("viewer {{ postedJobs({arguments} PAGING) {{ PARTS }} }}");
            assert_eq!(all(&ada, &list, "/viewer/postedJobs").await, expected, "{arguments}");
            let count = ada.run(&format!("{{ viewer {{ postedJobs({arguments} first: 1) {{ totalCount }} }} }}"), json!({})).await;
            assert_eq!(count.at("/data/viewer/postedJobs/totalCount"), expected.len(), "{arguments}");
        }
        let of_ada = "query($id: ID!) { node(id: $id) { ... on User { postedJobs(first: 3) { totalCount } } } }";
        let seen = |reply: crate::support::http::Reply| reply.at("/data/node/postedJobs").clone();
        assert_eq!(seen(bob.run(of_ada, json!({ "id": ada.id })).await), Value::Null);
        assert_eq!(seen(app.admin().await.run(of_ada, json!({ "id": ada.id })).await), json!({ "totalCount": 10 }));
    }

    async fn claims_are_ones_own_or_those_on_ones_own_job(app: TestApp) {
        let ada = app.client("Ada").await;
        let (ben, cem) = (app.freelancer("Ben").await, app.freelancer("Cem").await);
        let (mut active, mut released) = (Vec::new(), Vec::new());
        let contested = text(&ada.post_job("Contested").await, "/id");
        for who in [&ben, &cem, &ben] {
            let claim = text(&who.claim(&contested).await.good(), "/claim/id");
            who.release(&claim).await.good();
            released.push((who.id.clone(), claim));
        }
        for number in 0..4 {
            let job = text(&ada.post_job(&format!("Job {number}")).await, "/id");
            active.push((ben.id.clone(), text(&ben.claim(&job).await.good(), "/claim/id")));
        }
        active.push((cem.id.clone(), text(&cem.claim(&contested).await.good(), "/claim/id")));
        let of = |who: &Person, claims: &[(String, String)]| {
            newest_first(claims.iter().filter(|(freelancer, _)| *freelancer == who.id).map(|(_, claim)| claim))
        };
        for who in [&ben, &cem, &ada] {
            let (active, released) = (of(who, &active), of(who, &released));
            let both = newest_first(active.iter().chain(&released));
            for (arguments, expected) in [("", both), ("status: [ACTIVE],", active), ("status: [RELEASED, EXPIRED],", released)] {
                assert_eq!(all(who, &format!("claims({arguments} PAGING) {{ PARTS }}"), "/claims").await, expected, "{arguments}");
                let list = format!("viewer {{ claims({arguments} PAGING) {{ PARTS }} }}");
                assert_eq!(all(who, &list, "/viewer/claims").await, expected, "{arguments}");
                let count = who.run(&format!("{{ claims({arguments} first: 1) {{ totalCount }} }}"), json!({})).await;
                assert_eq!(count.at("/data/claims/totalCount"), expected.len(), "{arguments}");
            }
        }
        let on_contested = newest_first(released.iter().chain(&active[4..]).map(|(_, claim)| claim));
        let list = format!("claims(jobId: \"{contested}\", PAGING) {{ PARTS }}");
        let admin = app.admin().await;
        for (who, expected) in [
            (&ada, on_contested.clone()),
            (&admin, on_contested),
            (&ben, of(&ben, &released)),
            (&cem, newest_first([&released[1].1, &active[4].1])),
            (&app.client("Bob").await, vec![]),
        ] {
            assert_eq!(all(who, &list, "/claims").await, expected);
        }
        let of_status = format!("claims(jobId: \"{contested}\", status: [ACTIVE], PAGING) {{ PARTS }}");
        assert_eq!(all(&ada, &of_status, "/claims").await, [active[4].1.clone()]);
    }

    async fn a_wallets_history_is_complete_and_by_type(app: TestApp) {
        let (ada, ben, admin) = (app.client("Ada").await, app.freelancer("Ben").await, app.admin().await);
        let job = text(&ada.post_job("Done").await, "/id");
        ada.update(&job, json!({ "budget": money("120.00") })).await.good();
        ada.update(&job, json!({ "budget": money("80.00") })).await.good();
        let claim = text(&ben.claim(&job).await.good(), "/claim/id");
        ada.approve(&text(&ben.submit(&claim).await.good(), "/deliverable/id")).await.good();
        let withdrawal = text(&ada.withdraw("50.00").await.good(), "/transaction/id");
        admin.confirm(&withdrawal, "VOID").await.good();
        ada.deposit("5.00").await.good();

        let rows = "nodes { type status amount { amount } availableAfter { amount } fee { amount } job { id } }";
        let history = |arguments: &str| format!("{{ wallet {{ transactions({arguments} first: 20) {{ {rows} }} }} }}");
        let row = |kind: &str, status: &str, amount: &str, after: &str, of_job: bool| {
            let job = of_job.then(|| json!({ "id": job })).unwrap_or_default();
            json!({ "type": kind, "status": status, "amount": { "amount": amount }, "availableAfter": { "amount": after }, "fee": null, "job": job })
        };
        let expected = [
            row("DEPOSIT", "PENDING", "5.00", "9920.00", false),
            row("WITHDRAWAL", "VOIDED", "-50.00", "9920.00", false),
            row("ESCROW_RELEASE", "POSTED", "0.00", "9920.00", true),
            row("ESCROW_REFUND", "POSTED", "40.00", "9920.00", true),
            row("ESCROW_HOLD", "POSTED", "-20.00", "9880.00", true),
            row("ESCROW_HOLD", "POSTED", "-100.00", "9900.00", true),
            row("DEPOSIT", "POSTED", "10000.00", "10000.00", false),
        ];
        let read = |reply: crate::support::http::Reply| reply.at("/data/wallet/transactions/nodes").clone();
        assert_eq!(read(ada.run(&history(""), json!({})).await), json!(expected));
        for kinds in [vec!["DEPOSIT"], vec!["ESCROW_HOLD", "ESCROW_REFUND"], vec!["REVERSAL"], vec![]] {
            let wanted: Vec<_> = expected.iter().filter(|row| kinds.is_empty() || kinds.iter().any(|kind| row["type"] == *kind)).collect();
            let reply = ada.run(&history(&format!("type: [{}],", kinds.join(", "))), json!({})).await;
            assert_eq!(read(reply), json!(wanted), "{kinds:?}");
        }
        let earned = read(ben.run(&history(""), json!({})).await);
        assert_eq!(earned[0]["fee"], json!({ "amount": "4.00" }));
        assert_eq!(earned[0]["amount"], json!({ "amount": "76.00" }));

        let list = all(&ada, "wallet { transactions(PAGING) { PARTS } }", "/wallet/transactions").await;
        assert_eq!(list, newest_first(&list), "newest first");
        assert_eq!(list.len(), expected.len());
        let pending = all(&admin, "transactions(status: [PENDING], PAGING) { PARTS }", "/transactions").await;
        assert_eq!(pending, [list[0].clone()]);
        let everything = all(&admin, "transactions(PAGING) { PARTS }", "/transactions").await;
        assert_eq!(everything.len(), expected.len() + 1, "Ben's too");
        assert_eq!(ada.run("{ transactions(first: 1) { nodes { id } } }", json!({})).await.code(), "FORBIDDEN");
    }

    async fn an_inbox_is_read_up_to_a_notification(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        for number in 0..4 {
            let job = text(&ada.post_job(&format!("Job {number}")).await, "/id");
            let claim = text(&ben.claim(&job).await.good(), "/claim/id");
            ben.release(&claim).await.good();
        }
        let (inbox, unread) = notifications(&ada, false).await;
        assert_eq!((inbox.len(), unread), (8, json!(8)));
        assert_eq!(inbox, newest_first(&inbox));
        assert_eq!(notifications(&ada, true).await.0, inbox);

        let marked = mark_read(&ada, &inbox[5]).await.good();
        assert_eq!(marked["viewer"]["notifications"]["unreadCount"], 5);
        let first_read = marked["viewer"]["notifications"]["nodes"][7]["readAt"].clone();
        assert_eq!(notifications(&ada, true).await, (inbox[..5].to_vec(), json!(5)));
        assert_eq!(notifications(&ada, false).await.0, inbox, "what was read stays");

        // Reading again, or less, changes nothing; Ben's inbox is his own.
        mark_read(&ada, &inbox[7]).await.good();
        assert_eq!(notifications(&ada, true).await.0, inbox[..5]);
        mark_read(&ben, &inbox[0]).await.refused("NOT_FOUND");
        assert_eq!(notifications(&ada, true).await.0, inbox[..5]);
        let marked = mark_read(&ada, &inbox[0]).await.good();
        assert_eq!(marked["viewer"]["notifications"]["unreadCount"], 0);
        assert_eq!(marked["viewer"]["notifications"]["nodes"][7]["readAt"], first_read, "read once");
        assert_eq!(notifications(&ada, true).await, (vec![], json!(0)));
        assert_eq!(notifications(&ben, false).await, (vec![], json!(0)));
    }

    async fn skills_are_found_by_how_their_name_or_slug_begins(app: TestApp) {
        let skills = async |arguments: &str| {
            let reply = app.anonymous().run(&format!("{{ skills{arguments} {{ slug }} }}"), json!({})).await;
            let list = reply.data()["skills"].as_array().expect("a list");
            list.iter().map(|skill| text(skill, "/slug")).collect::<Vec<_>>()
        };
        let all = skills("(first: 100)").await;
        assert_eq!((all.len(), all[2].as_str()), (100, "accessibility"), "by name: after .NET and 3D modelling");
        for (prefix, expected) in [
            ("rea", vec!["react", "react-native"]),
            ("REA", vec!["react", "react-native"]),
            (" rus ", vec!["rust"]),
            ("logo d", vec!["logo-design"]),
            ("logo-", vec!["logo-design"]),
            ("ust", vec![]),
        ] {
            assert_eq!(skills(&format!("(prefix: {prefix:?})")).await, expected, "{prefix:?}");
        }
        assert_eq!(skills("(first: 2)").await, all[..2]);
        assert_eq!(skills("(prefix: \"t\", first: 1)").await, ["three-d-modelling"]);
    }
}
