//! The loaders of one operation, each made when it is first asked for: most operations ask for none.

use std::sync::{Arc, OnceLock};

use async_graphql::dataloader::DataLoader;

use super::Services;
use crate::{
    accounts::graphql::AccountLoader, claims::graphql::ClaimLoader, graphql::loader::Batches, jobs::graphql::JobLoader,
    wallet::graphql::WalletLoader,
};

/// What resolvers look others up with. It works while the operation is driven by its batches.
pub(crate) struct Loaders {
    services: Arc<Services>,
    batches: Batches,
    accounts: OnceLock<DataLoader<AccountLoader>>,
    jobs: OnceLock<DataLoader<JobLoader>>,
    claims: OnceLock<DataLoader<ClaimLoader>>,
    wallets: OnceLock<DataLoader<WalletLoader>>,
}

impl Loaders {
    pub(super) fn new(services: Arc<Services>, batches: Batches) -> Self {
        let (accounts, jobs, claims, wallets) = Default::default();
        Self { services, batches, accounts, jobs, claims, wallets }
    }

    pub(crate) fn accounts(&self) -> &DataLoader<AccountLoader> {
        self.accounts.get_or_init(|| self.batches.loader(AccountLoader(self.services.accounts.clone())))
    }

    pub(crate) fn jobs(&self) -> &DataLoader<JobLoader> {
        self.jobs.get_or_init(|| self.batches.loader(JobLoader(self.services.jobs.clone())))
    }

    pub(crate) fn claims(&self) -> &DataLoader<ClaimLoader> {
        self.claims.get_or_init(|| self.batches.loader(ClaimLoader(self.services.claims.clone())))
    }

    pub(crate) fn wallets(&self) -> &DataLoader<WalletLoader> {
        self.wallets.get_or_init(|| self.batches.loader(WalletLoader(self.services.wallets.clone())))
    }
}
