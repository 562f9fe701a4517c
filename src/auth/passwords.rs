//! Passwords: which may be chosen, and how they are kept and compared.
//!
//! Owns [`Password`], the text that a person typed, and [`Passwords`], which hashes and verifies with Argon2id (RFC 9106)
//! into PHC strings. Called by the sign-up, sign-in and change-password use cases; nobody else sees a password.
//!
//! - Rules of choice follow NIST SP 800-63B: length counts, in code points, and known weak texts are refused; there are
//!   no rules of composition and nothing is cut off. Every text is brought to Unicode's normal form C first (as RFC 8265
//!   section 4.2 has it), so that the same characters from another keyboard are the same password.
//! - The rules bind new passwords only. At sign-in [`Password::candidate`] takes whatever may have been chosen under
//!   older rules.
//! - An unknown account costs the same time as a wrong password: verifying against nothing verifies against a dummy made
//!   at start with today's parameters. Hashes with older parameters differ in time until their owner's next sign-in, when
//!   [`Verdict::Right`] asks for a new one.
//! - Hashing is slow and takes memory by design, so it runs on the blocking pool, at most `parallel` at once with
//!   [`QUEUE`] waiting; the rest is [`PasswordFault::Busy`]. A caller that goes away does not free its place before the
//!   work is done. The memory goes back to the system when nobody waits for it ([`hash_memory`](super::hash_memory)).
//! - Texts are wiped from memory when dropped, and no `Debug` or error shows them.

use std::{fmt, sync::Arc, time::Instant};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{
        self,
        phc::{Output, ParamsString, PasswordHash, Salt},
    },
};
use tokio::sync::Semaphore;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use super::hash_memory::HashMemory;
use crate::ids::Ids;

/// Gauge: passwords that are being hashed, or wait for their turn.
pub const HASHING: &str = "lancewire_password_hashes";
/// Counter: passwords that were not hashed because too many waited.
pub const BUSY: &str = "lancewire_password_hashes_refused_total";
/// Histogram: how long a password took to be hashed, its wait included.
pub const SECONDS: &str = "lancewire_password_hash_seconds";

/// How many may wait for a hash, besides those being computed.
pub const QUEUE: usize = 64;

/// The least and the most characters (code points) of a new password.
const LEAST: usize = 10;
const MOST: usize = 128;

/// The most bytes of any password, in normal form C.
const MAX_BYTES: usize = 1024;

/// The most bytes before normalisation. A character decomposes into at most four of at most four bytes, so every spelling
/// of a password that [`Password::parse`] takes fits: 128 of them have 2048 bytes.
const MAX_RAW_BYTES: usize = 4 * MAX_BYTES;

/// What people choose first when ten characters are asked for; in lower case.
const COMMON: &str = "
    0000000000 0123456789 0987654321 1010101010 1029384756 1111111111 111111111111 1122334455 112233445566 123123123123
    1234554321 123456123456 1234567890 12345678900 1234567891 12345678910 123456789a 123456789q 123654789a 147258369a
    1a2b3c4d5e 1q2w3e4r5t 1q2w3e4r5t6y 1qaz2wsx3edc 1qaz2wsx3edc4rfv 5555555555 7777777777 9876543210 9999999999
    a123456789 aaaaaaaaaa abc1234567 abc123456789 abcd123456 abcde12345 abcdef1234 abcdefghij admin12345 admin123456
    administrator asdfasdfasdf asdfghjkl1 asdfghjkl123 baseball123 basketball changeme123 chocolate1
    correcthorsebatterystaple dragon1234 football123 freelancer freelancer123 hello12345 helloworld iloveyou12
    iloveyou123 lancewire123 letmein123 liverpool1 manchester master1234 michael123 minecraft1 monkey1234 mypassword
    p@ssw0rd123 p@ssword123 pass123456 passw0rd123 password123 password123! password1234 password12345 password123456
    password2025 password2026 passwordpassword princess123 q1w2e3r4t5 qazwsxedc123 qwer123456 qwerasdfzxcv qwerty1234
    qwerty12345 qwerty123456 qwertyqwerty qwertyuiop qwertyuiop1 qwertyuiop123 secret1234 starwars123 summer2025
    summer2026 sunshine123 superman123 testtest123 welcome123 welcome2025 welcome2026 winter2025 winter2026
    zaq12wsxcde3 zxcvbnm,./ zxcvbnm123";

