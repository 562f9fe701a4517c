//! Failures that are counted, waited for, taken back and forgotten.

use chrono::DateTime;

use super::*;

fn attempts() -> (Attempts, Clock) {
    let clock = Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).expect("valid"));
    (Attempts::new(clock.clone(), AttemptSettings::default()), clock)
}

fn account(name: &str) -> AttemptKey {
    AttemptKey::account(&format!("{name}@example.org"))
}

fn address(text: &str) -> AttemptKey {
    AttemptKey::Address(text.parse().expect("is an address"))
}

fn fail(attempts: &Attempts, keys: &[AttemptKey]) -> Result<(), TooMany> {
    attempts.begin(keys).map(Attempt::failed)
}

/// Fails as often as is allowed without waiting, and says how often and how long the wait is then.
fn exhaust(attempts: &Attempts, keys: &[AttemptKey]) -> (usize, Duration) {
    let failures = std::iter::repeat_with(|| fail(attempts, keys)).take_while(Result::is_ok).count();
    (failures, wait(attempts, keys))
}

fn wait(attempts: &Attempts, keys: &[AttemptKey]) -> Duration {
    attempts.begin(keys).expect_err("must wait").retry_after
}

#[test]
fn waits_double_up_to_a_quarter_of_an_hour_and_are_forgotten_after_an_hour() {
    let (attempts, clock) = attempts();
    let ada = [account("ada")];
    assert_eq!(exhaust(&attempts, &ada), (6, Duration::from_secs(1)), "5 are free, the 6th costs a second");
    for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
        let delay = Duration::from_secs(seconds);
        assert_eq!(wait(&attempts, &ada), delay);
        clock.advance(delay.saturating_sub(Duration::from_millis(1)));
        assert_eq!(wait(&attempts, &ada), Duration::from_millis(1));
        clock.advance(Duration::from_millis(1));
        fail(&attempts, &ada).expect("has waited");
    }
    clock.advance(Duration::from_hours(1));
    assert_eq!(exhaust(&attempts, &ada), (6, Duration::from_secs(1)));
}

#[test]
fn parallel_guesses_see_each_other() {
    let (attempts, _clock) = attempts();
    let keys = [account("ada"), address("192.0.2.1")];
    let barrier = std::sync::Barrier::new(32);
    let admitted: Vec<Option<Attempt>> = std::thread::scope(|scope| {
        let guess = || (barrier.wait(), attempts.begin(&keys).ok()).1;
        let guesses: Vec<_> = (0..32).map(|_| scope.spawn(guess)).collect();
        guesses.into_iter().map(|thread| thread.join().expect("ends")).collect()
    });
    assert_eq!(admitted.iter().flatten().count(), 6);
}

#[test]
fn a_success_clears_the_account_and_not_the_address() {
    let (attempts, clock) = attempts();
    let (ada, mallory, home) = (account("ada"), account("mallory"), address("192.0.2.1"));
    (0..5).for_each(|_| fail(&attempts, &[ada, home]).expect("is free"));
    attempts.begin(&[ada, home]).expect("is free").succeeded();
    assert_eq!(exhaust(&attempts, &[ada]).0, 6, "the account begins anew");
    // Signing in to an account of one's own between guesses buys none.
    for guess in 6..=21 {
        attempts.begin(&[mallory, home]).expect("is free").succeeded();
        fail(&attempts, &[home]).unwrap_or_else(|_| panic!("guess {guess} of 21 goes through"));
    }
    assert_eq!(wait(&attempts, &[mallory, home]), Duration::from_secs(1));
    // And once the wait is over, a success does not start it again for the others behind the address.
    clock.advance(Duration::from_secs(1));
    attempts.begin(&[mallory, home]).expect("has waited").succeeded();
    fail(&attempts, &[home]).expect("has waited");
    assert_eq!(wait(&attempts, &[home]), Duration::from_secs(2));
}

#[tokio::test]
async fn nodes_count_together() {
    let start = DateTime::from_timestamp(1_800_000_000, 0).expect("valid");
    let [one, two] = [(), ()].map(|()| Attempts::shared(Clock::manual(start), AttemptSettings::default()));
    let exchange = async |from: &Attempts, to: &Attempts| {
        from.said(100).await.into_iter().for_each(|word| to.hear(word));
    };
    let keys = [account("ada"), address("192.0.2.1")];
    (0..3).for_each(|_| fail(&one, &keys).expect("is free"));
    exchange(&one, &two).await;
    assert_eq!(exhaust(&two, &keys), (3, Duration::from_secs(1)), "5 are free on both together");
    exchange(&two, &one).await;
    assert_eq!(wait(&one, &keys), Duration::from_secs(1));
    // A success on one of them, once the wait is over, clears the account on the other, and not the address.
    let later = Clock::manual(start + TimeDelta::seconds(2));
    let [one, two] = [one, two].map(|attempts| Attempts { clock: later.clone(), ..attempts });
    one.begin(&keys).expect("has waited").succeeded();
    exchange(&one, &two).await;
    assert_eq!(exhaust(&two, &[account("ada")]).0, 6);
    let failures = two.lock().failures[&Key::Network(Network::of([192, 0, 2, 1].into()))].count;
    assert_eq!(failures, 6, "each failure counts once, and the success for none");
}

