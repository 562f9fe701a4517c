//! How files go, and what they give back: quotas, what nothing uses, bytes without a row, and what `verify` sees.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use lancewire::{files::verify, ids::FileId};
use serde_json::Value;
use uuid::Uuid;

use super::{PNG, claimed, kept, send};
use crate::{
    on_both, on_both_clocked,
    support::{app::holds, people::text},
};

on_both_clocked! {
    with "[files]\nmax_bytes = 50\nbytes_per_user = 90\nfiles_per_user = 4";
    async fn a_user_has_so_much_room_and_unused_files_give_it_back(app: TestApp, clock: Clock) {
        let (ada, ben) = (app.client("Ada").await, app.freelancer("Ben").await);
        let claim = claimed(&ada, &ben).await;
        let used = ben.upload("a.png", "image/png", PNG).await;
        ben.submit_files(&claim, std::slice::from_ref(&used)).await.good();
        let unused = ben.upload("b.png", "image/png", PNG).await;
        let refused = ben.reserve("c.png", "image/png", PNG).await.refused("INVALID");
        assert!(text(&refused, "/message").contains("90 bytes together"), "{refused}");
        // What is refused gives its bytes back at once, and counts as a file until it goes.
        let rejected = ben.reserve("d.txt", "text/plain", b"a\0b").await.good();
        send(&ben, &rejected["target"], b"a\0b").await;
        let pending = text(&ben.reserve("e.txt", "text/plain", b"abc").await.good(), "/file/id");
        ben.reserve("f.txt", "text/plain", b"abc").await.refused("INVALID");
        ada.upload("c.png", "image/png", PNG).await;
        assert_eq!(kept(&app), (3, 0));

        // A day later: by the process's clock on SQLite, and by the database's on PostgreSQL.
        clock.advance(Duration::from_hours(25));
        let ben = ben.sign_in_again().await;
        app.db_run("UPDATE files SET remove_due_at = created_at WHERE remove_due_at IS NOT NULL").await;
        holds(app.app.db.reader(), "(SELECT COUNT(*) FROM files) = 1").await;
        for gone in [&unused, &pending, &text(&rejected, "/file/id")] {
            assert_eq!(ben.file(gone).await, Value::Null);
        }
        assert_eq!(ben.file(&used).await["status"], "READY");
        app.db_proves_its_invariants().await;
        ben.upload("c.png", "image/png", PNG).await;
    }
}

on_both! {
    async fn bytes_without_a_row_are_swept_and_none_else(app: TestApp) {
        let ben = app.freelancer("Ben").await;
        ben.upload("a.png", "image/png", PNG).await;
        let folder = app.app.config.files.folder(&app.app.config.database.url).expect("a folder");
        let now = SystemTime::from(app.app.clock.now());
        let old = now - Duration::from_hours(25);
        let lost = Uuid::from_u128(7).simple().to_string();
        fs::create_dir_all(folder.join("07")).expect("a folder");
        for (name, age) in [
            (format!("07/{lost}"), old),
            (format!("stage/{lost}.3"), old),
            (format!("stage/{}.1", Uuid::from_u128(8).simple()), now),
            (format!("07/{}", Uuid::from_u128(0x07).hyphenated()), old),
        ] {
            let file = fs::File::create(folder.join(name)).expect("a file");
            file.set_modified(age).expect("aged");
        }
        // What has a row stays, however old.
        for place in fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            for file in fs::read_dir(&place).expect("a folder").filter(|_| !place.ends_with("stage")) {
                fs::File::options().write(true).open(file.expect("a file").path()).expect("opens").set_modified(old).expect("aged");
            }
        }
        assert_eq!(app.app.services.files.sweep_once().await.expect("swept"), 2);
        assert_eq!(kept(&app), (2, 1), "what is new, what has a row, and what is not ours");
    }

    async fn verify_sees_bytes_that_are_missing_or_others(app: TestApp) {
        let ben = app.freelancer("Ben").await;
        let (db, config) = (&app.app.db, &app.app.config);
        let folder = config.files.folder(&config.database.url).expect("a folder");
        let place = |id: &str| {
            let name = Uuid::from(id.parse::<FileId>().expect("an id")).simple().to_string();
            folder.join(&name[30..]).join(name)
        };
        let [changed, cut, missing] = ["a.png", "b.png", "c.png"].map(|name| ben.upload(name, "image/png", PNG));
        let (changed, cut, missing) = (changed.await, cut.await, missing.await);
        let broken = async || verify::bytes(db, folder.clone(), &|_| ()).await.expect("it looks").broken.len();
        assert_eq!(broken().await, 0);
        let mut other = PNG.to_vec();
        other[12] ^= 1;
        fs::write(place(&changed), other).expect("written");
        assert_eq!(broken().await, 1);
        fs::write(place(&cut), &PNG[1..]).expect("written");
        fs::remove_file(place(&missing)).expect("removed");
        assert_eq!(broken().await, 3);
        app.db_run("UPDATE file_quotas SET bytes = bytes + 1").await;
        let found = lancewire::verify::verify(db).await.expect("it looks");
        let quotas = found.iter().find(|finding| finding.invariant.starts_with("14 a user's quota")).expect("a check");
        assert_eq!(quotas.broken.len(), 1, "{quotas:?}");
        app.db_run("UPDATE file_quotas SET bytes = bytes - 1").await;
        for id in [&changed, &cut, &missing] {
            fs::write(place(id), PNG).expect("written");
        }
    }
}