/// Why a text cannot be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordRule {
    /// Fewer than ten characters.
    #[error("a password has at least 10 characters")]
    TooShort,
    /// More than 128 characters; at sign-in, more than 1024 bytes.
    #[error("a password has at most 128 characters")]
    TooLong,
    /// A tab, a line break or another control character.
    #[error("a password has no control characters")]
    ControlCharacter,
    /// One of those that are guessed first.
    #[error("this password is among the first that are guessed")]
    Common,
}

/// A password in normal form C. Wiped when dropped; `Debug` hides it.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Password {
    /// A new password, held against all rules.
    pub fn parse(text: &str) -> Result<Self, PasswordRule> {
        let password = Self::candidate(text)?;
        let length = password.0.chars().count();
        let lower = Zeroizing::new(password.0.to_lowercase());
        if length < LEAST {
            Err(PasswordRule::TooShort)
        } else if length > MOST {
            Err(PasswordRule::TooLong)
        } else if password.0.chars().any(char::is_control) {
            Err(PasswordRule::ControlCharacter)
        } else if COMMON.split_ascii_whitespace().any(|common| common == *lower) {
            Err(PasswordRule::Common)
        } else {
            Ok(password)
        }
    }

    /// What someone typed to sign in: refused only if it is far too long to be anyone's password.
    pub fn candidate(text: &str) -> Result<Self, PasswordRule> {
        if text.len() > MAX_RAW_BYTES {
            return Err(PasswordRule::TooLong);
        }
        // Made large enough at once: growing would leave copies behind that nobody wipes.
        let mut normal = Zeroizing::new(String::with_capacity(MAX_BYTES));
        for character in text.nfc() {
            if normal.len() + character.len_utf8() > MAX_BYTES {
                return Err(PasswordRule::TooLong);
            }
            normal.push(character);
        }
        Ok(Self(normal))
    }

    /// Whether `word`, such as the local part of the owner's email, is in the password, in any case of letters. Words of
    /// fewer than four characters say nothing.
    pub fn resembles(&self, word: &str) -> bool {
        let word = word.trim().nfc().collect::<String>().to_lowercase();
        let password = Zeroizing::new(self.0.to_lowercase());
        word.chars().count() >= 4 && password.contains(&word)
    }
}

/// The cost of a hash and how many are made at once.
#[derive(Clone, Debug)]
pub struct PasswordSettings {
    /// Memory for one hash, in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub iterations: u32,
    /// Argon2's parallelism; computed one after the other here.
    pub lanes: u32,
    /// Hashes computed at once; taken as at least one.
    pub parallel: usize,
}

impl PasswordSettings {
    /// Whether hashes cost an attacker at least as much as the weakest parameters that OWASP's Password Storage Cheat
    /// Sheet recommends (7 MiB and 5 passes up to 46 MiB and 1 pass).
    pub const fn is_strong(&self) -> bool {
        let (memory, passes) = (self.memory_kib as u64, self.iterations as u64);
        memory >= 7_168 && memory * passes >= 5 * 7_168
    }
}

/// What a comparison found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the password.
    Right {
        /// The stored hash is weaker than today's: store a new one.
        rehash: bool,
    },
    /// It is not, or there is nothing to compare with.
    Wrong,
}

