//! Which events lie for one viewer, found along an index: a read costs what lies for them, not what lies between.
//!
//! `event_viewers` has for each event the fewest viewers by which all who may receive it find it: everybody, if it is
//! public, and else each user that it names and, where they may, the admins. The database itself fills it when an event
//! gets its position and empties it when the event is forgotten (triggers of `m20261129_000101_event_audiences`), also for
//! events of the version before, which knows no list. Its rows are in the order of viewer, kind and position, so what is
//! for a viewer is in a few places, each in the order of positions, and a page is made of the first rows of each.
//!
//! Called by [`EventLog::heard_by`](super::EventLog::heard_by) and [`EventLog::next_for`](super::EventLog::next_for).

use sea_orm::Value;
use uuid::Uuid;

use super::{EventKind, Listener};

/// Stands in `event_viewers` for everybody. No user has this id.
pub(super) const EVERYBODY: Uuid = Uuid::nil();
/// Stands there for all admins. No user has this id.
pub(super) const ADMINS: Uuid = Uuid::from_u128(1);

/// The first positions between two, both excluded, of events of these kinds that `listener` may receive: a query with one
/// column, `position`, and its values; an empty text if there can be none. From each place up to `most`; they are not
/// sorted, and one may be there twice.
pub(super) fn positions(
    listener: Listener,
    kinds: &[EventKind],
    (after, before): (i64, i64),
    most: u32,
    backward: bool,
) -> (String, Vec<Value>) {
    let direction = if backward { "DESC" } else { "ASC" };
    let mut values = Vec::new();
    let mut selects = Vec::new();
    for kind in kinds.iter().filter(|kind| !kind.is_internal()) {
        let user = listener.user.map(Uuid::from);
        let viewers = [
            kind.is_for_everybody().then_some(EVERYBODY),
            user.filter(|_| kind.has_parties()),
            (listener.admin && kind.is_told_to_admins()).then_some(ADMINS),
        ];
        for viewer in viewers.into_iter().flatten() {
            selects.push(format!(
                "SELECT position FROM (SELECT position FROM event_viewers WHERE viewer_id = ? AND kind = '{}' \
                 AND position > ? AND position < ? ORDER BY position {direction} LIMIT ?) AS place{}",
                kind.as_str(),
                selects.len()
            ));
            values.extend([viewer.into(), after.into(), before.into(), i64::from(most).into()]);
        }
    }
    (selects.join(" UNION ALL "), values)
}
