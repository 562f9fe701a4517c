//! What mutations of people and skills answer with: the changed rows, or why nothing was done.

use async_graphql::{Context, Result, SimpleObject};

use super::{
    errors::{AuthError, input_error},
    objects::{SessionObject, SkillObject, UserObject},
};
use crate::{
    accounts::{
        AccountError,
        model::{Skill, UserCard},
    },
    auth::{
        actor::{Actor, Principal},
        sessions::TokenPair,
    },
    graphql::{context::ContextExt, user_errors::InputError},
};

/// Result of `createSkill` and `updateSkill`.
#[derive(SimpleObject)]
pub(crate) struct SkillPayload {
    /// The skill after this step; null if nothing was done.
    pub(super) skill: Option<SkillObject>,
    /// Why nothing was done; empty after a success.
    pub(super) errors: Vec<InputError>,
}

impl SkillPayload {
    pub(super) fn of(done: Result<Skill, AccountError>) -> Result<Option<Self>> {
        Ok(Some(match done {
            Ok(skill) => Self { skill: Some(SkillObject(skill)), errors: Vec::new() },
            Err(error) => Self { skill: None, errors: vec![input_error(error)?] },
        }))
    }
}

/// Result of `signUp`.
#[derive(SimpleObject)]
pub(crate) struct SignUpPayload {
    /// The token pair; null if nothing was done.
    pub(super) session: Option<SessionObject>,
    /// The account that is signed in now; null if nothing was done.
    pub(super) user: Option<UserObject>,
    /// Why nothing was done; empty after a success.
    pub(super) errors: Vec<AuthError>,
}

/// Result of `signIn`.
#[derive(SimpleObject)]
pub(crate) struct SignInPayload {
    /// The token pair; null if nothing was done.
    pub(super) session: Option<SessionObject>,
    /// The account that is signed in now; null if nothing was done.
    pub(super) user: Option<UserObject>,
    /// Why nothing was done; empty after a success.
    pub(super) errors: Vec<AuthError>,
}

/// Result of `refreshSession`.
#[derive(SimpleObject)]
pub(crate) struct RefreshSessionPayload {
    /// The token pair; null if nothing was done.
    pub(super) session: Option<SessionObject>,
    /// The account that is signed in now; null if nothing was done.
    pub(super) user: Option<UserObject>,
    /// Why nothing was done; empty after a success.
    pub(super) errors: Vec<AuthError>,
}

/// Result of `signOut`.
#[derive(SimpleObject)]
pub(crate) struct SignOutPayload {
    /// Why nothing was done; empty after a success.
    pub(super) errors: Vec<AuthError>,
}

/// Result of `changePassword`.
#[derive(SimpleObject)]
pub(crate) struct ChangePasswordPayload {
    /// New tokens of the same session; null if nothing was done. Those that the session has stay good.
    pub(super) session: Option<SessionObject>,
    /// The account whose password was changed; null if nothing was done.
    pub(super) viewer: Option<UserObject>,
    /// Why nothing was done; empty after a success.
    pub(super) errors: Vec<AuthError>,
}

/// Result of `updateProfile`.
#[derive(SimpleObject)]
pub(crate) struct UpdateProfilePayload {
    /// The caller after the change; null if nothing was done.
    pub(super) viewer: Option<UserObject>,
    /// Why nothing was done; empty after a success.
    pub(super) errors: Vec<InputError>,
}

/// Result of `setUserRoles`.
#[derive(SimpleObject)]
pub(crate) struct SetUserRolesPayload {
    /// The account after the change; null if nothing was done.
    pub(super) user: Option<UserObject>,
    /// Why nothing was done; empty after a success.
    pub(super) errors: Vec<InputError>,
}

/// Result of `setUserSuspended`.
#[derive(SimpleObject)]
pub(crate) struct SetUserSuspendedPayload {
    /// The account after the change; null if nothing was done.
    pub(super) user: Option<UserObject>,
    /// Why nothing was done; empty after a success.
    pub(super) errors: Vec<InputError>,
}

/// What came of opening or refreshing a session, in the parts of its payload.
type Opened = (Option<SessionObject>, Option<UserObject>, Vec<AuthError>);

/// From here on the payload is the account's own: it has just proved who it is.
pub(super) fn opened(ctx: &Context<'_>, done: Result<(UserCard, TokenPair), AccountError>) -> Result<Opened> {
    Ok(match done {
        Ok((card, pair)) => {
            let TokenPair { session, access_expires_at: expires_at, .. } = pair;
            let principal = Principal { user: card.id, session, roles: card.roles, expires_at, commits: None };
            ctx.scope().prove(ctx, Actor::User(principal));
            (Some(pair.into()), Some(card.into()), Vec::new())
        }
        Err(error) => (None, None, vec![AuthError::of(error)?]),
    })
}

pub(super) fn changed(done: Result<UserCard, AccountError>) -> Result<(Option<UserObject>, Vec<InputError>)> {
    Ok(match done {
        Ok(card) => (Some(card.into()), Vec::new()),
        Err(error) => (None, vec![input_error(error)?]),
    })
}