/// Why a password was neither hashed nor compared: no answer about it.
#[derive(Debug, thiserror::Error)]
pub enum PasswordFault {
    /// Too many are waiting: come back shortly.
    #[error("too many passwords are being checked")]
    Busy,
    /// The settings are outside Argon2's bounds.
    #[error("auth.password_*: {0}; see RFC 9106 section 3.1 for the bounds")]
    Settings(argon2::Error),
    /// What is stored is not an Argon2 hash.
    #[error("a stored password hash cannot be read")]
    Stored(#[source] password_hash::Error),
    /// Argon2 failed, e.g. for want of memory.
    #[error("cannot hash a password")]
    Hashing(#[source] password_hash::Error),
    /// The runtime is shutting down, or the work panicked.
    #[error("hashing was interrupted")]
    Interrupted,
}

/// Hashes and verifies passwords. Clones share the limits.
#[derive(Clone)]
pub struct Passwords {
    hasher: Argon2<'static>,
    dummy: Arc<str>,
    ids: Ids,
    /// One for everyone being served or waiting.
    places: Arc<Semaphore>,
    /// One for everyone being served.
    turns: Arc<Semaphore>,
    memory: Arc<HashMemory>,
    parallel: usize,
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").field("parameters", self.hasher.params()).finish_non_exhaustive()
    }
}

impl Passwords {
    /// Hashes with `settings`. Makes the dummy, so it takes as long as one hash: for the start of the process.
    pub fn new(settings: &PasswordSettings, ids: Ids) -> Result<Self, PasswordFault> {
        let PasswordSettings { memory_kib, iterations, lanes, parallel } = *settings;
        let parameters = Params::new(memory_kib, iterations, lanes, Some(Params::DEFAULT_OUTPUT_LEN))
            .map_err(PasswordFault::Settings)?;
        let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
        let memory = Arc::new(HashMemory::default());
        let work = Work { hasher: &hasher, memory: &memory, wanted: &|| false };
        let dummy = work.hash(&ids.secret::<32>(), &ids.secret())?.into();
        let parallel = parallel.clamp(1, Semaphore::MAX_PERMITS - QUEUE);
        let places = Arc::new(Semaphore::new(parallel + QUEUE));
        Ok(Self { hasher, dummy, ids, places, turns: Arc::new(Semaphore::new(parallel)), memory, parallel })
    }

    /// The PHC string to store for `password`: parameters, a fresh salt and the hash.
    pub async fn hash(&self, password: &Password) -> Result<String, PasswordFault> {
        let (password, salt) = (password.clone(), self.ids.secret());
        self.run(move |work| work.hash(password.0.as_bytes(), &salt)).await
    }

    /// Whether `password` is the one that `stored` was made of. Nothing stored takes as long and is [`Verdict::Wrong`].
    pub async fn verify(&self, password: &Password, stored: Option<&str>) -> Result<Verdict, PasswordFault> {
        let known = stored.is_some();
        let stored = stored.unwrap_or(&self.dummy).to_owned();
        let password = password.clone();
        let verdict = self.run(move |work| work.verify(password.0.as_bytes(), &stored)).await?;
        Ok(if known { verdict } else { Verdict::Wrong })
    }

    /// Runs `work` on the blocking pool once it is its turn.
    async fn run<T, W>(&self, work: W) -> Result<T, PasswordFault>
    where
        T: Send + 'static,
        W: FnOnce(Work<'_>) -> Result<T, PasswordFault> + Send + 'static,
    {
        let began = Instant::now();
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            metrics::counter!(BUSY).increment(1);
            PasswordFault::Busy
        })?;
        let hashing = Hashing::begin();
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| PasswordFault::Interrupted)?;
        let (hasher, memory) = (self.hasher.clone(), Arc::clone(&self.memory));
        let (places, most) = (Arc::clone(&self.places), self.parallel + QUEUE);
        let parallel = self.parallel;
        let work = move || {
            // Blocking work cannot be cancelled: it keeps its place and turn even when nobody waits for it any more.
            let _held = (place, turn, hashing);
            // More than are being served: somebody waits for a turn, and so for this memory.
            let wanted = || most - places.available_permits() > parallel;
            work(Work { hasher: &hasher, memory: &memory, wanted: &wanted })
        };
        let done = tokio::task::spawn_blocking(work).await.map_err(|_| PasswordFault::Interrupted)?;
        metrics::histogram!(SECONDS).record(began.elapsed().as_secs_f64());
        done
    }
}

