//! The table of a job's states, step by step, and who is shown a job.

use super::*;
use crate::{
    auth::actor::{Principal, Roles},
    clock::Clock,
    ids::Ids,
};

/// A job and the people around it.
struct Cast {
    now: Timestamp,
    claimant: UserId,
    draft: Job,
}

fn cast() -> Cast {
    let (ids, now) = (Ids::seeded(Clock::system(), 5), Clock::system().now());
    let draft = Job::draft(ids.next(), ids.next(), terms("Logo"), now);
    Cast { now, claimant: ids.next(), draft }
}

fn terms(title: &str) -> Terms {
    Terms { title: title.into(), description: "A logo".into(), budget: Money::from_minor(1), deadline: None }
}

impl Cast {
    /// The job in each of its statuses, as a row would have it.
    fn in_each_status(&self) -> Vec<Job> {
        let each = |status: &JobStatus| {
            let claimed =
                matches!(status, JobStatus::Claimed | JobStatus::InReview | JobStatus::Disputed | JobStatus::Completed);
            let record = JobRecord {
                status: *status,
                posted_at: (*status != JobStatus::Draft).then_some(self.now),
                claimant_id: claimed.then_some(self.claimant),
                ..self.draft.clone().into()
            };
            Job::try_from(record).expect("has what it needs")
        };
        JobStatus::ALL.iter().map(each).collect()
    }
}

