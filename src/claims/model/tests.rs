//! The tables of the states of claims and of submissions, step by step.

use chrono::TimeDelta;

use super::*;
use crate::{clock::Clock, ids::Ids};

fn claim() -> (Claim, Timestamp) {
    let (ids, now) = (Ids::seeded(Clock::system(), 9), Clock::system().now());
    (Claim::new(ids.next(), (ids.next(), ids.next()), 500, now, now + TimeDelta::hours(72)), now)
}

/// The claim in each of its statuses, as a row would have it.
fn in_each_status(claim: &Claim, now: Timestamp) -> Vec<Claim> {
    let each = |status: &ClaimStatus| {
        let ended_at = (!status.is_live()).then_some(now);
        let record = ClaimRecord { status: *status, ended_at, ..claim.clone().into() };
        Claim::try_from(record).expect("has what it needs")
    };
    ClaimStatus::ALL.iter().map(each).collect()
}

/// A step, the statuses from which it works and the one that it leads to; from all others it is refused.
type Move =
    (fn(&Claim, Timestamp) -> Result<Claim, InvalidTransition<ClaimStatus>>, &'static [ClaimStatus], ClaimStatus);

const TABLE: [Move; 7] = {
    use ClaimStatus::{Active, Approved, Cancelled, InReview, Released, RevisionRequested};

    const WORKED_ON: &[ClaimStatus] = &[Active, InReview, RevisionRequested];
    [
        (|claim, now| claim.submit(now), WORKED_ON, InReview),
        (|claim, _| claim.request_revision(), &[InReview], RevisionRequested),
        (|claim, now| claim.approve(now), &[InReview], Approved),
        (|claim, now| claim.release(now, None), &[Active, RevisionRequested], Released),
        (|claim, now| claim.reopen(now, "Why"), WORKED_ON, Released),
        (|claim, now| claim.refund(now, "Why"), WORKED_ON, Cancelled),
        (|claim, now| claim.pay(now, "Why"), WORKED_ON, Approved),
    ]
};

#[test]
fn each_step_of_a_claim_leads_where_the_table_says_and_is_refused_elsewhere() {
    let (claim, now) = claim();
    for (walk, works_from, to) in TABLE {
        for before in in_each_status(&claim, now) {
            let from = before.status();
            match walk(&before, now) {
                Ok(after) => {
                    assert!(works_from.contains(&from), "{from:?} -> {to:?}");
                    assert_eq!((after.status(), after.version), (to, before.version + 1));
                    assert_eq!(after.ended_at().is_some(), !to.is_live());
                }
                Err(refused) => {
                    assert!(!works_from.contains(&from), "{from:?} -> {to:?}");
                    assert_eq!(refused, InvalidTransition { from, to });
                }
            }
        }
    }
}

#[test]
fn a_claim_carries_what_its_status_has_and_nothing_else() {
    let (claim, now) = claim();
    let lapses = claim.expires_at();
    assert!(lapses.is_some());
    let reviewed = claim.submit(now).expect("active");
    assert_eq!((reviewed.expires_at(), reviewed.auto_approve_at()), (None, Some(now)));
    let again = reviewed.request_revision().expect("in review");
    assert_eq!((again.auto_approve_at(), again.ended_at()), (None, None));
    let given_back = claim.release(now, Some("Ill")).expect("active");
    assert_eq!((given_back.expires_at(), given_back.ended_at()), (lapses, Some(now)));
    assert_eq!(given_back.end_reason(), Some("Ill"));
    let ended = claim.refund(now, "Stuck").expect("active");
    assert_eq!((ended.expires_at(), ended.end_reason()), (None, Some("Stuck")));
    for claim in in_each_status(&claim, now) {
        let record = ClaimRecord::from(claim.clone());
        let json = serde_json::to_string(&claim).expect("JSON");
        assert_eq!(json, serde_json::to_string(&record).expect("JSON"), "an event keeps the flat form");
        assert_eq!(serde_json::from_str::<Claim>(&json).expect("reads back"), claim);
        if !claim.status().is_live() {
            Claim::try_from(ClaimRecord { ended_at: None, ..record }).expect_err("it never ended");
        }
    }
}

/// A decision on a submission.
type Judge = fn(&Deliverable, Timestamp) -> Result<Deliverable, InvalidTransition<DeliverableStatus>>;

#[test]
fn only_what_waits_is_reviewed() {
    let (claim, now) = claim();
    let ids = Ids::seeded(Clock::system(), 10);
    let work = Deliverable::after(None, ids.next(), claim.id, "Done".into(), now);
    let next = Deliverable::after(Some(&work), ids.next(), claim.id, "Done again".into(), now);
    assert_eq!((work.number, next.number), (1, 2));
    let reviews: [Judge; 3] =
        [|work, now| work.approve(now), |work, now| work.send_back(now, "Bigger"), |work, _| work.supersede()];
    for review in reviews {
        let done = review(&work, now).expect("it waits");
        for again in reviews {
            let refused = again(&done, now).expect_err("it was reviewed");
            assert_eq!(refused.from, done.status());
        }
        assert_eq!(done.reviewed_at().is_some(), done.status() != DeliverableStatus::Superseded);
        assert_eq!(done.revision_note(), (done.status() == DeliverableStatus::RevisionRequested).then_some("Bigger"));
        let record = DeliverableRecord::from(done.clone());
        assert_eq!(Deliverable::from(record), done);
    }
}
