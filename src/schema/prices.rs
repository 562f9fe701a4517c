//! What each field of the schema does, by domain: the tables from which operations are priced.
//!
//! Read once, when the schema's language is made. A plain value of a row needs no line here. Whatever gives an object or a
//! list, takes arguments or counts does, and a test below wants it: an object that costs a statement of its own must not
//! pass for a value.

use crate::graphql::prices::{
    Prices, Table,
    Work::{ByIds, Change, Completion, Count, Leaf, LogPage, Lookup, Page, Part, Password, SearchPage, Short, Text},
};

/// People, and what lists are reached through them.
const ACCOUNTS: Table = &[
    ("Query", &[("viewer", Lookup), ("skills", Page)]),
    (
        "Mutation",
        &[
            ("signUp", Password),
            ("signIn", Password),
            ("refreshSession", Change),
            ("signOut", Change),
            ("changePassword", Password),
            ("updateProfile", Change),
            ("setUserRoles", Change),
            ("setUserSuspended", Change),
            ("createSkill", Change),
            ("updateSkill", Change),
        ],
    ),
    (
        "User",
        &[
            ("roles", Leaf),
            ("skills", Short),
            ("completedJobCount", Leaf),
            ("email", Lookup),
            ("wallet", Lookup),
            ("postedJobs", Page),
            ("claims", Page),
            ("notifications", Page),
        ],
    ),
    ("*Payload", &[("session", Part), ("user", Part), ("viewer", Part), ("skill", Part)]),
];

/// Jobs, the feed and the search.
const JOBS: Table = &[
    ("Query", &[("job", Lookup), ("jobs", SearchPage), ("searchSuggestions", Completion)]),
    (
        "Mutation",
        &[
            ("postJob", Change),
            ("draftJob", Change),
            ("publishJob", Change),
            ("updateJob", Change),
            ("cancelJob", Change),
        ],
    ),
    (
        "Job",
        &[
            ("description", Text),
            ("budget", Part),
            ("skills", Short),
            ("client", Lookup),
            ("activeClaim", Lookup),
            ("escrow", Part),
            ("deliverables", Page),
            ("viewerClaim", Lookup),
        ],
    ),
    ("JobConnection", &[("facets", Count), ("search", Part)]),
    ("JobFacets", &[("skills", Short), ("budgets", Short)]),
    ("SkillFacet", &[("skill", Part), ("count", Leaf)]),
    ("BudgetFacet", &[("from", Part), ("to", Part), ("count", Leaf)]),
    ("JobSearch", &[("corrections", Short)]),
    ("SearchSuggestion", &[("skill", Part)]),
    ("Subscription", &[("jobPosted", Part), ("jobUpdated", Part)]),
    ("*Event", &[("job", Part), ("changes", Leaf)]),
    ("*Payload", &[("job", Part), ("jobEdge", Part)]),
    ("*Error", &[("job", Part), ("allowed", Leaf)]),
];

/// Claims and the work handed in for them.
const CLAIMS: Table = &[
    ("Query", &[("claim", Lookup), ("claims", Page)]),
    (
        "Mutation",
        &[
            ("claimJob", Change),
            ("releaseClaim", Change),
            ("submitDeliverable", Change),
            ("requestRevision", Change),
            ("approveDeliverable", Change),
            ("interveneInJob", Change),
        ],
    ),
    ("Claim", &[("job", Lookup), ("freelancer", Lookup)]),
    ("Deliverable", &[("claim", Lookup), ("note", Text), ("revisionNote", Text), ("files", Short)]),
    ("Subscription", &[("claimUpdated", Part)]),
    ("*Event", &[("claim", Part)]),
    ("*Payload", &[("claim", Part), ("claimEdge", Part), ("deliverable", Part), ("deliverableEdge", Part)]),
    ("*Error", &[("claim", Part)]),
];

/// What the sides of claims say to each other.
const CONVERSATIONS: Table = &[
    ("Query", &[("conversation", Lookup)]),
    (
        "Mutation",
        &[
            ("sendMessage", Change),
            ("editMessage", Change),
            ("deleteMessage", Change),
            ("markConversationRead", Change),
            ("signalTyping", Change),
        ],
    ),
    ("User", &[("conversations", Page)]),
    ("Claim", &[("conversation", Lookup)]),
    (
        "Conversation",
        &[
            ("claim", Lookup),
            ("participants", Short),
            ("messages", Page),
            ("lastMessage", Lookup),
            ("unreadCount", Leaf),
            ("readMarkers", Short),
            ("presence", Short),
        ],
    ),
    ("Message", &[("conversation", Lookup), ("sender", Lookup), ("body", Text)]),
    ("ReadMarker", &[("user", Lookup)]),
    ("Presence", &[("user", Lookup)]),
    ("Subscription", &[("messageUpdated", Part), ("presenceChanged", Part)]),
    ("*Event", &[("message", Part), ("conversation", Part), ("presence", Short)]),
    ("*Payload", &[("message", Part), ("messageEdge", Part), ("conversation", Part)]),
];

