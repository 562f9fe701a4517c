//! Amounts of money: what is not a positive decimal of the one currency, within its bounds, moves nothing anywhere.

use serde_json::{Value, json};

use super::{Scene, refused_argument, refused_at, tells_nothing, with};
use crate::{
    on_both,
    support::people::{fresh_key, money, new_job},
};

/// Amounts that are none, as JSON; the largest allowed is a thousand million.
fn bad_amounts() -> Vec<Value> {
    let texts = [
        "-1",
        "-0.01",
        "0.001",
        "1.005",
        "NaN",
        "Infinity",
        "-Infinity",
        "∞",
        "1e30",
        "1E2",
        "0x10",
        "١٢",
        "１２",
        "1,000",
        "1 000",
        "1_000",
        "",
        " ",
        " 1",
        "1 ",
        "+1",
        "--1",
        "1.",
        ".5",
        ".",
        "1.2.3",
        "1\u{0}",
        "$1",
        "1USD",
        "one",
        "null",
        "1000000000.01",
        "92233720368547758.08",
        "99999999999999999999999999999999999999999999999999",
    ];
    texts.into_iter().map(Value::from).chain([json!(1), json!(1.5), json!(-1), json!(1e30)]).collect()
}

/// Codes that are not the deployment's.
const BAD_CODES: [&str; 7] = ["EUR", "usd", "Usd", "", "USD ", "US", "BTC"];

on_both! {
    async fn no_mutation_moves_a_bad_amount(app: TestApp) {
        let scene = Scene::new(&app).await;
        let (ada, ben) = (&scene.ada, &scene.ben);
        let doors = [
            (ada, "deposit", json!({ "amount": money("1.00") }), "amount"),
            (ben, "withdraw", json!({ "amount": money("1.00"), "destination": "DE02" }), "amount"),
            (ada, "postJob", new_job("Cheap", "1.00"), "budget"),
            (ada, "draftJob", new_job("Cheap", "1.00"), "budget"),
            (ada, "updateJob", json!({ "id": scene.open, "patch": { "budget": money("1.00") } }), "patch.budget"),
            (ada, "updateJob", json!({ "id": scene.draft, "patch": { "budget": money("1.00") } }), "patch.budget"),
        ];
        let before = scene.footprint().await;
        for (who, field, input, place) in doors {
            let keyed = |mut input: Value| {
                if field != "updateJob" {
                    input["idempotencyKey"] = fresh_key().into();
                }
                input
            };
            for amount in bad_amounts().into_iter().chain([json!("0"), json!("0.00"), json!(0)]) {
                let path = format!("{place}.amount");
                let outcome = who.mutate(field, keyed(with(&input, &path, amount)), "").await;
                refused_at(outcome, &format!("input.{path}"));
            }
            for code in BAD_CODES {
                let path = format!("{place}.currencyCode");
                let outcome = who.mutate(field, keyed(with(&input, &path, code.into())), "").await;
                let error = refused_at(outcome, &format!("input.{path}"));
                assert!(error["message"].as_str().expect("a message").contains("USD"), "it says which one: {error}");
            }
            assert_eq!(scene.footprint().await, before, "{field} left something behind");
            // What is no text at all never gets as far as the domain.
            for amount in [Value::Null, json!(true), json!({}), json!(["1.00", "2.00"]), json!("1".repeat(65))] {
                let path = format!("{place}.amount");
                let reply = who.mutate(field, keyed(with(&input, &path, amount)), "").await.reply;
                assert_eq!(tells_nothing(&reply).code(), "BAD_USER_INPUT", "{reply}");
            }
            assert_eq!(scene.footprint().await, before, "{field} left something behind");
        }
    }

    async fn a_number_in_the_document_is_no_amount_either(app: TestApp) {
        let scene = Scene::new(&app).await;
        let before = scene.footprint().await;
        for amount in ["1", "1.0", "-1", "1e2"] {
            let query = format!(
                "mutation {{ deposit(input: {{ idempotencyKey: \"a\", amount: {{ amount: {amount}, currencyCode: \"USD\" }} }}) \
                 {{ errors {{ ... on UserError {{ code path }} }} }} }}"
            );
            let reply = scene.ada.run(&query, json!({})).await;
            let expected = json!([{ "code": "INVALID", "path": ["input", "amount", "amount"] }]);
            assert_eq!(reply.data()["deposit"]["errors"], expected, "{amount}");
        }
        assert_eq!(scene.footprint().await, before);
    }

    async fn a_filter_refuses_bad_bounds(app: TestApp) {
        let scene = Scene::new(&app).await;
        let query = "query($budget: MoneyRange) { jobs(first: 10, filter: { budget: $budget }) { nodes { id } } }";
        for bound in ["min", "max"] {
            for amount in bad_amounts() {
                let range = with(&json!({ "currencyCode": "USD" }), bound, amount);
                let reply = app.anonymous().run(query, json!({ "budget": range })).await;
                refused_argument(&reply, &format!("filter.budget.{bound}"));
            }
            for code in BAD_CODES {
                let range = with(&json!({ "currencyCode": code }), bound, "1".into());
                let reply = app.anonymous().run(query, json!({ "budget": range })).await;
                refused_argument(&reply, "filter.budget.currencyCode");
            }
        }
        let crossed = json!({ "currencyCode": "USD", "min": "2", "max": "1" });
        refused_argument(&app.anonymous().run(query, json!({ "budget": crossed })).await, "filter.budget.min");
        // Zero is a bound though no amount.
        let reply = app.anonymous().run(query, json!({ "budget": { "currencyCode": "USD", "min": "0" } })).await;
        assert_eq!(reply.data()["jobs"]["nodes"], json!([{ "id": scene.open }]));
    }

    async fn amounts_keep_every_cent(app: TestApp) {
        let ada = app.client("Ada").await;
        for (given, shown) in [("0.01", "0.01"), ("1", "1.00"), ("1.1", "1.10"), ("007.10", "7.10"), ("1000000000.00", "1000000000.00")] {
            let fields = "transaction { amount { amount currencyCode } }";
            let input = json!({ "amount": money(given), "idempotencyKey": fresh_key() });
            let payload = ada.mutate("deposit", input, fields).await.good();
            assert_eq!(payload["transaction"]["amount"], json!({ "amount": shown, "currencyCode": "USD" }));
        }
        let [.., pending_in, _] = ada.balance().await;
        assert_eq!(pending_in, "1000000009.21");
    }
}
