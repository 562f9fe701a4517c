//! Every mutation from every state of a job: the moves of the table in `domain.md` and no others.
//!
//! A move that the table has leads to its state, raises each version by one and records the table's events; every
//! other pair is refused with the right error and leaves nothing behind. Each [`Scene`] has people of its own, so that
//! balances and counts are absolute.

mod guards;
mod scene;

use serde_json::{Value, json};

use crate::{on_both, support::footprint::footprint};
use scene::Scene;

/// A state of a job, and which claim and deliverable its parties may name there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Draft,
    Open,
    /// OPEN again: the claim was released after a revision was asked for.
    Reopened,
    Claimed,
    /// CLAIMED by somebody else after that, while the first freelancer still knows the released claim's ids.
    ClaimedAnew,
    /// CLAIMED: work came and was sent back.
    Revised,
    InReview,
    Completed,
    /// CANCELLED after a claim was released.
    Cancelled,
    CancelledDraft,
}

/// A mutation by the person it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Publish,
    Retitle,
    Raise,
    Lower,
    Cancel,
    CancelAsAdmin,
    Claim,
    Release,
    Submit,
    RequestRevision,
    Approve,
    Reopen,
    Refund,
    Pay,
}

use Stage::{Cancelled, CancelledDraft, Claimed, ClaimedAnew, Completed, Draft, InReview, Open, Reopened, Revised};
use Step::{
    Approve, Cancel, CancelAsAdmin, Claim, Lower, Pay, Publish, Raise, Refund, Release, Reopen, RequestRevision,
    Retitle, Submit,
};

const STAGES: [Stage; 10] =
    [Draft, Open, Reopened, Claimed, ClaimedAnew, Revised, InReview, Completed, Cancelled, CancelledDraft];
const STEPS: [Step; 14] = [
    Publish,
    Retitle,
    Raise,
    Lower,
    Cancel,
    CancelAsAdmin,
    Claim,
    Release,
    Submit,
    RequestRevision,
    Approve,
    Reopen,
    Refund,
    Pay,
];

