//! Texts: their bounds in characters, what they may not hold, and that what they may hold comes back as it was given.

use serde_json::{Value, json};

use super::{Scene, refused_argument, refused_at, with};
use crate::{
    on_both,
    support::people::{PASSWORD, Person, fresh_key, money, new_job, text},
};

/// Characters that no text may hold: controls, and those that turn the direction of what follows.
const REFUSED: [char; 19] = [
    '\u{0}',
    '\u{1}',
    '\u{7}',
    '\u{8}',
    '\u{B}',
    '\u{1B}',
    '\u{7F}',
    '\u{85}',
    '\u{200E}',
    '\u{200F}',
    '\u{202A}',
    '\u{202E}',
    '\u{2066}',
    '\u{2069}',
    '\u{206A}',
    '\u{2028}',
    '\u{FEFF}',
    '\u{FFFE}',
    '\u{E0041}',
];

/// What shows nothing, each by another property of Unicode.
const INVISIBLE: [&str; 16] = [
    "\u{200B}",
    "\u{200C}\u{200D}",
    "\u{2060}",
    "\u{AD}",
    "\u{3164}",
    "\u{115F}\u{1160}",
    "\u{FFA0}",
    "\u{2800}\u{2800}\u{2800}\u{2800}",
    "\u{FE0F}",
    "\u{E0100}",
    "\u{34F}",
    "\u{301}\u{301}\u{301}",
    "\u{180E}",
    "\u{A0}\u{2007}\u{3000}",
    "\u{FFFC}\u{FFFC}\u{FFFC}",
    "\u{E000}\u{E001}\u{E002}",
];

/// Somebody, the mutation they send, an input that is good, and in it the text with its bounds.
struct Door<'a> {
    who: &'a Person,
    field: &'static str,
    input: Value,
    path: &'static str,
    shortest: usize,
    longest: usize,
    lines: bool,
}

fn doors<'a>(scene: &'a Scene, admin: &'a Person, anonymous: &'a Person) -> Vec<Door<'a>> {
    let door = |who, field, input, path, (shortest, longest, lines)| Door {
        who,
        field,
        input,
        path,
        shortest,
        longest,
        lines,
    };
    let (title, description, note, reason) = ((3, 140, false), (1, 20_000, true), (1, 5_000, true), (1, 500, true));
    let (ada, ben) = (&scene.ada, &scene.ben);
    let account = json!({ "email": "new@example.com", "password": PASSWORD, "displayName": "New" });
    let patch = |patch: Value| json!({ "id": scene.open, "patch": patch });
    let suspension = json!({ "userId": ben.id, "suspended": true, "reason": "A reason" });
    let work = json!({ "claimId": scene.claim, "note": "Done", "idempotencyKey": "a" });
    let withdrawal = json!({ "amount": money("1.00"), "destination": "DE02", "idempotencyKey": "a" });
    vec![
        door(anonymous, "signUp", account, "displayName", (1, 80, false)),
        door(ada, "updateProfile", json!({ "displayName": "Ada" }), "displayName", (1, 80, false)),
        door(ada, "postJob", new_job("A title", "1.00"), "title", title),
        door(ada, "postJob", new_job("A title", "1.00"), "description", description),
        door(ada, "draftJob", new_job("A title", "1.00"), "title", title),
        door(ada, "draftJob", new_job("A title", "1.00"), "description", description),
        door(ada, "updateJob", patch(json!({ "title": "A title" })), "patch.title", title),
        door(ada, "updateJob", patch(json!({ "description": "Words" })), "patch.description", description),
        door(ada, "cancelJob", json!({ "id": scene.open, "reason": "A reason" }), "reason", reason),
        door(ben, "releaseClaim", json!({ "claimId": scene.claim, "reason": "A reason" }), "reason", reason),
        door(ben, "submitDeliverable", work, "note", note),
        door(ada, "requestRevision", json!({ "deliverableId": scene.work, "note": "Almost" }), "note", note),
        door(ben, "withdraw", withdrawal, "destination", (1, 200, false)),
        door(admin, "setUserSuspended", suspension, "reason", reason),
    ]
}

