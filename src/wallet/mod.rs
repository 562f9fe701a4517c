//! Money: the ledger, the wallets that show it, deposits and withdrawals.
//!
//! Owns `accounts`, `journals`, `entries` (the double-entry ledger, in `ledger`), `wallets` and `transactions` (what a
//! user sees of it), and the seals over them (`seal`). Neighbours above move money inside their own transactions by [`Wallets::hold_in`],
//! [`Wallets::refund_in`] and [`Wallets::release_in`]; they name what it is for by an opaque reference, since this module
//! knows no job.
//!
//! Invariants, held by constraints and proven by `lancewire verify`: the entries of a journal add up to zero; no balance
//! but the outside world's is negative; a wallet equals the accounts of its user; each change of a wallet has exactly
//! one transaction behind it.

pub mod chain;
pub mod currency;
pub mod due;
pub mod entity;
pub mod error;
pub mod events;
pub(crate) mod graphql;
pub mod ledger;
pub mod model;
pub(crate) mod reads;
pub mod sandbox;
pub mod seal;
pub mod service;
pub mod settings;
pub(crate) mod subscription;
pub mod verify;

pub use error::{HoldError, InsufficientFunds, WalletError};
pub use service::Wallets;