/// A line of the table: the mutations, from where, to which status of the job and of the claim (empty: it stays as it
/// is; what its two sides hear of it follows from that), the job's events, what moves in wallets in minor units, who is
/// told what, and afterwards Ada's available and escrow and Ben's available.
type Move = (
    &'static [Step],
    &'static [Stage],
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    [&'static str; 3],
);

const NONE: [&str; 3] = ["10000.00", "0.00", "0.00"];
const HELD: [&str; 3] = ["9900.00", "100.00", "0.00"];
const PAID: [&str; 3] = ["9900.00", "0.00", "95.00"];

/// The table of `domain.md`. The job costs 100.00, Ada has 10,000.00, the fee is five per cent.
#[rustfmt::skip]
const TABLE: [Move; 20] = [
    (&[Publish], &[Draft], "OPEN", "", "posted", "ada ESCROW_HOLD -10000", "", HELD),
    (&[Retitle, Raise, Lower], &[Draft], "DRAFT", "", "draft updated DETAILS (private)", "", "", NONE),
    (&[Retitle], &[Open, Reopened], "OPEN", "", "updated DETAILS", "", "", HELD),
    (&[Raise], &[Open, Reopened], "OPEN", "", "updated DETAILS ESCROW", "ada ESCROW_HOLD -2000", "",
        ["9880.00", "120.00", "0.00"]),
    (&[Lower], &[Open, Reopened], "OPEN", "", "updated DETAILS ESCROW", "ada ESCROW_REFUND 2000", "",
        ["9920.00", "80.00", "0.00"]),
    (&[Cancel], &[Draft], "CANCELLED", "", "draft updated STATUS from DRAFT (private)", "", "", NONE),
    (&[Cancel], &[Open, Reopened], "CANCELLED", "", "updated STATUS ESCROW from OPEN", "ada ESCROW_REFUND 10000", "", NONE),
    (&[CancelAsAdmin], &[Open, Reopened], "CANCELLED", "", "updated STATUS ESCROW from OPEN", "ada ESCROW_REFUND 10000",
        "ada JOB_CANCELLED", NONE),
    (&[Claim], &[Open, Reopened], "CLAIMED", "", "updated STATUS CLAIM from OPEN", "", "ada JOB_CLAIMED", HELD),
    (&[Release], &[Claimed, Revised], "OPEN", "RELEASED", "updated STATUS CLAIM from CLAIMED; posted", "",
        "ada CLAIM_RELEASED", HELD),
    (&[Submit], &[Claimed, Revised], "IN_REVIEW", "IN_REVIEW", "updated STATUS CLAIM DELIVERABLE from CLAIMED", "",
        "ada WORK_SUBMITTED", HELD),
    (&[Submit], &[InReview], "IN_REVIEW", "IN_REVIEW", "updated CLAIM DELIVERABLE (private)", "",
        "ada WORK_SUBMITTED", HELD),
    (&[RequestRevision], &[InReview], "CLAIMED", "REVISION_REQUESTED",
        "updated STATUS CLAIM DELIVERABLE from IN_REVIEW", "", "ben REVISION_REQUESTED", HELD),
    (&[Approve], &[InReview], "COMPLETED", "APPROVED", "updated STATUS CLAIM DELIVERABLE ESCROW from IN_REVIEW",
        "ada ESCROW_RELEASE 0; ben ESCROW_RELEASE 9500", "ada WORK_APPROVED; ben WORK_APPROVED; ben PAYMENT_RECEIVED", PAID),
    (&[Reopen], &[Claimed, Revised], "OPEN", "RELEASED", "updated STATUS CLAIM from CLAIMED; posted", "",
        "ada CLAIM_RELEASED; ben CLAIM_RELEASED", HELD),
    (&[Reopen], &[InReview], "OPEN", "RELEASED", "updated STATUS CLAIM DELIVERABLE from IN_REVIEW; posted", "",
        "ada CLAIM_RELEASED; ben CLAIM_RELEASED", HELD),
    (&[Refund], &[Claimed, Revised], "CANCELLED", "CANCELLED", "updated STATUS CLAIM ESCROW from CLAIMED",
        "ada ESCROW_REFUND 10000", "ada JOB_CANCELLED; ben JOB_CANCELLED", NONE),
    (&[Refund], &[InReview], "CANCELLED", "CANCELLED", "updated STATUS CLAIM DELIVERABLE ESCROW from IN_REVIEW",
        "ada ESCROW_REFUND 10000", "ada JOB_CANCELLED; ben JOB_CANCELLED", NONE),
    (&[Pay], &[Claimed, Revised], "COMPLETED", "APPROVED", "updated STATUS CLAIM ESCROW from CLAIMED",
        "ada ESCROW_RELEASE 0; ben ESCROW_RELEASE 9500", "ada WORK_APPROVED; ben WORK_APPROVED; ben PAYMENT_RECEIVED", PAID),
    (&[Pay], &[InReview], "COMPLETED", "APPROVED", "updated STATUS CLAIM DELIVERABLE ESCROW from IN_REVIEW",
        "ada ESCROW_RELEASE 0; ben ESCROW_RELEASE 9500", "ada WORK_APPROVED; ben WORK_APPROVED; ben PAYMENT_RECEIVED", PAID),
];

/// An admin's step that ends the claim of the one who claimed anew: as from CLAIMED, and told of other people than the
/// table names.
fn is_of_the_next(step: Step, stage: Stage) -> bool {
    stage == ClaimedAnew && matches!(step, Reopen | Refund | Pay)
}

/// Pairs outside the table that can be tried: of 140, 33 are in the table, 3 are of other people, and in 14 there is no id
/// yet to name.
const REFUSED: usize = 90;

/// From where the mutation works, as its refusals say it.
fn allowed(step: Step) -> &'static [&'static str] {
    match step {
        Publish => &["DRAFT"],
        Retitle | Raise | Lower | Cancel => &["DRAFT", "OPEN"],
        CancelAsAdmin => &["OPEN"],
        Claim => &[],
        Release => &["CLAIMED"],
        Submit | Reopen | Refund | Pay => &["CLAIMED", "IN_REVIEW"],
        RequestRevision | Approve => &["IN_REVIEW"],
    }
}