/// Counts a hash for as long as it waits and works.
struct Hashing;

impl Hashing {
    fn begin() -> Self {
        metrics::gauge!(HASHING).increment(1.0);
        Self
    }
}

impl Drop for Hashing {
    fn drop(&mut self) {
        metrics::gauge!(HASHING).decrement(1.0);
    }
}

/// What one hash takes.
struct Work<'a> {
    hasher: &'a Argon2<'static>,
    memory: &'a HashMemory,
    /// Whether somebody waits for the memory.
    wanted: &'a dyn Fn() -> bool,
}

impl Work<'_> {
    fn hash(&self, password: &[u8], salt: &[u8; 16]) -> Result<String, PasswordFault> {
        let salt = Salt::new(salt).map_err(|error| PasswordFault::Hashing(error.into()))?;
        let parameters = self.hasher.params();
        let hash = PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(parameters).map_err(PasswordFault::Hashing)?,
            salt: Some(salt),
            hash: Some(self.output(self.hasher, password, &salt)?),
        };
        Ok(hash.to_string())
    }

    fn verify(&self, password: &[u8], stored: &str) -> Result<Verdict, PasswordFault> {
        let unreadable = || PasswordFault::Stored(password_hash::Error::PasswordInvalid);
        let stored = PasswordHash::new(stored).map_err(|error| PasswordFault::Stored(error.into()))?;
        let parameters = Params::try_from(&stored).map_err(PasswordFault::Stored)?;
        let (Some(salt), Some(expected)) = (&stored.salt, &stored.hash) else { return Err(unreadable()) };
        let algorithm = Algorithm::try_from(stored.algorithm.as_str()).map_err(PasswordFault::Stored)?;
        let version = match stored.version {
            Some(version) => Version::try_from(version).map_err(|error| PasswordFault::Stored(error.into()))?,
            None => Version::default(),
        };
        let hasher = Argon2::new(algorithm, version, parameters.clone());
        // Compared in constant time.
        if self.output(&hasher, password, salt)? == *expected {
            Ok(Verdict::Right { rehash: is_weaker(&stored, &parameters, self.hasher.params()) })
        } else {
            Ok(Verdict::Wrong)
        }
    }

    fn output(&self, hasher: &Argon2<'_>, password: &[u8], salt: &[u8]) -> Result<Output, PasswordFault> {
        let parameters = hasher.params();
        let mut buffer = Zeroizing::new([0; Output::MAX_LENGTH]);
        let length = parameters.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
        let out = buffer.get_mut(..length).ok_or(PasswordFault::Hashing(password_hash::Error::OutputSize))?;
        let outcome = self.memory.lend(parameters.block_count(), self.wanted, |blocks| {
            hasher.hash_password_into_with_memory(password, salt, out, blocks)
        });
        outcome.map_err(|error| PasswordFault::Hashing(error.into()))?;
        Output::new(out).map_err(|error| PasswordFault::Hashing(error.into()))
    }
}

/// Whether a hash falls short of `today` in anything. Lanes are no strength.
fn is_weaker(stored: &PasswordHash, parameters: &Params, today: &Params) -> bool {
    stored.algorithm != Algorithm::Argon2id.ident()
        || stored.version != Some(Version::V0x13.into())
        || parameters.m_cost() < today.m_cost()
        || parameters.t_cost() < today.t_cost()
        || parameters.output_len() < today.output_len()
}

