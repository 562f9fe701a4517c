//! The event that this domain records: what it keeps and who receives it.
//!
//! `service` records one for each new version of a wallet, in the transaction of the movement itself.

use serde::{Deserialize, Serialize};

use super::model::{Transaction, Wallet};
use crate::{
    accounts::model::UserCard,
    clock::Timestamp,
    error::InternalError,
    events::{Audience, EventKind, NewEvent},
    ids::{EventId, UserId},
};

/// A wallet changed, for its owner alone. Payload: [`WalletSnapshot`].
pub const WALLET_UPDATED: EventKind = EventKind::named("WALLET_UPDATED").for_parties();

/// All of them.
pub const KINDS: &[EventKind] = &[WALLET_UPDATED];

/// What a `walletUpdated` event keeps of its moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalletSnapshot {
    /// The wallet after the change.
    pub wallet: Wallet,
    /// Whose it is.
    pub owner: UserCard,
    /// What changed it.
    pub transaction: Transaction,
}

/// `WALLET_UPDATED`.
pub(super) fn updated(
    id: EventId,
    snapshot: &WalletSnapshot,
    occurred_at: Timestamp,
) -> Result<NewEvent, InternalError> {
    Ok(NewEvent {
        id,
        kind: WALLET_UPDATED,
        subject: snapshot.wallet.id.into(),
        subject_version: snapshot.wallet.version,
        audience: audience(snapshot.owner.id),
        payload: serde_json::to_string(snapshot).map_err(InternalError::corrupt)?,
        occurred_at,
    })
}

/// Who receives a change of a wallet.
pub(super) fn audience(owner: UserId) -> Audience {
    Audience::of([owner])
}
