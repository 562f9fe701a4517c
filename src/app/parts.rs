//! Parts that are made of several sections of the settings.

use std::sync::Arc;

use super::StartError;
use crate::{
    auth::{keys::Keyring, rotation::Rotation, tokens::AccessTokens},
    clock::Clock,
    config::{Config, Environment},
    db::Db,
    descriptors,
    http::{
        connections::{self, ConnectionLimits},
        pages::Site,
    },
    ids::Ids,
    limits::{Attempts, Budgets, Limits, SignUps, attempts::AttemptSettings},
};

/// How many connections there may be, by the settings and by what the system leaves.
pub(super) fn connection_limits(config: &Config) -> ConnectionLimits {
    let pools = if config.database.replica_url.is_empty() { 1 } else { 2 };
    let databases = usize::try_from(config.database.max_connections).unwrap_or(usize::MAX).saturating_mul(pools);
    let limits = config.http.connection_limits(descriptors::limit(), databases, config.sockets.sockets_per_address);
    metrics::gauge!(connections::CEILING).set(f64::from(u32::try_from(limits.total).unwrap_or(u32::MAX)));
    limits
}

/// The limits of this node, which is `alone` where no other counts with it.
pub(super) fn limits(config: &Config, alone: bool, clock: &Clock) -> Limits {
    let auth = &config.auth;
    let settings = AttemptSettings::new(auth.free_attempts_per_account, auth.free_attempts_per_address);
    let new_attempts = if alone { Attempts::new } else { Attempts::shared };
    let new_sign_ups = if alone { SignUps::new } else { SignUps::shared };
    Limits {
        budgets: Arc::new(Budgets::new(config.budgets)),
        attempts: new_attempts(clock.clone(), settings),
        sign_ups: new_sign_ups(auth.sign_ups_per_address),
    }
}

/// The keys of tokens, and what keeps them in step with those of the other nodes.
pub(super) fn load_keys(
    config: &Config,
    db: &Db,
    ids: &Ids,
    clock: &Clock,
) -> Result<(Arc<AccessTokens>, Rotation), StartError> {
    let settings = config.auth.keys(config.environment);
    let keyring = Keyring::load(&settings.dir, settings.signing_kid.as_deref(), settings.policy, ids)?;
    let tokens = AccessTokens::new(Arc::new(keyring), config.auth.tokens(), clock.clone(), ids.clone());
    let tokens = Arc::new(tokens);
    let rotation = Rotation::new(db.clone(), ids.clone(), settings, Arc::clone(&tokens));
    Ok((tokens, rotation))
}

/// What the pages say of this server.
pub(super) fn site(config: &Config) -> Site {
    Site {
        playground: config.http.playground,
        demo: config.environment == Environment::Development,
        currency: config.marketplace.currency.clone(),
        secured: config.tls.is_on(),
        listen: config.http.listen,
    }
}
