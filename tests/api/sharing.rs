//! Subscriptions with the same selection are executed as one, whatever they filter by and however they spell it; and an
//! answer to an event does not depend on the arguments by which it was chosen.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    on_both,
    support::{
        people::{new_job, text},
        socket::{Socket, Subscription},
    },
};

/// `description` of every argument of every subscription, with its type.
const ARGUMENTS: &str = "{ __schema { subscriptionType { fields { name args { name type { kind } } } } } }";

async fn titles(socket: &Socket, feeds: &[Subscription]) -> BTreeSet<String> {
    let mut titles = BTreeSet::new();
    for feed in feeds {
        titles.insert(socket.next(feed).await.to_string());
    }
    titles
}

on_both! {
    with "[limits]\ncost = 2000\n[sockets]\noperations_per_socket = 1000\nmessages_per_minute = 100000";
    async fn two_hundred_filters_of_one_selection_are_one_execution(app: TestApp) {
        const FILTERS: usize = 200;
        // Each execution reads the client's skills.
        let query = "subscription($filter: JobFilter) { jobPosted(filter: $filter) { job { title client { skills { slug } } } } }";
        let ada = app.client("Ada").await;
        let socket = app.socket(None).await;
        let filter = |min: usize| json!({ "budget": { "currencyCode": "USD", "min": format!("{min}.00") } });
        let feeds: Vec<_> = (0..FILTERS).map(|min| socket.subscribe(query, json!({ "filter": filter(min) }))).collect();
        app.listening(FILTERS).await;
        let hub = &app.app.services.hub;
        assert_eq!((hub.groups(), hub.sections()), (1, FILTERS));
        app.published().await;
        let before = app.app.db.statements();
        ada.post(new_job("For all of them", "199.00")).await.good();
        let told = titles(&socket, &feeds).await;
        let statements = app.app.db.statements() - before;
        assert_eq!(told.len(), 1, "the same for all: {told:?}");
        assert!(statements < FILTERS as u64 / 2, "{statements} statements for one event");
        // And each hears what its own filter lets through.
        ada.post(new_job("For some of them", "49.50")).await.good();
        ada.post(new_job("For all again", "199.00")).await.good();
        for (min, feed) in feeds.iter().enumerate() {
            let expected = if min <= 49 { "For some of them" } else { "For all again" };
            assert_eq!(text(&socket.next(feed).await, "/data/jobPosted/job/title"), expected, "from {min} on");
        }
    }

    async fn how_a_selection_is_spelled_makes_no_difference_and_what_it_says_does(app: TestApp) {
        let ada = app.client("Ada").await;
        let socket = app.socket(None).await;
        let hub = &app.app.services.hub;
        let start = text(&ada.run("{ streamCursor }", json!({})).await.body, "/data/streamCursor");
        let alike = [
            ("subscription { jobPosted(filter: { anySkill: [\"rust\"] }) { id job { title budget { amount } } } }", json!({})),
            ("# As before.\nsubscription   Named {\n  jobPosted(filter: {anySkill: [\"rust\"],}) { id, job { title, budget { amount } } }\n}", json!({})),
            ("subscription Other($skills: [String!]) { jobPosted(filter: { anySkill: $skills }) { ...E } } \
              fragment E on JobPostedEvent { id job { ...J } } fragment J on Job { title budget { amount } }", json!({ "skills": ["rust"] })),
            ("subscription($s: [String!]) { jobPosted(filter: { anySkill: $s }) { ... on JobPostedEvent { id job { title title budget { amount } } } } }", json!({ "s": ["rust"] })),
            ("subscription($f: JobFilter, $no: Boolean = false, $yes: Boolean!) { jobPosted(filter: $f) { id @include(if: $yes) cursor @include(if: $no) job { title budget { amount } } } }",
             json!({ "f": { "anySkill": ["rust"] }, "yes": true })),
            ("subscription($after: String) { jobPosted(after: $after, filter: { anySkill: [\"rust\"] }) { id: id job { title budget { amount } } } }", json!({ "after": start })),
        ];
        let feeds: Vec<_> = alike.iter().map(|(query, variables)| socket.subscribe(query, variables.clone())).collect();
        app.listening(alike.len()).await;
        assert_eq!((hub.groups(), hub.sections()), (1, 1), "all of them ask for the same");
        ada.post_job("Spelled alike").await;
        assert_eq!(titles(&socket, &feeds).await.len(), 1, "and are told the same");
        for (groups, query) in [
            (2, "subscription { jobPosted(filter: { anySkill: [\"rust\"] }) { id: cursor job { title budget { amount } } } }"),
            (3, "subscription { jobPosted(filter: { anySkill: [\"rust\"] }) { id job { budget { amount } title } } }"),
            (4, "subscription { other: jobPosted(filter: { anySkill: [\"rust\"] }) { id job { title budget { amount } } } }"),
            (5, "subscription { jobUpdated(filter: { anySkill: [\"rust\"] }) { id job { title budget { amount } } } }"),
        ] {
            socket.subscribe(query, json!({}));
            app.listening(alike.len() - 1 + groups).await;
            assert_eq!(hub.groups(), groups, "it is answered otherwise: {query}");
        }
    }

    async fn what_looks_alike_and_means_something_else_is_kept_apart(app: TestApp) {
        let socket = app.socket(None).await;
        let hub = &app.app.services.hub;
        let client = app.client("Ada").await;
        let mut subscriptions = 0..;
        let mut known = async || app.listening(1 + subscriptions.next().unwrap_or_default()).await;
        let page = |first: &str| format!("subscription {{ jobUpdated {{ job {{ deliverables(first: {first}) {{ nodes {{ id }} }} }} }} }}");
        for (groups, query) in [(1, page("1")), (2, page("2")), (2, page("1"))] {
            socket.subscribe(&query, json!({}));
            known().await;
            assert_eq!(hub.groups(), groups, "{query}");
        }
        let by_variable = "subscription($n: Int) { jobUpdated { job { deliverables(first: $n) { nodes { id } } } } }";
        for (groups, number) in [(2, json!(1)), (2, json!(2)), (3, json!(3)), (4, Value::Null)] {
            socket.subscribe(by_variable, json!({ "n": number }));
            known().await;
            assert_eq!(hub.groups(), groups, "the variable's value is part of what is selected: {number}");
        }
        let sections = hub.sections();
        let filtered = "subscription($f: JobFilter) { jobPosted(filter: $f) { id } }";
        for (more, filter) in [
            (1, json!({ "anySkill": ["rust", "react"] })),
            (2, json!({ "anySkill": ["rust"] })),
            (3, json!({ "allSkills": ["rust"] })),
            (4, json!({ "allSkills": ["rust"], "anySkill": ["rust"] })),
            (5, json!({ "clientId": client.id })),
            (6, json!({})),
            (6, json!({})),
        ] {
            socket.subscribe(filtered, json!({ "f": filter }));
            known().await;
            assert_eq!(hub.sections(), sections + more, "{filter}");
        }
    }

    async fn an_answer_to_an_event_does_not_depend_on_the_arguments(app: TestApp) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        let talked = text(&ada.post_job("Talked about").await, "/id");
        let conversation = text(&ben.claim(&talked).await.good(), "/claim/id").replace("claim_", "conversation_");
        let job = text(&ada.post_job("Asked for in many ways").await, "/id");
        let start = text(&ada.run("{ streamCursor }", json!({})).await.body, "/data/streamCursor");
        let filter = "filter: { anySkill: [\"rust\"] }";
        let after = format!("after: {start:?}");
        let of_job = format!("jobId: {job:?}");
        let of_talk = format!("conversationId: {conversation:?}");
        let everything = "id cursor occurredAt";
        let of_a_job = "job { id version title status escrow { amount } viewerCanUpdate viewerClaim { id } }";
        // For each field of subscriptions: what is selected, and arguments by which the same event is chosen.
        let fields = [
            ("jobPosted", of_a_job, vec![vec![], vec![filter], vec![&after], vec![filter, &after]]),
            ("jobUpdated", of_a_job, vec![vec![], vec![filter], vec![&of_job], vec!["mine: true"], vec!["mine: true", filter, &of_job, &after], vec![&after]]),
            ("claimUpdated", "claim { id status } job { id escrow { amount } }", vec![vec![], vec![&after]]),
            (
                "messageUpdated",
                "message { body } conversation { version unreadCount }",
                vec![vec![], vec![&of_talk], vec![&of_talk, &after]],
            ),
            ("walletUpdated", "wallet { version available { amount } }", vec![vec![], vec![&after]]),
            ("notificationReceived", "notification { id }", vec![vec![], vec![&after]]),
        ];
        let schema = ada.run(ARGUMENTS, json!({})).await;
        let all = schema.data()["__schema"]["subscriptionType"]["fields"].as_array().expect("a list");
        // One that shows a state is executed for each subscriber.
        for field in all.iter().filter(|field| field["name"] != "presenceChanged") {
            let (_, _, ways) = fields.iter().find(|(name, ..)| field["name"] == *name).unwrap_or_else(|| panic!("{field} is not told of here"));
            for argument in field["args"].as_array().expect("a list") {
                let name = argument["name"].as_str().expect("a name");
                assert_ne!(argument["type"]["kind"], "NON_NULL", "events are executed without arguments: {field}");
                let given = ways.iter().flatten().any(|given| given.starts_with(&format!("{name}:")));
                assert!(given, "{name} of {} is not told of here", field["name"]);
            }
        }
        let socket = ada.socket().await;
        let mut groups = Vec::new();
        for (name, selection, ways) in &fields {
            let mut feeds = Vec::new();
            for way in ways {
                let arguments = if way.is_empty() { String::new() } else { format!("({})", way.join(", ")) };
                feeds.push(socket.subscribe(&format!("subscription {{ {name}{arguments} {{ {everything} {selection} }} }}"), json!({})));
            }
            groups.push((name, feeds));
        }
        app.listening(groups.iter().map(|(_, feeds)| feeds.len()).sum()).await;
        let hub = &app.app.services.hub;
        assert_eq!(hub.groups(), fields.len(), "one for each field");
        ben.claim(&job).await.good();
        ada.post_job("Another one").await;
        let message = json!({ "conversationId": conversation, "clientId": "one", "body": "Hello" });
        ada.mutate("sendMessage", message, "message { id }").await.good();
        for (name, feeds) in &groups {
            let told = titles(&socket, feeds).await;
            assert_eq!(told.len(), 1, "{name}: {told:?}");
        }
    }
}