#[cfg(test)]
mod tests {
    use argon2::PasswordHasher as _;
    use futures_util::FutureExt as _;

    use super::*;
    use crate::clock::Clock;

    const TINY: PasswordSettings = PasswordSettings { memory_kib: 8, iterations: 1, lanes: 1, parallel: 1 };

    fn passwords(settings: &PasswordSettings) -> Passwords {
        Passwords::new(settings, Ids::seeded(Clock::system(), 1)).expect("is within the bounds")
    }

    fn password(text: &str) -> Password {
        Password::parse(text).expect("may be chosen")
    }

    #[test]
    fn length_is_counted_in_characters_of_the_normal_form() {
        let parse = |text: &str| Password::parse(text).map(|_| ());
        assert_eq!(parse("123 abc x"), Err(PasswordRule::TooShort));
        assert_eq!(parse("123 abc xy"), Ok(()));
        assert_eq!(parse(&"e\u{301}".repeat(5)), Err(PasswordRule::TooShort), "five letters with an accent each");
        assert_eq!(parse(&"\u{1f980}".repeat(128)), Ok(()));
        assert_eq!(parse(&"x".repeat(129)), Err(PasswordRule::TooLong));
        assert_eq!(parse("a line\nbreak"), Err(PasswordRule::ControlCharacter));
        assert_eq!(parse("QwertyUiop123"), Err(PasswordRule::Common));
    }

    #[test]
    fn the_common_passwords_are_such_as_the_other_rules_allow() {
        for text in COMMON.split_ascii_whitespace() {
            assert_eq!(Password::parse(text).map(|_| ()), Err(PasswordRule::Common), "{text}");
        }
    }

    #[test]
    fn a_candidate_is_bound_only_by_its_size() {
        let candidate = |text: &str| Password::candidate(text).map(|_| ());
        assert!(["", "short", "password123", "a\ttab"].iter().all(|old| candidate(old).is_ok()));
        assert_eq!(candidate(&"x".repeat(1024)), Ok(()));
        assert_eq!(candidate(&"x".repeat(1025)), Err(PasswordRule::TooLong));
        assert_eq!(candidate(&"e\u{301}".repeat(2_000)), Err(PasswordRule::TooLong));
        let spelt_out = "\u{d55c}".repeat(128).nfd().collect::<String>();
        assert!(Password::parse(&spelt_out).is_ok() && Password::candidate(&spelt_out).is_ok());
    }

    #[test]
    fn a_password_that_contains_the_name_resembles_it() {
        let password = password("Ren\u{e9}e.Descartes-1596");
        assert!(["descartes", "rene\u{301}e.descartes", " DESCARTES "].iter().all(|word| password.resembles(word)));
        assert!(!["", "ren", "pascal", "descartes1596"].iter().any(|word| password.resembles(word)));
    }

