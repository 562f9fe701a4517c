//! Points that are spent and come back, of callers and of addresses.

use std::sync::{Arc, atomic::AtomicU64, atomic::Ordering};

use super::*;
use crate::{
    clock,
    graphql::{classify::code, limits::unpaid},
    ids::Ids,
};

/// A clock that stands until it is advanced.
struct FakeClock(Arc<AtomicU64>);

impl FakeClock {
    fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_nanos()).expect("short"), Ordering::Relaxed);
    }
}

fn budgets() -> (Budgets, FakeClock) {
    let clock = FakeClock(Arc::new(AtomicU64::new(1)));
    let now = Arc::clone(&clock.0);
    let now = move || Duration::from_nanos(now.load(Ordering::Relaxed));
    let settings = BudgetSettings { address: 25_000, ..BudgetSettings::default() };
    (Budgets::with_clock(settings, now), clock)
}

fn address(text: &str) -> Caller {
    Caller::Address(text.parse().expect("an address"))
}

#[test]
fn points_are_spent_and_come_back_evenly() {
    let (budgets, clock) = budgets();
    let ada = address("192.0.2.1");
    let budget = budgets.spend(ada, 400).expect("full");
    assert_eq!((budget.cost, budget.limit, budget.remaining), (400, 1_000, 600));
    assert_eq!(budget.reset_after, Duration::from_secs(24));
    assert_eq!(budgets.spend(ada, 600).expect("exactly the rest").remaining, 0);

    let Err(refused @ Refused::Spent { budget, retry_after }) = budgets.spend(ada, 100) else {
        panic!("nothing is left")
    };
    assert_eq!((budget.remaining, retry_after), (0, Duration::from_secs(6)));
    assert_eq!(code(&unpaid(&refused)), Some("RATE_LIMITED"));
    assert_eq!(unpaid(&refused).extensions.expect("some").get("retryAfterMs"), Some(&6_000.into()));

    clock.advance(Duration::from_secs(3));
    let Err(Refused::Spent { budget, retry_after }) = budgets.spend(ada, 100) else { panic!("half is back") };
    assert_eq!((budget.remaining, retry_after), (50, Duration::from_secs(3)));
    clock.advance(retry_after);
    assert_eq!(budgets.spend(ada, 100).expect("as promised").remaining, 0);
    assert_eq!(budgets.spend(address("192.0.2.2"), 1).expect("another caller").remaining, 999);
}

#[test]
fn nothing_is_free_and_some_things_are_never_affordable() {
    let (budgets, _) = budgets();
    assert_eq!(budgets.spend(address("192.0.2.1"), 0).expect("full").remaining, 999);
    let refused = budgets.spend(address("192.0.2.1"), 1_001).expect_err("more than all");
    assert_eq!(refused, Refused::TooExpensive { cost: 1_001, limit: 1_000 });
    assert_eq!(code(&unpaid(&refused)), Some("OPERATION_TOO_COMPLEX"));
    let user = Caller::User(Ids::seeded(clock::Clock::system(), 1).next());
    assert_eq!(budgets.spend(user, 1_001).expect("a larger budget").remaining, 3_999);
}

#[test]
fn addresses_of_one_subscriber_share_a_budget() {
    let (budgets, _) = budgets();
    assert_eq!(budgets.spend(address("2001:db8:1:2::1"), 10).expect("full").remaining, 990);
    assert_eq!(budgets.spend(address("2001:db8:1:2:ffff::9"), 10).expect("the same").remaining, 980);
    assert_eq!(budgets.spend(address("2001:db8:1:3::1"), 10).expect("another").remaining, 990);
    assert_eq!(budgets.spend(address("192.0.2.1"), 10).expect("full").remaining, 990);
    assert_eq!(budgets.spend(address("::ffff:192.0.2.1"), 10).expect("the same").remaining, 980);
}

#[test]
fn what_is_given_back_can_be_spent_again_and_never_fills_more_than_the_budget() {
    let (budgets, clock) = budgets();
    let ada = address("192.0.2.1");
    budgets.spend(ada, 900).expect("full");
    budgets.spend(ada, 200).expect_err("the most that it can cost must be there");
    let left = budgets.give_back(ada, 850);
    assert_eq!((left.remaining, left.reset_after), (950, Duration::from_secs(3)));
    clock.advance(Duration::from_mins(1));
    assert_eq!(budgets.give_back(ada, 500).remaining, 1_000);
    assert_eq!(budgets.spend(ada, 1_000).expect("a full budget").remaining, 0);
}

