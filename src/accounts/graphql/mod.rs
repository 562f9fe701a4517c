//! People in the API: `User`, `Skill`, signing in and out, and what admins do with accounts.
//!
//! Only translation between the schema and the domain: no rule, no SQL.

mod errors;
mod inputs;
mod loaders;
mod mutations;
mod objects;
mod payloads;
mod queries;

pub(crate) use loaders::{AccountLoader, find_skill, find_user, user};
pub(crate) use mutations::AccountMutation;
pub(crate) use objects::{SkillObject, UserObject};
pub(crate) use queries::AccountQuery;
