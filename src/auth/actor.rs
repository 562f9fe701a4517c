//! On whose behalf a use case runs.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    ids::{SessionId, UserId},
};

/// What an account may do; it may hold several roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Roles {
    /// Posts jobs.
    pub client: bool,
    /// Claims jobs.
    pub freelancer: bool,
    /// Operates the marketplace.
    pub admin: bool,
}

/// A signed-in user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Who.
    pub user: UserId,
    /// By which sign-in.
    pub session: SessionId,
    /// What they may do now.
    pub roles: Roles,
    /// When the access token ends.
    pub expires_at: Timestamp,
    /// How many of their commits the primary knew of just before this request; see `db::replica`. None when it was not
    /// asked: they came by something that lasts longer, or there is no replica.
    pub commits: Option<i64>,
}

/// The caller of a use case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// No token was sent.
    Anonymous,
    /// A signed-in user.
    User(Principal),
    /// The server itself: the clock, the payment processor, the command line.
    System,
}

/// Who sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// On whose behalf.
    pub actor: Actor,
    /// From where.
    pub address: IpAddr,
}

/// A use case that this caller may not use at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Nobody is signed in.
    #[error(
        "Sign in first: send the accessToken of signIn or signUp as the header `Authorization: Bearer <accessToken>`, \
         or as `Authorization` in a socket's connectionParams."
    )]
    Unauthenticated,
    /// The account lacks a role.
    #[error("This needs the role {0}, which your account does not have.")]
    Role(&'static str),
}

impl Actor {
    /// The signed-in user, if there is one.
    pub fn user(&self) -> Option<UserId> {
        match self {
            Self::User(principal) => Some(principal.user),
            Self::Anonymous | Self::System => None,
        }
    }

    /// The roles; none for anybody but a signed-in user.
    pub fn roles(&self) -> Roles {
        match self {
            Self::User(principal) => principal.roles,
            Self::Anonymous | Self::System => Roles::default(),
        }
    }

    /// Whether this is an admin.
    pub fn is_admin(&self) -> bool {
        self.roles().admin
    }

    /// Whether this is that user.
    pub fn is(&self, user: UserId) -> bool {
        self.user() == Some(user)
    }

    /// Demands a signed-in user.
    pub fn signed_in(&self) -> Result<UserId, Denied> {
        self.user().ok_or(Denied::Unauthenticated)
    }

    /// Demands a client.
    pub fn client(&self) -> Result<UserId, Denied> {
        let user = self.signed_in()?;
        if self.roles().client { Ok(user) } else { Err(Denied::Role("CLIENT")) }
    }

    /// Demands a freelancer.
    pub fn freelancer(&self) -> Result<UserId, Denied> {
        let user = self.signed_in()?;
        if self.roles().freelancer { Ok(user) } else { Err(Denied::Role("FREELANCER")) }
    }

    /// Demands somebody with a wallet of their own to use: a client or a freelancer.
    pub fn client_or_freelancer(&self) -> Result<UserId, Denied> {
        let user = self.signed_in()?;
        let roles = self.roles();
        if roles.client || roles.freelancer { Ok(user) } else { Err(Denied::Role("CLIENT or FREELANCER")) }
    }

    /// Demands an admin.
    pub fn admin(&self) -> Result<UserId, Denied> {
        let user = self.signed_in()?;
        if self.is_admin() { Ok(user) } else { Err(Denied::Role("ADMIN")) }
    }
}
