//! Every mutation by every role: refused for want of a token or a role, refused because it is somebody else's, or done.
//! What is refused changes nothing, and what a payload carries is for the eyes of its caller.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    cast::{Cast, Viewer},
    deeds::{DEEDS, Deed, knows_all_of},
    judge::{Judge, Steps},
    policy::may_aim_at,
    schema::Schema,
};
use crate::{on_both, support::app::TestApp};

on_both! {
    async fn every_mutation_is_done_for_those_who_may_and_refused_to_all_others(app: TestApp) {
        let schema = Schema::read(&app).await;
        knows_all_of(&schema);
        let cast = Cast::assemble(&app).await;
        let mut judge = Judge::convene(&cast, &schema).await;
        let mut steps = Steps::new();
        for deed in DEEDS {
            let allowed: Vec<_> = cast.viewers().into_iter().filter(|viewer| deed.may_be_done_by(viewer)).collect();
            let owner = allowed.first().expect("somebody may");
            let mut input = deed.prepare(&cast, &owner.person, owner.has("CLIENT")).await;
            judge.count(&cast.concerned_by(owner)).await;
            nobody_else_may(deed, &input, &cast, &judge, &schema).await;
            for doer in &allowed {
                let doer = &stand_in(deed, doer, &cast).await;
                if !doer.is(&owner.person.id) {
                    input = deed.prepare(&cast, &doer.person, doer.has("CLIENT")).await;
                }
                let reply = deed.run(&schema, &doer.person, &input).await;
                assert_eq!(reply.data()[deed.name]["errors"], json!([]), "{} by {}: {reply}", deed.name, doer.part);
                let answer = without_newcomers(&judge, reply.data());
                // Who proves who they are is shown their own account, whatever token was sent.
                let proves = ["signIn", "refreshSession"].contains(&deed.name);
                let seer = if proves { &cast.viewer(&cast.fay) } else { doer };
                judge.check_change(seer, deed.name, &answer, &cast.concerned_by(seer), &mut steps).await;
            }
        }
        let payloads = |step: &(String, String)| step.0.ends_with("Payload") && !steps.contains(step);
        let of_mutations = schema.steps_to_nodes(&schema.reachable("Mutation"));
        let missing: BTreeSet<_> = of_mutations.into_iter().filter(payloads).collect();
        assert_eq!(missing, BTreeSet::new(), "objects that no payload carried");
    }
}

on_both! {
    async fn who_may_not_is_told_so_before_the_input_is_looked_at(app: TestApp) {
        let schema = Schema::read(&app).await;
        let cast = Cast::assemble(&app).await;
        for deed in DEEDS.iter().filter(|deed| deed.name != "signOut") {
            let input = spoilt(&schema, &deed.input_type());
            for viewer in cast.viewers() {
                let Some((code, _)) = deed.refusal(&viewer) else { continue };
                let reply = viewer.person.run(&deed.operation(&schema), json!({ "input": input })).await;
                let code_found = reply.body.pointer("/errors/0/extensions/code");
                assert_eq!(code_found, Some(&json!(code)), "{} by {}: {reply}", deed.name, viewer.part);
            }
        }
    }
}

/// Tries with everybody who may not, and proves that nothing has changed.
async fn nobody_else_may(deed: &Deed, input: &Value, cast: &Cast, judge: &Judge<'_>, schema: &Schema) {
    let target = deed.target.map(|target| (target.field, judge.facts(input[target.field].as_str().expect("an id"))));
    let before = fingerprint(&cast.app).await;
    for viewer in cast.viewers() {
        let what = format!("{} by {}", deed.name, viewer.part);
        if let Some((code, word)) = deed.refusal(&viewer) {
            let reply = deed.run(schema, &viewer.person, input).await;
            assert_eq!(reply.code(), code, "{what}: {reply}");
            assert!(reply.at("/errors/0/message").as_str().is_some_and(|text| text.contains(word)), "{what}: {reply}");
            assert_eq!(reply.at(&format!("/data/{}", deed.name)), &Value::Null, "{what}");
        } else if let Some((field, facts)) = target
            && !may_aim_at(&viewer, deed.name, facts)
        {
            let reply = deed.run(schema, &viewer.person, input).await;
            let error = &reply.data()[deed.name]["errors"][0];
            assert_eq!(error["code"], "NOT_FOUND", "{what}: {reply}");
            assert_eq!(error["path"], json!(["input", field]), "{what}");
        }
    }
    let reply = deed.run(schema, &cast.shut_out, input).await;
    assert_eq!(reply.code(), "UNAUTHENTICATED", "{} by one who was shut out", deed.name);
    assert_eq!(fingerprint(&cast.app).await, before, "{} was refused and left something behind", deed.name);
}

