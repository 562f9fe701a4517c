//! How the API returns the refusals of the domain: as data where a person can act on them, else as a top-level error.
//!
//! Every error is matched to its last variant, so that a new one cannot be forgotten here.

use async_graphql::{Context, Error, Object, Result, SimpleObject};

use super::objects::{TransactionObject, WalletObject};
use crate::{
    graphql::{
        context::{ContextExt, denied},
        errors::{ErrorCode, fault},
        scalars::MoneyAmount,
        user_errors::{IdempotencyError, InputError, UserErrorCode},
    },
    money::Money,
    user_errors,
    wallet::{InsufficientFunds, WalletError},
};

/// What `InsufficientFundsError` carries.
#[derive(Clone, Debug)]
pub(crate) struct InsufficientFundsError {
    pub(crate) message: String,
    pub(crate) code: UserErrorCode,
    pub(crate) path: Option<Vec<String>>,
    wallet: WalletObject,
    shortfall: Money,
}

/// Not enough `available`. Carries the shortfall.
#[Object]
impl InsufficientFundsError {
    /// Says what happened and what to do; safe to show to a person.
    pub(crate) async fn message(&self) -> &String {
        &self.message
    }

    /// A stable code: branch on it, never on `message`.
    pub(crate) async fn code(&self) -> &UserErrorCode {
        &self.code
    }

    /// Where in the variables the value stands that was refused; null if it is about no single one.
    pub(crate) async fn path(&self) -> &Option<Vec<String>> {
        &self.path
    }

    /// The caller's wallet as it is now.
    async fn wallet(&self) -> WalletObject {
        self.wallet.clone()
    }

    /// How much is missing in `available`.
    async fn shortfall(&self, ctx: &Context<'_>) -> MoneyAmount {
        ctx.money(self.shortfall)
    }
}

/// The transaction has already been settled. Carries it as it is.
#[derive(Clone, SimpleObject)]
pub(crate) struct TransactionNotPendingError {
    /// Says what happened and what to do; safe to show to a person.
    pub(crate) message: String,
    /// A stable code: branch on it, never on `message`.
    pub(crate) code: UserErrorCode,
    /// Where in the variables the value stands that was refused; null if it is about no single one.
    pub(crate) path: Option<Vec<String>>,
    /// The transaction as it is now.
    transaction: TransactionObject,
}

user_errors! {
    /// Why a wallet mutation did nothing.
    #[graphql(name = "WalletError")]
    pub(crate) enum WalletMutationError { InputError, InsufficientFundsError, TransactionNotPendingError, IdempotencyError }
}

impl WalletMutationError {
    /// How the API tells it: as data where a person can act on it, else as a top-level error.
    pub(super) fn of(error: WalletError) -> Result<Self> {
        let message = error.to_string();
        Ok(match error {
            WalletError::Denied(refused) => return Err(denied(refused)),
            WalletError::Invalid(invalid) => InputError::from(invalid).into(),
            WalletError::InsufficientFunds(missing) => InsufficientFundsError::from(missing).into(),
            WalletError::NotPending(transaction) => TransactionNotPendingError {
                message,
                code: UserErrorCode::TransactionNotPending,
                path: Some(vec!["input".into(), "transactionId".into()]),
                transaction: (*transaction).into(),
            }
            .into(),
            WalletError::Key(conflict) => IdempotencyError::from(conflict).into(),
            WalletError::InternalError(failed) => return Err(fault(failed)),
        })
    }
}

impl From<InsufficientFunds> for InsufficientFundsError {
    fn from(missing: InsufficientFunds) -> Self {
        let (message, code) = (missing.to_string(), UserErrorCode::InsufficientFunds);
        let InsufficientFunds { wallet, shortfall } = missing;
        Self { message, code, path: None, wallet: (*wallet).into(), shortfall }
    }
}

/// An error of a read, which has no payload to tell it in.
pub(super) fn top_level(error: WalletError) -> Error {
    match error {
        WalletError::Denied(refused) => denied(refused),
        WalletError::Invalid(_)
        | WalletError::InsufficientFunds(_)
        | WalletError::NotPending(_)
        | WalletError::Key(_) => ErrorCode::BadUserInput.error("This cannot be read with these arguments."),
        WalletError::InternalError(failed) => fault(failed),
    }
}