#[test]
fn a_full_budget_takes_no_memory() {
    let (budgets, clock) = budgets();
    for last in 0..=255 {
        let _ = budgets.spend(Caller::Address([192, 0, 2, last].into()), 1 + u32::from(last));
    }
    assert_eq!(budgets.known(), 512, "each with the ceiling of its address");
    clock.advance(Duration::from_secs(10));
    budgets.sweep();
    assert!((50..150).contains(&budgets.known()), "{}", budgets.known());
    clock.advance(Duration::from_mins(1));
    budgets.sweep();
    assert_eq!(budgets.known(), 0);
}

#[test]
fn an_address_has_a_ceiling_above_all_its_users() {
    assert_eq!(BudgetSettings::default().ceiling().get(), 26_000, "of five users and one without a token");
    let (budgets, clock) = budgets();
    let ids = Ids::seeded(clock::Clock::system(), 1);
    let at = |text: &str| Payer { caller: Caller::User(ids.next()), address: Some(text.parse().expect("an address")) };
    let home = "192.0.2.1";
    for _ in 0..5 {
        budgets.spend(at(home), 5_000).expect("five have all their points");
    }
    let newcomer = at(home);
    let Err(refused @ Refused::AddressSpent { budget, retry_after }) = budgets.spend(newcomer, 50) else {
        panic!("a sixth account brings no more")
    };
    assert_eq!((budget.remaining, budget.limit, retry_after), (0, 25_000, Duration::from_millis(120)));
    assert_eq!(code(&unpaid(&refused)), Some("RATE_LIMITED"));
    assert!(matches!(budgets.look(newcomer), Err(Refused::AddressSpent { .. })));
    assert!(matches!(budgets.spend(address(home), 1), Err(Refused::AddressSpent { .. })), "nor does no account");
    let elsewhere = Payer { address: Some([192, 0, 2, 2].into()), ..newcomer };
    assert_eq!(budgets.spend(elsewhere, 50).expect("nothing was taken").remaining, 4_950);
    budgets.give_back(Payer { caller: newcomer.caller, ..at(home) }, 50);
    assert_eq!(budgets.spend(newcomer, 50).expect("given back to the address, too").remaining, 4_950);
    clock.advance(Duration::from_mins(1));
    // A /56 has twice as much, however many of its /64 are used, and a /48 four times.
    let spend = |text: &str| budgets.spend(at(text), 5_000).is_ok();
    let full = |nets: &[u16], count: usize| {
        let through = |_: &usize| nets.iter().any(|net| spend(&format!("2001:db8:1:{net:x}::1")));
        (0..100).take_while(through).count() == count
    };
    assert!(full(&[0x100], 5) && full(&[0x101, 0x102, 0x103], 5) && full(&[0x200, 0x201], 10), "two /56");
    assert!(full(&[0x300, 0x400], 0), "a /48");
    assert!(spend("2001:db8:2::1"), "another one");
}

#[test]
fn what_was_done_already_is_charged_in_small_parts_and_leaves_a_tenth_for_operations() {
    let (budgets, clock) = budgets();
    let ada = address("192.0.2.1");
    for _ in 0..8_995 {
        assert_eq!(budgets.charge(ada, 100_000), None);
    }
    assert_eq!(budgets.charge(ada, 500_000), None);
    assert_eq!(budgets.charge(ada, 2_000_000), Some(Duration::from_millis(120)), "two of the last hundred points");
    assert_eq!(budgets.spend(ada, 98).expect("what is left is for operations").remaining, 0);
    assert_eq!(budgets.charge(ada, 1_000_000_000), Some(Duration::from_secs(66)), "a debt");
    clock.advance(Duration::from_secs(66));
    assert_eq!(budgets.charge(ada, 0), None, "as promised");
    budgets.charge(ada, u64::MAX);
    assert_eq!(budgets.charge(ada, 0), Some(Duration::from_secs(8 * 60 + 6)), "a debt has its limit");
}
