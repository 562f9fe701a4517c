//! The chain of hashes over the entries of each account.
//!
//! Each entry carries its number within its account, from 1 without holes, and the SHA-256 of the hash before it and of
//! all that the entry says: the account and whose it is, the amount, the balance after it, and the journal with its
//! kind, reference and time. `accounts` holds the number and the hash of the last one. To change, move, remove or
//! insert an entry so that everything still adds up, every later hash of the accounts concerned must be computed anew,
//! and then it differs from what `lancewire verify` printed before. The hash has no secret: it proves that nothing was
//! changed behind the program's back, not who wrote it.
//!
//! **Nothing waits for it.** An account is locked while an entry is made anyway, so a chain for each account costs no
//! lock. There is no chain over all accounts on the way of a payment; [`super::seal`] makes one in the background.
//!
//! **The bytes**, integers with the highest byte first: the version 1 (1 byte), the hash before it (32, zeros for the
//! first), account (16), its owner (16), its kind (length in 1 byte, ASCII), number (8), journal (16), place (4), amount
//! (8), balance after it (8), the journal's kind (length in 1 byte, ASCII), 1 and the reference (1 + 16) or 0 (1), the
//! journal's time in milliseconds since 1970 (8).
//!
//! Pure; called by [`super::ledger`], which makes entries, [`super::seal`], which chains those that have no hash yet, and
//! [`super::verify`].

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    clock::Timestamp,
    error::InternalError,
    ids::{AccountId, JournalId},
    money::Money,
};

/// A SHA-256.
pub type Hash = [u8; 32];

/// Before the first entry.
pub const START: Hash = [0; 32];

/// What the hash of an entry is made of, beside the hash before it.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    /// Whose balance changed.
    pub account: AccountId,
    /// The account's kind, as its column holds it.
    pub kind: &'a str,
    /// The account's owner.
    pub owner: Uuid,
    /// The number of the entry within the account, from 1.
    pub sequence: i64,
    /// The journal that it is part of.
    pub journal: JournalId,
    /// Its place there.
    pub place: i32,
    /// By how much, signed.
    pub amount: Money,
    /// The balance behind it.
    pub balance_after: Money,
    /// What the journal is about, as its column holds it.
    pub journal_kind: &'a str,
    /// What the journal is for.
    pub reference: Option<Uuid>,
    /// When.
    pub created_at: Timestamp,
}

/// The hash of an entry that follows one with the hash `before`.
pub fn next(before: Hash, link: &Link<'_>) -> Hash {
    let mut hash = Sha256::new();
    hash.update([1]);
    hash.update(before);
    hash.update(Uuid::from(link.account).as_bytes());
    hash.update(link.owner.as_bytes());
    push_text(&mut hash, link.kind);
    hash.update(link.sequence.to_be_bytes());
    hash.update(Uuid::from(link.journal).as_bytes());
    hash.update(link.place.to_be_bytes());
    hash.update(link.amount.minor().to_be_bytes());
    hash.update(link.balance_after.minor().to_be_bytes());
    push_text(&mut hash, link.journal_kind);
    match link.reference {
        Some(reference) => {
            hash.update([1]);
            hash.update(reference.as_bytes());
        }
        None => hash.update([0]),
    }
    hash.update(link.created_at.timestamp_millis().to_be_bytes());
    hash.finalize().into()
}

fn push_text(hash: &mut Sha256, text: &str) {
    hash.update([u8::try_from(text.len()).unwrap_or(u8::MAX)]);
    hash.update(text.as_bytes());
}

/// A hash as a column holds it; of an account without a chain the start.
pub fn head_of(column: Option<&[u8]>) -> Result<Hash, InternalError> {
    match column {
        None => Ok(START),
        Some(bytes) => {
            bytes.try_into().map_err(|_| InternalError::corrupt("a hash of the ledger is not 32 bytes long"))
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn link() -> Link<'static> {
        Link {
            account: Uuid::from_u128(1).into(),
            kind: "AVAILABLE",
            owner: Uuid::from_u128(2),
            sequence: 3,
            journal: Uuid::from_u128(4).into(),
            place: 5,
            amount: Money::from_minor(-6),
            balance_after: Money::from_minor(7),
            journal_kind: "DEPOSIT",
            reference: Some(Uuid::from_u128(8)),
            created_at: DateTime::from_timestamp_millis(9).expect("a time"),
        }
    }

    /// What was chained once is chained so for ever: another outcome breaks every ledger there is.
    #[test]
    fn the_hash_of_an_entry_never_changes() {
        let hash = next(START, &link());
        let text: String = hash.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        assert_eq!(text, "5300f05073416c406cf75ae2f75efa4a17bcfe47a686486770825bfc3b8f00b9");
    }

    #[test]
    fn every_part_of_an_entry_counts() {
        let before = next(START, &link());
        let other = Uuid::from_u128(77);
        let later = DateTime::from_timestamp_millis(10).expect("a time");
        let changed = [
            Link { account: other.into(), ..link() },
            Link { kind: "FEES", ..link() },
            Link { owner: other, ..link() },
            Link { sequence: 4, ..link() },
            Link { journal: other.into(), ..link() },
            Link { place: 6, ..link() },
            Link { amount: Money::from_minor(6), ..link() },
            Link { balance_after: Money::from_minor(8), ..link() },
            Link { journal_kind: "REVERSAL", ..link() },
            Link { reference: None, ..link() },
            Link { created_at: later, ..link() },
        ];
        let mut hashes: Vec<Hash> = changed.iter().map(|link| next(START, link)).collect();
        hashes.extend([before, next(before, &link())]);
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 13);
    }
}
