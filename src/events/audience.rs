//! Who may receive an event, as the log stores it.
//!
//! Decided when the event happens and never changed: today's rights decide only the private fields in it, when those
//! are resolved. The log has it in the columns `is_public`, `recipients` (a JSON list of user ids, 32 hexadecimal
//! digits each) and `for_admins`.
//!
//! **Two versions.** The version before knows one owner and at most one claimant in place of a list. While it runs beside
//! this one, the first two users of the list are written to its columns as well, and of its events, which have no list,
//! these two are the list; whether they are for admins is what the kind says ([`EventKind::is_told_to_admins`]). A list
//! longer than two must not be recorded before the step that takes those columns away.

use sea_orm::{DbErr, QueryResult};
use smallvec::SmallVec;
use uuid::Uuid;

use super::EventKind;
use crate::{error::InternalError, ids::UserId};

/// Users whom one event may name.
pub const MOST_USERS: usize = 64;

/// Who may receive an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    /// Everybody may, though not its private fields.
    pub public: bool,
    /// Admins may, as the users do whom it names.
    pub admins: bool,
    users: SmallVec<[UserId; 2]>,
}

/// As whom a viewer receives an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// As everybody: what does not look at the viewer is the same for all who receive it so.
    Public,
    /// As one of the users whom it names, or as an admin.
    Own,
}

impl Audience {
    /// These users, each once, in this order; nobody else. [`record`](super::record) refuses more than [`MOST_USERS`].
    pub fn of(users: impl IntoIterator<Item = UserId>) -> Self {
        let mut audience = Self { public: false, admins: false, users: SmallVec::new() };
        for user in users {
            if !audience.users.contains(&user) {
                audience.users.push(user);
            }
        }
        audience
    }

    /// Everybody as well, if so.
    #[must_use]
    pub fn public(self, public: bool) -> Self {
        Self { public, ..self }
    }

    /// Admins as well, if so.
    #[must_use]
    pub fn admins(self, admins: bool) -> Self {
        Self { admins, ..self }
    }

    /// The users whom the event names.
    pub fn users(&self) -> &[UserId] {
        &self.users
    }

    /// As whom this user, or an anonymous viewer, receives an event of this kind; not at all if that is none.
    pub fn hearing(&self, kind: EventKind, user: Option<UserId>, admin: bool) -> Option<Hearing> {
        if kind.is_internal() {
            return None;
        }
        let named = user.is_some_and(|user| self.users.contains(&user));
        if kind.has_parties() && (named || (admin && self.admins)) {
            Some(Hearing::Own)
        } else {
            self.public.then_some(Hearing::Public)
        }
    }

    /// What it takes on the heap, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        if self.users.spilled() { self.users.capacity() * size_of::<UserId>() } else { 0 }
    }

    /// The list as the log stores it.
    pub(super) fn list(&self) -> String {
        // Ids need no escaping.
        let ids: Vec<String> = self.users.iter().map(|user| format!("\"{}\"", Uuid::from(*user).simple())).collect();
        format!("[{}]", ids.join(","))
    }

    /// The first two users, as the version before has them. It demands one: nobody's id, if there is none.
    pub(crate) fn pair(&self) -> (Uuid, Option<Uuid>) {
        let id = |place: usize| self.users.get(place).map(|user| Uuid::from(*user));
        (id(0).unwrap_or_default(), id(1))
    }

    /// What the columns of a row say, by name; with the list of a row of the version before.
    pub(super) fn of_row(row: &QueryResult, kind: EventKind) -> Result<Self, InternalError> {
        let columns = Columns {
            public: row.try_get("", "is_public")?,
            owner: row.try_get("", "owner_id")?,
            claimant: row.try_get("", "claimant_id")?,
            list: row.try_get("", "recipients")?,
            admins: row.try_get("", "for_admins")?,
        };
        columns.audience(kind)
    }
}

/// Where [`verify`](super::verify) and [`seal`](super::seal) read these columns.
pub(super) const AUDIENCE: [usize; 5] = [5, 6, 7, 10, 11];

