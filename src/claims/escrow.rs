//! What claims need of wallets: the money that is held for a job goes to its freelancer or back to its client.
//!
//! Called by the use cases of claims in their transactions, on a locked job. How much, the fee and the reference follow
//! from the job and its claim here, so that no use case names an amount.

use super::model::Claim;
use crate::{
    accounts::model::UserCard,
    db::{Db, Tx},
    error::InternalError,
    jobs::model::Job,
    money::Currency,
    wallet::{Wallets, model::Transaction},
};

/// The money that is held for claimed jobs.
#[derive(Clone, Debug)]
pub struct Escrow(Wallets);

impl Escrow {
    /// Held in these wallets.
    pub const fn new(wallets: Wallets) -> Self {
        Self(wallets)
    }

    /// The same on another view of the database.
    #[must_use]
    pub fn on(&self, db: &Db) -> Self {
        Self(self.0.on(db))
    }

    /// The currency that all of it is in.
    pub const fn currency(&self) -> &Currency {
        self.0.currency()
    }

    /// Gives the job's budget back to its client.
    pub async fn refund_in(&self, tx: &Tx, client: &UserCard, job: &Job) -> Result<(), InternalError> {
        self.0.refund_in(tx, client, job.budget, job.id.into()).await
    }

    /// Pays the job's budget: the share that was agreed with the claim to the platform, the rest to the freelancer. Returns
    /// the freelancer's side.
    pub async fn pay_in(
        &self,
        tx: &Tx,
        (client, freelancer): (&UserCard, &UserCard),
        job: &Job,
        claim: &Claim,
    ) -> Result<Transaction, InternalError> {
        let fee = job.budget.share(claim.fee_basis_points);
        self.0.release_in(tx, (client, freelancer), job.budget, fee, job.id.into()).await
    }
}
