//! Root fields that change accounts and skills. The rules are in [`Accounts`]; here inputs are handed over and
//! results returned.

use async_graphql::{Context, Object, Result};

use super::{
    errors::AuthError,
    inputs::{
        ChangePasswordInput, CreateSkillInput, RefreshSessionInput, SetUserRolesInput, SetUserSuspendedInput,
        SignInInput, SignUpInput, UpdateProfileInput, UpdateSkillInput,
    },
    objects::{Role, SignUpRole},
    payloads::{
        ChangePasswordPayload, RefreshSessionPayload, SetUserRolesPayload, SetUserSuspendedPayload, SignInPayload,
        SignOutPayload, SignUpPayload, SkillPayload, UpdateProfilePayload, changed, opened,
    },
};
use crate::{
    accounts::{
        AccountError, Accounts,
        service::{ProfilePatch, SignUp},
        skills::SkillPatch,
    },
    auth::actor::Roles,
    claims::Claims,
    graphql::{
        context::ContextExt,
        patch::{clearable, not_null},
    },
};

/// Writes of people.
#[derive(Default)]
pub(crate) struct AccountMutation;

#[Object]
impl AccountMutation {
    /// Anonymous. Opens an account and signs it in.
    async fn sign_up(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The account to open.")] input: SignUpInput,
    ) -> Result<Option<SignUpPayload>> {
        let holds = |role| input.roles.contains(&role);
        let roles =
            Roles { client: holds(SignUpRole::Client), freelancer: holds(SignUpRole::Freelancer), admin: false };
        let SignUpInput { email, password, display_name, .. } = input;
        let command = SignUp { email, password, display_name, roles };
        let (session, user, errors) = opened(ctx, ctx.get::<Accounts>().sign_up(command, ctx.address()).await)?;
        Ok(Some(SignUpPayload { session, user, errors }))
    }

    /// Anonymous. The same answer and the same time for an unknown email and a wrong password.
    async fn sign_in(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose account, and its password.")] input: SignInInput,
    ) -> Result<Option<SignInPayload>> {
        let done = ctx.get::<Accounts>().sign_in(&input.email, &input.password, ctx.address()).await;
        let (session, user, errors) = opened(ctx, done)?;
        Ok(Some(SignInPayload { session, user, errors }))
    }

    /// Anonymous. The next token pair of a session.
    async fn refresh_session(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The refresh token to trade in.")] input: RefreshSessionInput,
    ) -> Result<Option<RefreshSessionPayload>> {
        let done = ctx.get::<Accounts>().refresh(&input.refresh_token, ctx.address()).await;
        let (session, user, errors) = opened(ctx, done)?;
        Ok(Some(RefreshSessionPayload { session, user, errors }))
    }

    /// Ends this session, its refresh tokens and its open sockets.
    async fn sign_out(&self, ctx: &Context<'_>) -> Result<Option<SignOutPayload>> {
        let errors = match ctx.get::<Accounts>().sign_out(ctx.actor()).await {
            Ok(()) => Vec::new(),
            Err(error) => vec![AuthError::of(error)?],
        };
        Ok(Some(SignOutPayload { errors }))
    }

    /// Any signed-in user. Sets another password for the caller's own account.
    async fn change_password(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The old and the new password.")] input: ChangePasswordInput,
    ) -> Result<Option<ChangePasswordPayload>> {
        let ChangePasswordInput { current_password, new_password } = input;
        let done = ctx.get::<Accounts>().change_password(ctx.actor(), &current_password, &new_password).await;
        let (session, viewer, errors) = opened(ctx, done)?;
        Ok(Some(ChangePasswordPayload { session, viewer, errors }))
    }

    /// Any signed-in user. Changes what others see of the caller.
    async fn update_profile(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to change about the caller's profile.")] input: UpdateProfileInput,
    ) -> Result<Option<UpdateProfilePayload>> {
        let patch = (|| {
            Ok(ProfilePatch {
                display_name: not_null("displayName", input.display_name)?,
                avatar_url: clearable(input.avatar_url).map(|url| url.map(|url| url.0)),
                skills: not_null("skills", input.skills)?,
            })
        })();
        let done = match patch {
            Ok(patch) => ctx.get::<Accounts>().update_profile(ctx.actor(), patch).await,
            Err(invalid) => match ctx.actor().signed_in() {
                Ok(_) => Err(AccountError::Invalid(invalid)),
                Err(refused) => Err(AccountError::Denied(refused)),
            },
        };
        let (viewer, errors) = changed(done)?;
        Ok(Some(UpdateProfilePayload { viewer, errors }))
    }

    /// Admin. Gives and takes roles; the account's sockets come back with the new ones.
    async fn set_user_roles(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose roles, and which.")] input: SetUserRolesInput,
    ) -> Result<Option<SetUserRolesPayload>> {
        let holds = |role| input.roles.contains(&role);
        let roles =
            Roles { client: holds(Role::Client), freelancer: holds(Role::Freelancer), admin: holds(Role::Admin) };
        let dependents = ctx.get::<Claims>();
        let done = ctx.get::<Accounts>().set_roles(ctx.actor(), &input.user_id, roles, dependents).await;
        let (user, errors) = changed(done)?;
        Ok(Some(SetUserRolesPayload { user, errors }))
    }

    /// Admin. Shuts an account out at once, or lets it in again.
    async fn set_user_suspended(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whom to shut out or let in, and why.")] input: SetUserSuspendedInput,
    ) -> Result<Option<SetUserSuspendedPayload>> {
        let SetUserSuspendedInput { user_id, suspended, reason } = input;
        let done = ctx.get::<Accounts>().set_suspended(ctx.actor(), &user_id, suspended, &reason).await;
        let (user, errors) = changed(done)?;
        Ok(Some(SetUserSuspendedPayload { user, errors }))
    }

    /// Admin. Adds a word to the skill vocabulary.
    async fn create_skill(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The word to add.")] input: CreateSkillInput,
    ) -> Result<Option<SkillPayload>> {
        SkillPayload::of(ctx.get::<Accounts>().create_skill(ctx.actor(), &input.slug, &input.name).await)
    }

    /// Admin. Renames a skill, merges it into another one, or retires it. Emits nothing.
    async fn update_skill(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which skill, and what becomes of it.")] input: UpdateSkillInput,
    ) -> Result<Option<SkillPayload>> {
        let UpdateSkillInput { id, name, merge_into, retired } = input;
        let patch = SkillPatch { name, merge_into: merge_into.map(|id| id.0), retired };
        SkillPayload::of(ctx.get::<Accounts>().update_skill(ctx.actor(), &id, patch).await)
    }
}