on_both! {
    async fn every_move_of_the_table_does_all_that_it_says_and_no_more(app: TestApp) {
        for (steps, stages, job_status, claim_status, job, wallets, told, balances) in TABLE {
            for (step, stage) in steps.iter().flat_map(|step| stages.iter().map(move |stage| (*step, *stage))) {
                let scene = Scene::at(&app, stage).await;
                let (job_before, claim_before) = scene.look().await;
                let last = scene.last_event().await;
                scene.take(step).await.expect("ids to name").good();

                let (job_after, claim_after) = scene.look().await;
                let mut told_of_claim = String::new();
                let version = job_before["version"].as_i64().expect("a version") + 1;
                let context = format!("{step:?} from {stage:?}");
                assert_eq!(job_after, json!({ "id": scene.job, "status": job_status, "version": version }), "{context}");
                if claim_status.is_empty() {
                    assert_eq!(claim_after, claim_before, "{context}");
                } else {
                    assert_eq!(claim_after["status"], claim_status, "{context}");
                    let version = claim_before["version"].as_i64().expect("a version") + 1;
                    assert_eq!(claim_after["version"], version, "{context}");
                    told_of_claim = format!("{claim_status} {version}");
                    let previous = claim_before["status"].as_str().expect("a status");
                    if previous != claim_status {
                        told_of_claim = format!("{told_of_claim} from {previous}");
                    }
                }
                if step == Claim {
                    "ACTIVE 1".clone_into(&mut told_of_claim);
                }
                let recorded = scene.recorded(last, version).await.map(|lines| lines.join("; "));
                assert_eq!(recorded, [job, &told_of_claim, wallets, told], "{context}");
                assert_eq!(scene.balances().await, balances, "{context}");
                let completed = i64::from(job_status == "COMPLETED");
                assert_eq!(scene.completed_jobs().await, [completed; 2], "{context}");
            }
        }
    }

    async fn every_other_mutation_is_refused_and_leaves_nothing_behind(app: TestApp) {
        let mut refused = 0;
        for stage in STAGES {
            let scene = Scene::at(&app, stage).await;
            let (job, claim) = scene.look().await;
            app.admin().await;
            let before = footprint(&app).await;
            for step in STEPS {
                let known = TABLE.iter().any(|(steps, stages, ..)| steps.contains(&step) && stages.contains(&stage));
                if known || is_of_the_next(step, stage) {
                    continue;
                }
                let Some(outcome) = scene.take(step).await else { continue };
                let context = format!("{step:?} from {stage:?}");
                if step != Claim {
                    let error = outcome.refused("INVALID_TRANSITION");
                    assert_eq!(error["__typename"], "InvalidTransitionError", "{context}");
                    assert_eq!(error["allowed"], json!(allowed(step)), "{context}");
                    assert_eq!(error["job"], job, "{context}: it carries the job as it is");
                    let of_claim = matches!(step, Release | Submit | RequestRevision | Approve);
                    assert_eq!(error["claim"], if of_claim { claim.clone() } else { Value::Null }, "{context}");
                } else if matches!(stage, Draft | CancelledDraft) {
                    let error = outcome.refused("NOT_FOUND");
                    assert_eq!(error["path"], json!(["input", "jobId"]), "{context}: it does not exist for others");
                } else {
                    let error = outcome.refused("JOB_NOT_CLAIMABLE");
                    assert_eq!(error["__typename"], "JobNotClaimableError", "{context}");
                    assert_eq!(error["job"], job, "{context}: it carries the job as it is");
                }
                assert_eq!(footprint(&app).await, before, "{context} left something behind");
                refused += 1;
            }
        }
        assert_eq!(refused, REFUSED, "pairs that can be tried and are not in the table");
    }
}