#[test]
fn what_cannot_be_guessed_is_counted_when_it_was_wrong() {
    let (attempts, clock) = attempts();
    let home = [address("192.0.2.1")];
    for _ in 0..100 {
        attempts.check(&home).expect("nothing has failed");
    }
    for _ in 0..=20 {
        attempts.check(&home).expect("is free");
        attempts.count_failure(&home);
    }
    assert_eq!(attempts.check(&home).expect_err("must wait").retry_after, Duration::from_secs(1));
    assert_eq!(wait(&attempts, &home), Duration::from_secs(1), "the same count");
    clock.advance(Duration::from_secs(1));
    attempts.check(&home).expect("has waited");
}

#[test]
fn an_attempt_of_which_nothing_came_is_taken_back_alone() {
    let (attempts, _clock) = attempts();
    let ada = [account("ada")];
    for _ in 0..100 {
        drop(attempts.begin(&ada).expect("is free"));
    }
    let late = attempts.begin(&ada).expect("is free");
    attempts.begin(&ada).expect("is free").succeeded();
    fail(&attempts, &ada).expect("is free");
    drop(late);
    assert_eq!(exhaust(&attempts, &ada).0, 5, "the failure after the success still counts");
}

#[test]
fn the_longest_wait_is_told_and_a_refused_attempt_counts_for_nobody() {
    let (attempts, clock) = attempts();
    let (ada, ben, home) = (account("ada"), account("ben"), address("192.0.2.1"));
    exhaust(&attempts, &[ada]);
    clock.advance(Duration::from_secs(1));
    exhaust(&attempts, &[ada]); // Once more: two seconds.
    exhaust(&attempts, &[home]);
    for _ in 0..100 {
        assert_eq!(wait(&attempts, &[home, ada, ben]), Duration::from_secs(2));
    }
    assert_eq!(exhaust(&attempts, &[ben]).0, 6);
}

#[test]
fn one_subscriber_is_one_address() {
    let (attempts, _clock) = attempts();
    exhaust(&attempts, &[address("2001:db8:0:1::1"), address("2001:db8:0:1::2")]);
    assert!(attempts.begin(&[address("2001:db8:0:1:ffff::9")]).is_err());
    assert!(attempts.begin(&[address("2001:db8:0:2::1")]).is_ok());
    // A whole /48 has four times as much, and a /56 twice.
    let (attempts, _clock) = super::tests::attempts();
    let failures = |from: u16| {
        let nets = (from..from + 16).map(|net| address(&format!("2001:db8:0:{net:x}::1")));
        nets.map(|net| exhaust(&attempts, &[net]).0).sum::<usize>()
    };
    assert_eq!((failures(0x100), failures(0x200), failures(0x300)), (41, 40, 0));
    assert_eq!(exhaust(&attempts, &[address("::ffff:192.0.2.1")]).0, 21);
    assert!(attempts.begin(&[address("192.0.2.1")]).is_err());
    assert!(attempts.begin(&[address("::ffff:192.0.2.2")]).is_ok());
}

#[test]
fn a_flood_of_new_keys_is_bounded_and_does_not_wash_out_an_attack() {
    let attempts = Attempts::new(attempts().1, AttemptSettings { capacity: 1_000, ..AttemptSettings::default() });
    let ada = [account("ada")];
    exhaust(&attempts, &ada);
    for (pause, kept) in [(0, true), (60, false)] {
        attempts.clock.advance(Duration::from_mins(pause));
        for stranger in 0..10_000 {
            fail(&attempts, &[account(&stranger.to_string())]).expect("is free");
            assert!(attempts.lock().failures.len() <= 1_000);
        }
        assert_eq!(attempts.lock().failures.contains_key(&distinct(&ada)[0].0), kept, "until it is forgotten");
    }
}

#[test]
fn a_clock_turned_back_keeps_nobody_waiting() {
    let (attempts, clock) = attempts();
    exhaust(&attempts, &[account("ada")]);
    let attempts = Attempts { clock: Clock::manual(clock.now() - TimeDelta::days(365)), ..attempts };
    assert_eq!(wait(&attempts, &[account("ada")]), Duration::from_secs(1));
    attempts.clock.advance(Duration::from_secs(1));
    assert!(attempts.begin(&[account("ada")]).is_ok());
}