/// A step, and the status that it leads to from each status; from all others it is refused.
type Move = (Step, fn(&Job, &Cast) -> Result<Job, InvalidTransition>, &'static [(JobStatus, JobStatus)]);

const TABLE: [Move; 14] = {
    use JobStatus::{Cancelled, Claimed, Completed, Draft, Expired, InReview, Open};

    [
        (Step::Publish, |job, cast| job.publish(cast.now), &[(Draft, Open)]),
        (Step::Update, |job, _| job.revise(terms("Another")), &[(Draft, Draft), (Open, Open)]),
        (Step::Cancel, |job, _| job.cancel(Some("Why")), &[(Draft, Cancelled), (Open, Cancelled)]),
        (Step::CancelAsAdmin, |job, _| job.cancel_as_admin(None), &[(Open, Cancelled)]),
        (Step::Claim, |job, cast| job.claim(cast.claimant), &[(Open, Claimed)]),
        (Step::Release, |job, _| job.release(), &[(Claimed, Open)]),
        (Step::Submit, |job, _| job.submit(), &[(Claimed, InReview), (InReview, InReview)]),
        (Step::RequestRevision, |job, _| job.request_revision(), &[(InReview, Claimed)]),
        (Step::Approve, |job, _| job.approve(), &[(InReview, Completed)]),
        (Step::Expire, |job, _| job.expire(), &[(Open, Expired)]),
        (Step::Lapse, |job, _| job.lapse(), &[(Claimed, Open)]),
        (Step::Intervene, |job, _| job.reopen(), &[(Claimed, Open), (InReview, Open)]),
        (Step::Intervene, |job, _| job.refund("Why"), &[(Claimed, Cancelled), (InReview, Cancelled)]),
        (Step::Intervene, |job, _| job.pay(), &[(Claimed, Completed), (InReview, Completed)]),
    ]
};

#[test]
fn each_step_leads_where_the_table_says_and_is_refused_elsewhere() {
    let cast = cast();
    for (step, walk, table) in TABLE {
        for before in cast.in_each_status() {
            let (from, listed) = (before.status(), table.iter().find(|(from, _)| *from == before.status()));
            let after = walk(&before, &cast).map(|after| after.status());
            assert_eq!(after, listed.map(|(_, to)| *to).ok_or(InvalidTransition { from, step }), "{step:?}");
            assert_eq!(step.works_from(from), listed.is_some(), "{step:?} from {from:?}");
            assert_eq!(before.allows(step).is_ok(), listed.is_some());
        }
    }
}

#[test]
fn a_state_takes_its_data_along_and_leaves_the_rest_behind() {
    let cast = cast();
    let posted = cast.draft.publish(cast.now).expect("a draft");
    assert_eq!((posted.posted_at(), posted.claimant()), (Some(cast.now), None));
    let claimed = posted.clone().withheld_if(true).claim(cast.claimant).expect("open");
    assert_eq!((claimed.posted_at(), claimed.claimant()), (Some(cast.now), Some(cast.claimant)));
    let reviewed = claimed.submit().expect("claimed");
    assert_eq!(reviewed.submit().expect("in review").claimant(), Some(cast.claimant));
    assert_eq!(reviewed.approve().expect("in review").claimant(), Some(cast.claimant));
    let open = claimed.release().expect("claimed");
    assert_eq!((open.claimant(), open.posted_at(), open.is_withheld()), (None, Some(cast.now), false));
    let refunded = reviewed.refund("Stuck").expect("in review");
    assert_eq!((refunded.claimant(), refunded.cancel_reason()), (Some(cast.claimant), Some("Stuck")));
    let dropped = cast.draft.cancel(Some("Why")).expect("a draft");
    assert_eq!((dropped.posted_at(), dropped.cancel_reason()), (None, Some("Why")));
    let next = open.succeeding(&claimed, cast.now);
    assert_eq!((next.version, next.updated_at), (claimed.version + 1, cast.now));
}

#[test]
fn a_record_that_lacks_what_its_status_needs_is_no_job() {
    let cast = cast();
    for job in cast.in_each_status() {
        let record = JobRecord::from(job.clone());
        let json = serde_json::to_string(&job).expect("JSON");
        assert_eq!(json, serde_json::to_string(&record).expect("JSON"), "an event keeps the flat form");
        assert_eq!(serde_json::from_str::<Job>(&json).expect("reads back"), job);
        if job.claimant().is_some() {
            Job::try_from(JobRecord { claimant_id: None, ..record.clone() }).expect_err("nobody holds it");
        }
        if !matches!(job.status(), JobStatus::Draft | JobStatus::Cancelled) {
            Job::try_from(JobRecord { posted_at: None, ..record }).expect_err("it was never posted");
        }
    }
}

#[test]
fn drafts_and_private_fields_are_shown_to_their_parties_alone() {
    let ids = Ids::seeded(Clock::system(), 5);
    let now = Clock::system().now();
    let user = |roles| {
        let (user, session) = (ids.next(), ids.next());
        (user, Actor::User(Principal { user, session, roles, expires_at: now, commits: None }))
    };
    let (client_id, client) = user(Roles { client: true, freelancer: true, admin: false });
    let (claimant_id, claimant) = user(Roles { freelancer: true, ..Roles::default() });
    let (_, stranger) = user(Roles { client: true, freelancer: true, admin: false });
    let (_, admin) = user(Roles { admin: true, ..Roles::default() });
    let draft = Job::draft(ids.next(), client_id, terms("Logo"), now);
    let sees = |job: &Job| [client, claimant, stranger, admin, Actor::Anonymous].map(|actor| job.is_visible_to(&actor));
    assert_eq!(sees(&draft), [true, false, false, true, false]);
    let job = draft.publish(now).expect("a draft");
    assert_eq!(sees(&job), [true; 5]);
    assert!(!job.can_be_claimed_by(&client, now), "nobody claims their own job, whatever their roles");
    assert!(job.can_be_claimed_by(&claimant, now) && !job.can_be_claimed_by(&admin, now));
    let late = job.revise(Terms { deadline: Some(now), ..terms("Logo") }).expect("open");
    assert!(!late.can_be_claimed_by(&claimant, now), "a deadline is the first moment that is too late");
    assert!(late.can_be_claimed_by(&claimant, now - chrono::TimeDelta::milliseconds(1)));
    let withheld = job.clone().withheld_if(true);
    assert_eq!(sees(&withheld), [true, false, false, true, false]);
    assert!(!withheld.can_be_claimed_by(&claimant, now));
    let ended = withheld.cancel(None).expect("open");
    assert_eq!(sees(&ended), [true; 5], "what is over is kept from nobody");
    let claimed = job.claim(claimant_id).expect("open");
    let private = [client, claimant, stranger, admin].map(|actor| claimed.shows_private_fields_to(&actor));
    assert_eq!(private, [true, true, false, true]);
}
