//! Why the server cannot start.

use sea_orm::DbErr;

use crate::{
    auth::{keys::KeyError, passwords::PasswordFault, rotation::RotationError},
    db::replica::ReplicaError,
    error::{InternalError, cause},
    graphql::language::InvalidSchema,
    http::tls::TlsError,
    migrations::SchemaMismatch,
    realtime::BusError,
    settings::ConfigError,
    wallet::currency::CurrencyError,
};

/// Why the server could not be built, in one line.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database cannot be opened.
    #[error("database.url: the database cannot be opened: {}", cause(.0))]
    Connect(DbErr),
    /// There is none to look at.
    #[error("database.url: there is no such file")]
    Absent,
    /// The user may not do what the server does.
    #[error(
        "database.url: the database user {user} lacks {lacks}: let the owner of the tables run what `lancewire grants {user}` \
         prints"
    )]
    Grants {
        /// Whose rights they are.
        user: String,
        /// Which, with commas.
        lacks: String,
    },
    /// The tables do not fit.
    #[error(transparent)]
    Schema(#[from] SchemaMismatch),
    /// The books are in another currency.
    #[error(transparent)]
    Currency(#[from] CurrencyError),
    /// The API's own schema.
    #[error(transparent)]
    Language(#[from] InvalidSchema),
    /// The signing keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The signing keys beside those of the other nodes.
    #[error(transparent)]
    Rotation(#[from] RotationError),
    /// The password settings.
    #[error(transparent)]
    Passwords(#[from] PasswordFault),
    /// A setting.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The replica.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    /// The event log.
    #[error("the event log cannot be opened: {0}")]
    Log(#[from] InternalError),
    /// What connects the nodes.
    #[error(transparent)]
    Bus(#[from] BusError),
}