/// Who does it: the viewer, or where that ends their session or changes their password somebody with the same roles.
async fn stand_in(deed: &Deed, viewer: &Viewer, cast: &Cast) -> Viewer {
    let spoils_the_account = ["signOut", "changePassword"].contains(&deed.name);
    if spoils_the_account { cast.double(viewer).await } else { viewer.clone() }
}

/// An account that was made by the mutation itself is in no census.
fn without_newcomers(judge: &Judge, answer: &Value) -> Value {
    let mut answer = answer.clone();
    if let Some(user) = answer.pointer_mut("/signUp/user") {
        assert!(!judge.knows(user["id"].as_str().expect("an id")), "a newcomer is new");
        *user = json!({ "__typename": "User" });
    }
    answer
}

/// An input of the right types and with nothing useful in it.
fn spoilt(schema: &Schema, input: &str) -> Value {
    let fields = schema.inputs(input).iter().filter_map(|field| {
        let value = match field.of.as_str() {
            _ if field.nullable => Value::Null,
            _ if field.list => json!([]),
            "String" | "ID" | "Decimal" | "CurrencyCode" => json!(""),
            "Boolean" => json!(true),
            "Int" => json!(0),
            "JobIntervention" => json!("REOPEN"),
            of if !schema.inputs(of).is_empty() => spoilt(schema, of),
            // An enumeration with a default.
            _ => return None,
        };
        Some((field.name.clone(), value))
    });
    fields.collect()
}

/// A number for everything that a mutation could change.
async fn fingerprint(app: &TestApp) -> Vec<(&'static str, i64)> {
    let mut numbers = Vec::new();
    for what in [
        "COUNT(*) FROM users",
        "COUNT(*) FROM users WHERE is_client",
        "COUNT(*) FROM users WHERE is_freelancer",
        "COUNT(*) FROM users WHERE is_admin",
        "COUNT(*) FROM users WHERE suspended_at IS NULL",
        "COUNT(*) FROM users WHERE avatar_url IS NULL",
        "COUNT(DISTINCT password_hash) FROM users",
        "COUNT(*) FROM sessions",
        "COUNT(*) FROM sessions WHERE ended_at IS NULL",
        "COUNT(*) FROM refresh_tokens",
        "COUNT(*) FROM refresh_tokens WHERE used_at IS NULL",
        "COUNT(*) FROM jobs",
        "COALESCE(SUM(version), 0) FROM jobs",
        "COUNT(*) FROM claims",
        "COALESCE(SUM(version), 0) FROM claims",
        "COUNT(*) FROM deliverables",
        "COUNT(*) FROM deliverables WHERE status = 'SUBMITTED'",
        "COALESCE(SUM(version), 0) FROM wallets",
        "COALESCE(SUM(available_minor), 0) FROM wallets",
        "COALESCE(SUM(version), 0) FROM transactions",
        "COUNT(*) FROM journals",
        "COUNT(*) FROM events",
        "COUNT(*) FROM notifications WHERE read_at IS NULL",
        "COUNT(*) FROM admin_actions",
        "COUNT(*) FROM idempotency_keys",
        "COUNT(*) FROM files",
    ] {
        let (number, rest) = what.split_once(" FROM ").expect("a table");
        numbers.push((what, app.db_number(&format!("SELECT CAST({number} AS BIGINT) FROM {rest}")).await));
    }
    numbers
}