/// The columns of an audience.
pub(super) struct Columns {
    pub(super) public: bool,
    pub(super) owner: Uuid,
    pub(super) claimant: Option<Uuid>,
    pub(super) list: Option<String>,
    pub(super) admins: Option<bool>,
}

impl Columns {
    /// By place: those of a public event, its owner, its claimant, its list and whether admins receive it.
    pub(super) fn at(row: &QueryResult, places: [usize; 5]) -> Result<Self, DbErr> {
        let [public, owner, claimant, list, admins] = places;
        Ok(Self {
            public: row.try_get_by_index(public)?,
            owner: row.try_get_by_index(owner)?,
            claimant: row.try_get_by_index(claimant)?,
            list: row.try_get_by_index(list)?,
            admins: row.try_get_by_index(admins)?,
        })
    }

    /// The list that the version before has, of its two columns.
    pub(super) fn pair(&self) -> Audience {
        Audience::of([self.owner].into_iter().chain(self.claimant).filter(|id| !id.is_nil()).map(UserId::from))
    }

    /// The list that is stored; none in a row of the version before.
    pub(super) fn stored(&self) -> Result<Option<Audience>, InternalError> {
        let Some(list) = &self.list else { return Ok(None) };
        let ids: Vec<Uuid> = serde_json::from_str(list).map_err(|_| InternalError::corrupt("events.recipients"))?;
        Ok(Some(Audience::of(ids.into_iter().map(UserId::from))))
    }

    pub(super) fn audience(&self, kind: EventKind) -> Result<Audience, InternalError> {
        let users = self.stored()?.unwrap_or_else(|| self.pair());
        Ok(users.public(self.public).admins(self.admins.unwrap_or_else(|| kind.is_told_to_admins())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: EventKind = EventKind::named("SOMETHING").for_everybody().for_parties().for_admins();

    fn user(number: u128) -> UserId {
        Uuid::from_u128(number).into()
    }

    fn columns(list: Option<String>, admins: Option<bool>) -> Columns {
        Columns { public: false, owner: Uuid::from_u128(7), claimant: Some(Uuid::from_u128(8)), list, admins }
    }

    #[test]
    fn a_list_is_stored_and_read_and_names_each_user_once() {
        let audience = Audience::of([user(9), user(7), user(9), user(8)]).admins(true);
        assert_eq!(audience.users(), [user(9), user(7), user(8)]);
        assert_eq!(audience.pair(), (Uuid::from_u128(9), Some(Uuid::from_u128(7))));
        let read = columns(Some(audience.list()), Some(true)).audience(KIND).expect("readable");
        assert_eq!(read, audience);
        assert_eq!((Audience::of([]).list(), Audience::of([]).pair()), ("[]".into(), (Uuid::nil(), None)));
        assert!(columns(Some("{}".into()), None).audience(KIND).is_err());
    }

    #[test]
    fn a_row_of_the_version_before_has_its_two_columns_and_what_the_kind_says() {
        let read = columns(None, None).audience(KIND).expect("readable");
        assert_eq!(read, Audience::of([user(7), user(8)]).admins(true));
        let quiet = EventKind::named("SOMETHING").for_parties();
        assert!(!columns(None, None).audience(quiet).expect("readable").admins);
    }

    #[test]
    fn who_receives_an_event_is_decided_by_the_event() {
        let audience = Audience::of([user(1), user(2), user(3)]);
        let hearing = |audience: &Audience, user, admin| audience.hearing(KIND, user, admin);
        assert_eq!(hearing(&audience, Some(user(3)), false), Some(Hearing::Own));
        assert_eq!(hearing(&audience, Some(user(4)), true), None, "not for admins");
        let audience = audience.admins(true).public(true);
        assert_eq!(hearing(&audience, Some(user(4)), true), Some(Hearing::Own));
        assert_eq!(hearing(&audience, None, false), Some(Hearing::Public));
        let internal = EventKind::internal("SOMETHING");
        assert_eq!(audience.hearing(internal, Some(user(1)), true), None);
    }
}
