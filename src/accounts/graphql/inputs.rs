//! What mutations of people and skills take.

use async_graphql::{ID, InputObject, MaybeUndefined};

use super::objects::{Role, SignUpRole};
use crate::graphql::scalars::Url;

/// New account. It is signed in at once.
#[derive(InputObject)]
pub(crate) struct SignUpInput {
    /// An email address of at most 254 bytes; one address is one account.
    pub(super) email: String,
    /// 10 to 128 characters; very common passwords are refused.
    pub(super) password: String,
    /// The name that others see: one line of 1 to 80 characters.
    pub(super) display_name: String,
    /// What the account may do; one or both.
    #[graphql(default_with = "vec![SignUpRole::Freelancer]")]
    pub(super) roles: Vec<SignUpRole>,
}

/// Existing account. A new session of it begins.
#[derive(InputObject)]
pub(crate) struct SignInInput {
    /// The account's email address; upper and lower case are the same.
    pub(super) email: String,
    /// The account's password.
    pub(super) password: String,
}

/// Trade a refresh token for a new pair. Each token works once; reuse ends the whole session family. But for 10 s after its
/// first use, and until the new one is used, it gives the same new refresh token again. A session that has reached its
/// greatest age is refused with `INVALID_CREDENTIALS`: sign in again.
#[derive(InputObject)]
pub(crate) struct RefreshSessionInput {
    /// The `refreshToken` of the latest pair.
    pub(super) refresh_token: String,
}

/// Change the password; ends all other sessions and their sockets. The session that this is sent from goes on, with its
/// tokens and its sockets.
#[derive(InputObject)]
pub(crate) struct ChangePasswordInput {
    /// The password until now; a wrong one counts as a failed attempt at signing in.
    pub(super) current_password: String,
    /// 10 to 128 characters; very common passwords are refused.
    pub(super) new_password: String,
}

/// Fields left out stay as they are.
#[derive(InputObject)]
pub(crate) struct UpdateProfileInput {
    /// The name that others see: one line of 1 to 80 characters; null is refused.
    pub(super) display_name: MaybeUndefined<String>,
    /// An `https:` address of at most 2,048 bytes; null removes the picture.
    pub(super) avatar_url: MaybeUndefined<Url>,
    /// Slugs from the query `skills`, at most 20; they take the place of the old ones. Null is refused.
    pub(super) skills: MaybeUndefined<Vec<String>>,
}

/// Roles of an account.
#[derive(InputObject)]
pub(crate) struct SetUserRolesInput {
    /// Whose roles. An admin cannot take ADMIN from themselves.
    pub(super) user_id: ID,
    /// All roles that the account has from now on. Its sockets are closed, to come back with these. CLIENT cannot be taken
    /// while jobs of the account hold escrow, nor FREELANCER while it holds live claims: see `interveneInJob`.
    pub(super) roles: Vec<Role>,
}

/// Shut an account out, or let it in again; ends its sessions and sockets. Its OPEN jobs leave all lists and cannot be
/// claimed meanwhile (`Job.withheld`); everybody is told by `jobUpdated`, within moments.
#[derive(InputObject)]
pub(crate) struct SetUserSuspendedInput {
    /// Which account; not the caller's own.
    pub(super) user_id: ID,
    /// True shuts the account out, false lets it in again.
    pub(super) suspended: bool,
    /// Kept in the audit log: 1 to 500 characters.
    pub(super) reason: String,
}

/// A new word of the vocabulary.
#[derive(InputObject)]
pub(crate) struct CreateSkillInput {
    /// The short name that filters and inputs take: 1 to 60 of the letters a to z, digits, and hyphens between them. It
    /// never changes.
    pub(super) slug: String,
    /// The name to show to people: one line of 1 to 60 characters.
    pub(super) name: String,
}

/// Rename, merge or retire a skill. Fields left out or null stay as they are.
#[derive(InputObject)]
pub(crate) struct UpdateSkillInput {
    /// The skill to change, as `Skill.id` gives it.
    pub(super) id: ID,
    /// The name to show to people from now on; events of before keep the old one.
    pub(super) name: Option<String>,
    /// The skill that stands in its place from now on, for good: whatever has this one is read as having that one, and its
    /// slug means that one wherever it is given. It is retired by this. A subscription that is open goes on with the word
    /// that its filter named.
    pub(super) merge_into: Option<ID>,
    /// True: it stays on what has it and cannot be given anew. False takes that back.
    pub(super) retired: Option<bool>,
}
