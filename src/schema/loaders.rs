//! The loaders of operations, each made when it is first asked for: most operations ask for none.
//!
//! Several operations may share them, for several viewers: so each key names all that its value depends on, the viewer
//! included where it matters.

use std::sync::{Arc, OnceLock};

use async_graphql::dataloader::DataLoader;

use super::Services;
use crate::{
    accounts::graphql::AccountLoader, claims::graphql::ClaimLoader, conversations::graphql::ConversationLoader,
    files::graphql::FileLoader, graphql::loader::Batches, jobs::graphql::JobLoader,
    notifications::graphql::NotificationLoader, wallet::graphql::WalletLoader,
};

/// What resolvers look others up with. It works while the operation is driven by its batches. Clones share it.
#[derive(Clone)]
pub(crate) struct Loaders(Arc<Inner>);

struct Inner {
    services: Arc<Services>,
    batches: Batches,
    accounts: OnceLock<DataLoader<AccountLoader>>,
    jobs: OnceLock<DataLoader<JobLoader>>,
    claims: OnceLock<DataLoader<ClaimLoader>>,
    conversations: OnceLock<DataLoader<ConversationLoader>>,
    files: OnceLock<DataLoader<FileLoader>>,
    wallets: OnceLock<DataLoader<WalletLoader>>,
    notifications: OnceLock<DataLoader<NotificationLoader>>,
}

impl Loaders {
    pub(super) fn new(services: Arc<Services>, batches: Batches) -> Self {
        let (accounts, jobs, claims, conversations, files, wallets, notifications) = Default::default();
        Self(Arc::new(Inner {
            services,
            batches,
            accounts,
            jobs,
            claims,
            conversations,
            files,
            wallets,
            notifications,
        }))
    }

    pub(crate) fn accounts(&self) -> &DataLoader<AccountLoader> {
        self.0.accounts.get_or_init(|| self.0.batches.loader(AccountLoader(self.0.services.accounts.clone())))
    }

    pub(crate) fn jobs(&self) -> &DataLoader<JobLoader> {
        self.0.jobs.get_or_init(|| self.0.batches.loader(JobLoader(self.0.services.jobs.clone())))
    }

    pub(crate) fn claims(&self) -> &DataLoader<ClaimLoader> {
        self.0.claims.get_or_init(|| self.0.batches.loader(ClaimLoader(self.0.services.claims.clone())))
    }

    pub(crate) fn conversations(&self) -> &DataLoader<ConversationLoader> {
        let services = &self.0.services;
        self.0.conversations.get_or_init(|| self.0.batches.loader(ConversationLoader(services.conversations.clone())))
    }

    pub(crate) fn files(&self) -> &DataLoader<FileLoader> {
        self.0.files.get_or_init(|| self.0.batches.loader(FileLoader(self.0.services.files.clone())))
    }

    pub(crate) fn wallets(&self) -> &DataLoader<WalletLoader> {
        self.0.wallets.get_or_init(|| self.0.batches.loader(WalletLoader(self.0.services.wallets.clone())))
    }

    pub(crate) fn notifications(&self) -> &DataLoader<NotificationLoader> {
        let services = &self.0.services;
        self.0.notifications.get_or_init(|| self.0.batches.loader(NotificationLoader(services.notifications.clone())))
    }
}