    #[tokio::test]
    async fn a_hash_knows_its_password_in_every_spelling() {
        let passwords = passwords(&TINY);
        let stored = passwords.hash(&password("cr\u{e8}me br\u{fb}l\u{e9}e")).await.expect("hashes");
        assert!(stored.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{stored}");
        assert!(!format!("{passwords:?} {:?}", password("an ordinary phrase")).contains("ordinary"));
        assert_ne!(passwords.hash(&password("cr\u{e8}me br\u{fb}l\u{e9}e")).await.expect("hashes"), stored, "salted");
        for (text, expected) in [
            ("cre\u{300}me bru\u{302}le\u{301}e", Verdict::Right { rehash: false }),
            ("creme brulee", Verdict::Wrong),
            ("", Verdict::Wrong),
        ] {
            let typed = Password::candidate(text).expect("is short");
            assert_eq!(passwords.verify(&typed, Some(&stored)).await.expect("verifies"), expected, "{text}");
        }
    }

    #[tokio::test]
    async fn nobody_is_compared_with_a_dummy_of_the_same_cost() {
        let passwords = passwords(&TINY);
        let typed = password("an ordinary phrase");
        let stored = passwords.hash(&typed).await.expect("hashes");
        let cost = |phc: &str| phc.split('$').take(4).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(cost(&passwords.dummy), cost(&stored));
        assert_eq!(passwords.verify(&typed, None).await.expect("verifies"), Verdict::Wrong);
        // Even who hit upon the dummy's secret is nobody.
        let lucky = Passwords { dummy: stored.into(), ..passwords };
        assert_eq!(lucky.verify(&typed, None).await.expect("verifies"), Verdict::Wrong);
    }

    #[tokio::test]
    async fn a_weaker_hash_asks_for_a_new_one() {
        let typed = password("an ordinary phrase");
        let today = PasswordSettings { memory_kib: 16, iterations: 2, lanes: 1, parallel: 1 };
        for (then, expected) in [
            (today.clone(), false),
            (PasswordSettings { memory_kib: 32, ..today.clone() }, false),
            (PasswordSettings { memory_kib: 8, ..today.clone() }, true),
            (PasswordSettings { iterations: 1, ..today.clone() }, true),
        ] {
            let stored = passwords(&then).hash(&typed).await.expect("hashes");
            let verdict = passwords(&today).verify(&typed, Some(&stored)).await.expect("verifies");
            assert_eq!(verdict, Verdict::Right { rehash: expected }, "{then:?}");
        }
        let other_kind = Argon2::new(Algorithm::Argon2i, Version::V0x13, passwords(&today).hasher.params().clone());
        let stored = other_kind.hash_password_with_salt(typed.0.as_bytes(), &[7; 16]).expect("hashes").to_string();
        let verdict = passwords(&today).verify(&typed, Some(&stored)).await.expect("verifies");
        assert_eq!(verdict, Verdict::Right { rehash: true });
    }

    #[tokio::test]
    async fn what_is_no_hash_is_a_fault_and_not_a_wrong_password() {
        let typed = password("an ordinary phrase");
        for stored in ["", "plain text", "$argon2id$v=19$m=1,t=0,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAA", "$2b$10$abc"] {
            let error = passwords(&TINY).verify(&typed, Some(stored)).await.expect_err("cannot be read");
            assert!(matches!(error, PasswordFault::Stored(_)), "{stored}: {error:?}");
        }
        let bad = PasswordSettings { memory_kib: 1, ..TINY };
        assert!(matches!(Passwords::new(&bad, Ids::seeded(Clock::system(), 1)), Err(PasswordFault::Settings(_))));
    }

    #[test]
    fn those_who_wait_are_bounded_and_those_who_leave_keep_their_place_until_the_work_is_done() {
        let one_thread = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build();
        one_thread.expect("starts").block_on(async {
            let passwords = passwords(&TINY);
            let typed = password("an ordinary phrase");
            let (open, gate) = std::sync::mpsc::channel::<()>();
            let gate = tokio::task::spawn_blocking(move || gate.recv());
            assert!(passwords.hash(&typed).now_or_never().is_none(), "begins, and its caller goes away");
            assert_eq!(passwords.turns.available_permits(), 0, "the work holds its turn");
            let mut waiting: Vec<_> = (0..QUEUE).map(|_| Box::pin(passwords.verify(&typed, None))).collect();
            assert!(waiting.iter_mut().all(|waiting| waiting.now_or_never().is_none()));
            assert!(matches!(passwords.hash(&typed).await, Err(PasswordFault::Busy)));
            assert!(matches!(passwords.verify(&typed, None).await, Err(PasswordFault::Busy)));
            open.send(()).expect("is awaited");
            gate.await.expect("ends").expect("is told");
            for waiting in waiting {
                assert_eq!(waiting.await.expect("verifies"), Verdict::Wrong);
            }
            assert!(passwords.hash(&typed).await.is_ok());
        });
    }
}
