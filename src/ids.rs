//! Typed identifiers, and the one home of randomness.
//!
//! Owns the id types, how they are made (UUID version 7, RFC 9562: sorted by time of birth) and how they look outside
//! (TypeID 0.3: a prefix that names the type, then 26 characters of Crockford's base 32, e.g.
//! `job_01j9zt5e9qf6sbf0yxv6xg5k8m`). An id of one type never parses as another, so a claim's id handed in as a job's
//! is found out before any query runs. Ids from one process never repeat and never run backwards.

use std::{fmt, sync::Arc};

use parking_lot::{Mutex, MutexGuard};
use rand::{Rng, SeedableRng, rngs::StdRng};
use uuid::Uuid;

use crate::clock::Clock;

/// The alphabet of Crockford's base 32, lower case.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A text that is not an id of the type asked for.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
#[error("not a {0} id")]
pub struct InvalidId(pub &'static str);

/// What every typed id has in common.
pub trait TypedId: Copy + From<Uuid> + Into<Uuid> {
    /// The part before the underscore; at most 63 lower-case letters.
    const PREFIX: &'static str;
}

fn write_typed(f: &mut fmt::Formatter<'_>, prefix: &str, id: Uuid) -> fmt::Result {
    let bits = id.as_u128();
    let mut text = [0_u8; 26];
    for (place, character) in text.iter_mut().enumerate() {
        let digit = (bits >> (125 - 5 * place)) & 31;
        *character = ALPHABET[usize::try_from(digit).unwrap_or_default()];
    }
    write!(f, "{prefix}_{}", String::from_utf8_lossy(&text))
}

fn parse_typed(text: &str, prefix: &str) -> Option<Uuid> {
    let digits = text.strip_prefix(prefix)?.strip_prefix('_')?.as_bytes();
    if digits.len() != 26 || digits[0] > b'7' {
        return None;
    }
    let mut bits = 0_u128;
    for digit in digits {
        let value = ALPHABET.iter().position(|letter| letter == digit)?;
        bits = (bits << 5) | u128::try_from(value).ok()?;
    }
    Some(Uuid::from_u128(bits))
}

/// Declares id types: a newtype over [`Uuid`] that a database column, JSON and the API all understand.
macro_rules! typed_ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, sea_orm::DeriveValueType)]
        pub struct $name(Uuid);

        impl TypedId for $name {
            const PREFIX: &'static str = $prefix;
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_typed(f, $prefix, self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse_typed(text, $prefix).map(Self).ok_or(InvalidId($prefix))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl sea_orm::TryFromU64 for $name {
            fn try_from_u64(_: u64) -> Result<Self, sea_orm::DbErr> {
                Err(sea_orm::DbErr::ConvertFromU64(stringify!($name)))
            }
        }
    )+};
}

typed_ids! {
    /// A person's account.
    UserId = "user";
    /// A sign-in and the family of refresh tokens that descends from it.
    SessionId = "session";
    /// One refresh token.
    RefreshTokenId = "refresh";
    /// A word of the skill vocabulary.
    SkillId = "skill";
    /// A piece of work.
    JobId = "job";
    /// A freelancer's hold on a job.
    ClaimId = "claim";
    /// One submission of work.
    DeliverableId = "deliverable";
    /// What the two sides of a claim say to each other.
    ConversationId = "conversation";
    /// One message of a conversation.
    MessageId = "message";
    /// A file that somebody uploads.
    FileId = "file";
    /// A user's wallet.
    WalletId = "wallet";
    /// A ledger account.
    AccountId = "account";
    /// A journal: two or more ledger entries that add up to zero.
    JournalId = "journal";
    /// A journal as one wallet sees it.
    TransactionId = "transaction";
    /// An entry in a user's inbox.
    NotificationId = "notification";
    /// An entry of the event log.
    EventId = "event";
    /// One HTTP request, or one operation on a socket, from header to error to log.
    RequestId = "req";
}

/// Makes ids and secrets. Clones share one source of randomness.
#[derive(Clone)]
pub struct Ids {
    clock: Clock,
    state: Arc<Mutex<State>>,
}

struct State {
    random: StdRng,
    last: u128,
}

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ids").finish_non_exhaustive()
    }
}

impl Ids {
    /// Randomness from the operating system, for production.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks for entropy")]
    pub fn from_entropy(clock: Clock) -> Self {
        Self::with(clock, StdRng::from_rng(&mut rand::rng()))
    }

    /// Reproducible, for tests. Never for secrets.
    pub fn seeded(clock: Clock, seed: u64) -> Self {
        Self::with(clock, StdRng::seed_from_u64(seed))
    }

    fn with(clock: Clock, random: StdRng) -> Self {
        Self { clock, state: Arc::new(Mutex::new(State { random, last: 0 })) }
    }

    /// A new id, greater than every one made here before.
    pub fn next<T: TypedId>(&self) -> T {
        let millis = u64::try_from(self.clock.now().timestamp_millis()).unwrap_or_default();
        let mut state = self.lock();
        let mut tail = [0_u8; 10];
        state.random.fill_bytes(&mut tail);
        let fresh = uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid().as_u128();
        // Within a millisecond, or when the clock runs back, the next id follows the last one: order is kept, and the
        // 62 random bits below the variant leave room for any number of such steps.
        state.last = if fresh > state.last { fresh } else { state.last + 1 };
        T::from(Uuid::from_u128(state.last))
    }

    /// Unguessable bytes, for tokens and salts.
    pub fn secret<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0_u8; N];
        self.lock().random.fill_bytes(&mut bytes);
        bytes
    }

    /// A number in `0..bound`, for jitter. Zero for a bound of zero.
    pub fn below(&self, bound: u64) -> u64 {
        u64::from_le_bytes(self.secret()).checked_rem(bound).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while filling a buffer leaves the generator valid.
        self.state.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_from_their_text_and_only_as_their_own_type() {
        let ids = Ids::seeded(Clock::system(), 1);
        let job: JobId = ids.next();
        assert_eq!(job.to_string().parse(), Ok(job));
        assert_eq!(job.to_string().parse::<ClaimId>(), Err(InvalidId("claim")));
        for bad in ["", "job_", "job", "job_0", "job_8zzzzzzzzzzzzzzzzzzzzzzzzz", "job_01j9zt5e9qf6sbf0yxv6xg5k8u"] {
            assert_eq!(bad.parse::<JobId>(), Err(InvalidId("job")), "{bad}");
        }
    }

    #[test]
    fn the_example_of_the_typeid_specification_agrees() {
        let id = Uuid::parse_str("01890a5d-ac96-774b-bcce-b302099a8057").expect("valid");
        assert_eq!(JobId::from(id).to_string(), "job_01h455vb4pex5vsknk084sn02q");
    }

    #[test]
    fn ids_never_run_backwards_within_a_millisecond() {
        let ids = Ids::seeded(Clock::manual(chrono::DateTime::UNIX_EPOCH), 7);
        let made: Vec<JobId> = (0..1_000).map(|_| ids.next()).collect();
        assert!(made.is_sorted_by(|a, b| a < b));
    }
}