/// What is handed over beside words.
const FILES: Table = &[
    ("Mutation", &[("createUpload", Change)]),
    ("*Payload", &[("file", Part), ("target", Part)]),
    ("UploadTarget", &[("headers", Short)]),
];

/// Money.
const WALLET: Table = &[
    ("Query", &[("wallet", Lookup), ("transactions", Page)]),
    ("Mutation", &[("deposit", Change), ("withdraw", Change), ("confirmTransaction", Change)]),
    (
        "Wallet",
        &[
            ("owner", Lookup),
            ("available", Part),
            ("inEscrow", Part),
            ("pendingIn", Part),
            ("pendingOut", Part),
            ("transactions", Page),
        ],
    ),
    (
        "Transaction",
        &[("amount", Part), ("availableAfter", Part), ("job", Lookup), ("fee", Part), ("reverses", Lookup)],
    ),
    ("Subscription", &[("walletUpdated", Part)]),
    ("*Event", &[("wallet", Part), ("transaction", Part)]),
    ("*Payload", &[("wallet", Lookup), ("transaction", Lookup)]),
    ("*Error", &[("wallet", Part), ("shortfall", Part), ("transaction", Part)]),
];

/// Inboxes.
const NOTIFICATIONS: Table = &[
    ("Mutation", &[("markNotificationsRead", Change)]),
    ("Notification", &[("actor", Lookup), ("amount", Part), ("subject", Lookup)]),
    ("NotificationConnection", &[("unreadCount", Count)]),
    ("Subscription", &[("notificationReceived", Part)]),
    ("*Event", &[("notification", Part)]),
];

/// What spans the domains.
const SCHEMA: Table = &[
    ("Query", &[("node", Lookup), ("nodes", ByIds), ("events", LogPage), ("rateLimit", Part)]),
    ("*Payload", &[("errors", Short)]),
    ("*Error", &[("path", Leaf)]),
];

/// All of it.
pub(super) fn prices() -> Prices {
    Prices::new(&[ACCOUNTS, JOBS, CLAIMS, CONVERSATIONS, FILES, WALLET, NOTIFICATIONS, SCHEMA])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::schema::introspection;

    /// Whether a field must be in a table: whatever is no plain value of its row.
    fn needs_a_price(field: &Value) -> bool {
        let mut of = &field["type"];
        while of["kind"] == "NON_NULL" {
            of = &of["ofType"];
        }
        let is_plain = of["kind"] == "SCALAR" || of["kind"] == "ENUM";
        let takes_arguments = field["args"].as_array().is_some_and(|arguments| !arguments.is_empty());
        !is_plain || takes_arguments || name(field).ends_with("Count")
    }

    fn name(of: &Value) -> &str {
        of["name"].as_str().expect("a name")
    }

    #[test]
    fn every_field_that_is_no_plain_value_has_a_price() {
        let (prices, mut used, mut unpriced) = (prices(), BTreeSet::new(), Vec::new());
        let types = introspection()["__schema"]["types"].as_array().expect("types").iter();
        for of in types.filter(|of| !name(of).starts_with("__")) {
            for field in of["fields"].as_array().into_iter().flatten() {
                match prices.listed(name(of), name(field)) {
                    Some(_) => drop(used.insert((name(of), name(field)))),
                    None if needs_a_price(field) => unpriced.push(format!("{}.{}", name(of), name(field))),
                    None => {}
                }
            }
        }
        assert_eq!(unpriced, [""; 0], "say in src/schema/prices.rs what these fields do");
        let is_used = |of: &str, field: &str| match of.strip_prefix('*') {
            Some(ending) => used.iter().any(|(of, name)| *name == field && of.ends_with(ending)),
            None => used.contains(&(of, field)),
        };
        let stale: Vec<_> = prices.all().filter(|(of, field)| !is_used(of, field)).collect();
        assert_eq!(stale, [], "no such fields any more");
    }
}
