//! Reads of wallets and of their histories.

use std::collections::HashMap;

use sea_orm::{
    ColumnTrait, EntityTrait, FromQueryResult as _, Order, QueryFilter, QueryOrder, QuerySelect, QueryTrait as _,
    Select, sea_query::Expr,
};
use uuid::Uuid;

use super::{
    entity::{
        transactions::{self, Finders as _},
        wallets,
    },
    error::WalletError,
    model::{Transaction, TransactionStatus, TransactionType, Wallet, wallet_of},
    service::Wallets,
};
use crate::{
    auth::actor::Actor,
    error::InternalError,
    ids::{TransactionId, UserId, WalletId},
    page::{Cursor, Page, PageRequest, read_all},
};

/// A page of a wallet's history.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HistoryOf {
    /// Whose wallet.
    pub wallet: WalletId,
    /// Of these types; empty: of any.
    pub kinds: Vec<TransactionType>,
    /// Which rows.
    pub request: PageRequest,
}

impl Wallets {
    /// The caller's own wallet.
    pub async fn own(&self, actor: Actor) -> Result<Wallet, WalletError> {
        let user = actor.signed_in()?;
        self.of(user).await?.ok_or_else(|| InternalError::corrupt("a session without its user").into())
    }

    /// Any wallet, for its owner and for admins; for everybody else there is none.
    pub async fn find(&self, actor: Actor, id: WalletId) -> Result<Option<Wallet>, InternalError> {
        let owner = Uuid::from(id).into();
        if actor.is(owner) || actor.is_admin() { self.of(owner).await } else { Ok(None) }
    }

    async fn of(&self, user: UserId) -> Result<Option<Wallet>, InternalError> {
        if let Some(row) = wallets::Entity::find_by_id(wallet_of(user)).one(self.db.reader()).await? {
            return Ok(Some(row.into()));
        }
        Ok(self.accounts.card(user).await?.as_ref().map(Wallet::untouched))
    }

    /// Many wallets by id, for a loader whose caller checked who may see them. One that no money ever touched has no row.
    pub async fn by_id(&self, ids: &[WalletId]) -> Result<HashMap<WalletId, Wallet>, InternalError> {
        let rows =
            wallets::Entity::find().filter(wallets::Column::Id.is_in(ids.to_vec())).all(self.db.reader()).await?;
        let mut found: HashMap<WalletId, Wallet> = rows.into_iter().map(|row| (row.id, row.into())).collect();
        let missing = ids.iter().filter(|id| !found.contains_key(id));
        let missing: Vec<UserId> = missing.map(|id| Uuid::from(*id).into()).collect();
        if !missing.is_empty() {
            let owners = self.accounts.cards(&missing).await?;
            found.extend(owners.values().map(|owner| (wallet_of(owner.id), Wallet::untouched(owner))));
        }
        Ok(found)
    }

    /// The line that a release for `reference` left in a user's own history. The caller is that user.
    pub async fn release_of(&self, user: UserId, reference: Uuid) -> Result<Option<Transaction>, InternalError> {
        let row = transactions::Entity::find()
            .of_wallet(wallet_of(user))
            .filter(transactions::Column::Kind.eq(TransactionType::EscrowRelease.as_str()))
            .filter(transactions::Column::ReferenceId.eq(reference))
            .one(self.db.reader())
            .await?;
        row.map(Transaction::try_from).transpose()
    }

    /// Pages of wallets' histories, newest first. The caller has been let to see the wallets.
    pub async fn histories(&self, lists: &[HistoryOf]) -> Result<Vec<Page<Transaction>>, InternalError> {
        let select = |list: &HistoryOf| {
            let mut select = transactions::Entity::find().of_wallet(list.wallet);
            if !list.kinds.is_empty() {
                select = select.filter(transactions::Column::Kind.is_in(list.kinds.iter().map(|kind| kind.as_str())));
            }
            page_of(select, list.request).into_query()
        };
        let found = read_all(self.db.reader(), lists.iter().map(select).collect()).await?;
        let pages = found.into_iter().zip(lists).map(|(rows, list)| {
            let rows = rows.iter().map(|row| transactions::Model::from_query_result(row, ""));
            list.request.page(rows.collect::<Result<_, _>>()?).try_map(Transaction::try_from)
        });
        pages.collect()
    }

    /// Admins: the transactions of all wallets, newest first.
    pub async fn all_transactions(
        &self,
        actor: Actor,
        statuses: Option<&[TransactionStatus]>,
        request: PageRequest,
    ) -> Result<Page<Transaction>, WalletError> {
        actor.admin()?;
        let mut select = transactions::Entity::find();
        if let Some(statuses) = statuses.filter(|statuses| !statuses.is_empty()) {
            let names = statuses.iter().map(|status| status.as_str());
            select = select.filter(transactions::Column::Status.is_in(names));
        }
        let rows = page_of(select, request).all(self.db.reader()).await?;
        Ok(request.page(rows).try_map(Transaction::try_from)?)
    }

    /// Many transactions by id, for a loader whose caller checked who may see them.
    pub async fn transactions_by_id(
        &self,
        ids: &[TransactionId],
    ) -> Result<HashMap<TransactionId, Transaction>, InternalError> {
        let rows = transactions::Entity::find().filter(transactions::Column::Id.is_in(ids.to_vec()));
        let rows = rows.all(self.db.reader()).await?;
        rows.into_iter().map(|row| Ok((row.id, row.try_into()?))).collect()
    }
}

fn page_of(select: Select<transactions::Entity>, request: PageRequest) -> Select<transactions::Entity> {
    let id = Expr::col(transactions::Column::Id);
    select
        .filter(request.bounds(&Order::Desc, &id, |cursor: Cursor| Expr::value(cursor.id)))
        .order_by(transactions::Column::Id, request.direction(Order::Desc))
        .limit(request.limit())
}
