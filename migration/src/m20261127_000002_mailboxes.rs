//! One spelling for each mailbox, also in what was stored before.
//!
//! Emails were kept in NFC and lower case. Now they are kept as the mailbox is: NFKC, and the domain as DNS has it, shown
//! in Unicode; `users_email_key` keeps two accounts from one. Of the rows from before only those with letters beyond
//! ASCII or with a domain in Punycode can differ; they are rewritten here. One whose mailbox has another account already,
//! or which is no address, stays as it is, and its owner signs in by that spelling as before.
//!
//! For two versions of the program: while a deploy goes on, the owner of a rewritten address who types the old spelling
//! is known by the new nodes alone. The rule below is the one of the day of this step and changes no more.

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use sea_orm_migration::{
    prelude::*,
    sea_orm::{DbBackend, Statement, prelude::Uuid},
};
use unicode_normalization::UnicodeNormalization;

/// See the module.
#[derive(DeriveMigrationName, Debug)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let (backend, connection) = (manager.get_database_backend(), manager.get_connection());
        // Beyond ASCII. PostgreSQL by the bytes' own order, whatever encoding and locale the database has.
        let (beyond, new, of) = match backend {
            DbBackend::Sqlite => ("length(email) <> length(CAST(email AS BLOB))", "?1", "?2"),
            _ => ("email COLLATE \"C\" ~ '[^ -~]'", "$1", "$2"),
        };
        let update = format!(
            "UPDATE users SET email = {new} WHERE id = {of} AND NOT EXISTS (SELECT 1 FROM users WHERE email = {new})"
        );
        let odd = format!("SELECT id, email FROM users WHERE {beyond} OR email LIKE '%xn--%' ORDER BY id");
        for row in connection.query_all_raw(Statement::from_string(backend, odd)).await? {
            let (id, email): (Uuid, String) = (row.try_get("", "id")?, row.try_get("", "email")?);
            let Some(mailbox) = mailbox(&email).filter(|mailbox| *mailbox != email) else { continue };
            let values = [mailbox.into(), id.into()];
            connection.execute_raw(Statement::from_sql_and_values(backend, &update, values)).await?;
        }
        Ok(())
    }
}

/// The one spelling of an address; nothing if it is none.
fn mailbox(email: &str) -> Option<String> {
    let email: String = email.nfkc().collect();
    let (local, domain) = email.split_once('@')?;
    let lower = local.chars().flat_map(char::to_lowercase);
    let local: String = lower.map(|letter| if letter == 'ς' { 'σ' } else { letter }).nfkc().collect();
    let fills = |letter: char| matches!(letter, '\u{115F}' | '\u{1160}' | '\u{3164}' | '\u{FFA0}');
    let holds = |letter: char| (letter.is_alphanumeric() && !fills(letter)) || ".!#$%&'*+-/=?^_`{|}~".contains(letter);
    if local.is_empty() || !local.chars().all(holds) {
        return None;
    }
    let (rules, names) = (Uts46::new(), AsciiDenyList::STD3);
    let ascii = rules.to_ascii(domain.as_bytes(), names, Hyphens::CheckFirstLast, DnsLength::Verify).ok()?;
    let (domain, shown) = rules.to_unicode(ascii.as_bytes(), names, Hyphens::CheckFirstLast);
    shown.is_ok().then(|| format!("{local}@{domain}"))
}
