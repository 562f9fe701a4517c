//! The whole main story: deposit, post, race for the claim, deliver, revise, approve, with all notifications.

use serde_json::json;

use crate::{
    on_both,
    support::people::{new_job, text},
};

on_both! {
    async fn from_deposit_to_payment(app: TestApp) {
        let ada = app.client("Ada").await;
        let [ben, cem, dee] = [app.freelancer("Ben").await, app.freelancer("Cem").await, app.freelancer("Dee").await];

        let public = app.socket(None).await;
        let feed = public.subscribe("subscription { jobPosted { cursor job { id title version escrow { amount } } } }", json!({}));
        let ada_socket = ada.socket().await;
        let inbox = ada_socket.subscribe("subscription { notificationReceived { notification { kind title } } }", json!({}));
        let wallet = ada_socket.subscribe(
            "subscription { walletUpdated { wallet { version available { amount } inEscrow { amount } } transaction { type amount { amount } } } }",
            json!({}),
        );
        app.listening(3).await;

        let posted = ada.post(new_job("Port it to Rust", "1000.00")).await.good();
        assert_eq!(posted["wallet"], json!({ "available": { "amount": "9000.00" }, "inEscrow": { "amount": "1000.00" } }));
        let job = text(&posted, "/job/id");
        let event = public.next(&feed).await;
        assert_eq!(event["data"]["jobPosted"]["job"], json!({ "id": job, "title": "Port it to Rust", "version": 1, "escrow": null }));
        let event = ada_socket.next(&wallet).await;
        assert_eq!(event["data"]["walletUpdated"]["wallet"]["inEscrow"]["amount"], "1000.00");
        assert_eq!(event["data"]["walletUpdated"]["transaction"], json!({ "type": "ESCROW_HOLD", "amount": { "amount": "-1000.00" } }));

        let (one, two, three) = tokio::join!(ben.claim(&job), cem.claim(&job), dee.claim(&job));
        let outcomes = [(&ben, one), (&cem, two), (&dee, three)];
        assert_eq!(outcomes.iter().filter(|(_, outcome)| outcome.is_good()).count(), 1, "exactly one wins");
        let mut winner = None;
        for (freelancer, outcome) in outcomes {
            if outcome.is_good() {
                winner = Some((freelancer, text(&outcome.good(), "/claim/id")));
            } else {
                outcome.refused("JOB_NOT_CLAIMABLE");
            }
        }
        let (winner, claim) = winner.expect("a winner");
        assert_eq!(ada_socket.next(&inbox).await["data"]["notificationReceived"]["notification"]["kind"], "JOB_CLAIMED");

        let first = text(&winner.submit(&claim).await.good(), "/deliverable/id");
        ada.request_revision(&first).await.good();
        let second = winner.submit(&claim).await.good();
        assert_eq!(second["deliverable"]["number"], 2);
        let approved = ada.approve(&text(&second, "/deliverable/id")).await.good();
        assert_eq!(approved["job"]["status"], "COMPLETED");
        assert_eq!(approved["wallet"], json!({ "available": { "amount": "9000.00" }, "inEscrow": { "amount": "0.00" } }));
        assert_eq!(approved["transaction"], json!({ "type": "ESCROW_RELEASE", "amount": { "amount": "0.00" } }));
        assert_eq!(winner.balance().await, ["950.00", "0.00", "0.00", "0.00"], "five per cent stay with the platform");

        let release = ada_socket.next(&wallet).await;
        assert_eq!(release["data"]["walletUpdated"]["wallet"]["inEscrow"]["amount"], "0.00");
        for kind in ["WORK_SUBMITTED", "WORK_SUBMITTED", "WORK_APPROVED"] {
            assert_eq!(ada_socket.next(&inbox).await["data"]["notificationReceived"]["notification"]["kind"], kind);
        }
    }
}