on_both! {
    async fn every_text_has_bounds_and_refuses_what_deceives(app: TestApp) {
        let scene = Scene::new(&app).await;
        let (admin, anonymous) = (app.admin().await, app.anonymous());
        let before = scene.footprint().await;
        for Door { who, field, input, path, shortest, longest, lines } in doors(&scene, &admin, &anonymous) {
            let mut bad = vec![String::new(), " \u{3000} ".into(), "x".repeat(shortest - 1)];
            bad.extend([longest + 1, longest * 2, longest * 10].map(|length| "é".repeat(length.min(60_000))));
            bad.extend(REFUSED.map(|character| format!("good {character} text")));
            bad.extend(INVISIBLE.map(ToOwned::to_owned));
            bad.push(format!("hidden{} text", "\u{200B}\u{200C}".repeat(4)));
            if !lines {
                bad.extend(['\n', '\t', '\r'].map(|character| format!("good {character} text")));
            }
            for bad in bad {
                let mut input = with(&input, path, bad.into());
                if input.get("idempotencyKey").is_some() {
                    input["idempotencyKey"] = fresh_key().into();
                }
                refused_at(who.mutate(field, input, "").await, &format!("input.{path}"));
            }
            assert_eq!(scene.footprint().await, before, "{field} left something behind");
        }
    }

    async fn the_longest_texts_fit_whatever_their_bytes(app: TestApp) {
        let ada = app.client("Ada").await;
        let (title, description) = ("🦀".repeat(140), "漢".repeat(20_000));
        let mut job = new_job(&title, "1.00");
        job["description"] = description.clone().into();
        let posted = ada.mutate("postJob", job, "job { id title description }").await.good();
        assert_eq!((&posted["job"]["title"], &posted["job"]["description"]), (&json!(title), &json!(description)));
        // Counted after normalisation: two code points that are one character.
        let decomposed = "e\u{301}".repeat(140);
        let posted = ada.post_job(&decomposed).await;
        assert_eq!(posted["title"], "é".repeat(140));
    }

    async fn what_people_write_comes_back_as_they_wrote_it(app: TestApp) {
        let ada = app.client("Ada").await;
        for (given, kept) in [
            ("Cafe\u{301} logo", "Café logo"),
            ("\u{1100}\u{1161}\u{11A8} design", "각 design"),
            ("A\u{30A} \u{212B}ngstrom \u{2126}", "Å Ångstrom Ω"),
            ("👩‍💻 wanted 🏳️‍🌈 🇩🇪 👍🏽", "👩‍💻 wanted 🏳️‍🌈 🇩🇪 👍🏽"),
            ("  <b>bold</b> & \"quoted\" 'too' \\ %s {{x}} ${y}  ", "<b>bold</b> & \"quoted\" 'too' \\ %s {{x}} ${y}"),
            ("مرحبا שלום नमस्ते ไทย", "مرحبا שלום नमस्ते ไทย"),
            ("'); DROP TABLE jobs; --", "'); DROP TABLE jobs; --"),
            ("ﬁne ²³ Ⅷ", "ﬁne ²³ Ⅷ"),
            ("می\u{200C}خواهم क्\u{200D}ष ภาษา\u{200B}ไทย co\u{AD}op", "می\u{200C}خواهم क्\u{200D}ष ภาษา\u{200B}ไทย co\u{AD}op"),
            ("🏴\u{E0067}\u{E0062}\u{E0073}\u{E0063}\u{E0074}\u{E007F} ❤\u{FE0F}\u{200D}🔥 葛\u{E0100}", "🏴\u{E0067}\u{E0062}\u{E0073}\u{E0063}\u{E0074}\u{E007F} ❤\u{FE0F}\u{200D}🔥 葛\u{E0100}"),
        ] {
            let posted = ada.post_job(given).await;
            assert_eq!(posted["title"], kept, "{given}");
            let read = app.anonymous().run("query($id: ID!) { job(id: $id) { title } }", json!({ "id": posted["id"] })).await;
            assert_eq!(read.data()["job"]["title"], kept, "{given}");
        }
        let lines = "One\n\tTwo\r\n\n# Three";
        let mut job = new_job("With lines", "1.00");
        job["description"] = lines.into();
        let posted = ada.mutate("postJob", job, "job { description }").await.good();
        assert_eq!(posted["job"]["description"], lines);
        let renamed = ada.mutate("updateProfile", json!({ "displayName": " Zoe\u{308} 🦊 " }), "viewer { displayName }").await;
        assert_eq!(text(&renamed.good(), "/viewer/displayName"), "Zoë 🦊");
    }

    async fn keys_addresses_and_searches_have_bounds_of_their_own(app: TestApp) {
        let scene = Scene::new(&app).await;
        let before = scene.footprint().await;
        for key in ["", " ", "a b", "ключ", "🔑", "tab\t", "nul\u{0}", "line\n", &"k".repeat(101)] {
            let mut job = new_job("A title", "1.00");
            job["idempotencyKey"] = key.into();
            refused_at(scene.ada.post(job).await, "input.idempotencyKey");
            let claim = json!({ "jobId": scene.open, "idempotencyKey": key });
            refused_at(scene.ben.mutate("claimJob", claim, "").await, "input.idempotencyKey");
        }
        let long = format!("{}@example.com", "a".repeat(250));
        let mut emails: Vec<String> = REFUSED.iter().map(|character| format!("a{character}da@example.com")).collect();
        emails.extend(["", "ada", "@example.com", "a da@example.com", "ada@example", "ada@exa_mple.com", &long].map(str::to_owned));
        emails.extend(["ada@@example.com", "ada@example.com@example.org", "ada,x@example.com", "ada@-example.com", "ada@example.com.",
            "a\u{200B}da@example.com", "a\u{AD}da@example.com", "\u{3164}@example.com", "a..da@example.com"].map(str::to_owned));
        for email in emails {
            let account = json!({ "email": email, "password": PASSWORD, "displayName": "New" });
            refused_at(app.anonymous().mutate("signUp", account, "").await, "input.email");
        }
        for url in ["", "example.com", "/a.png", "http://example.com/", "javascript:alert(1)", "data:text/html,x", "https://a:b@c.d/",
            &format!("https://example.com/{}", "a".repeat(2_048))]
        {
            refused_at(scene.ada.mutate("updateProfile", json!({ "avatarUrl": url }), "").await, "input.avatarUrl");
        }
        for search in REFUSED.map(|character| format!("good {character} words")).into_iter().chain(["é".repeat(201)]) {
            let reply = app.anonymous().run("query($q: String) { jobs(first: 1, query: $q) { nodes { id } } }", json!({ "q": search })).await;
            refused_argument(&reply, "query");
        }
        assert_eq!(scene.footprint().await, before);
    }
}
