//! Pages of a list: which rows, and where in the list a row stands.
//!
//! Keyset paging: a cursor holds the sort key and the id of the row it stands on, so that a page is an index range
//! however deep it lies, and rows that come or go elsewhere move nothing. Used by every list of every domain; what a
//! page looks like in GraphQL is the affair of `graphql::connections`.
//!
//! Pages of many lists, as a nested list asks for one for each of its parents, are read by one statement ([`read_all`]).

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sea_orm::{
    Condition, ConnectionTrait, DbErr, ExprTrait, Order, QueryResult,
    sea_query::{Asterisk, Expr, Query, SelectStatement, UnionType},
};
use uuid::Uuid;

/// Where a row stands in a list: the list's sort order, the row's key in it, the row's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Which order the key belongs to: a cursor of one order is refused by another.
    pub order: u8,
    /// The value sorted by: minor units, milliseconds since 1970, or 0 where the id alone sorts.
    pub key: i64,
    /// Breaks ties.
    pub id: Uuid,
}

impl Cursor {
    /// A cursor of a list sorted by id alone.
    pub const fn by_id(id: Uuid) -> Self {
        Self { order: 0, key: 0, id }
    }

    /// As clients see it: opaque.
    pub fn encode(self) -> String {
        let mut bytes = [0_u8; 25];
        bytes[0] = self.order;
        bytes[1..9].copy_from_slice(&self.key.to_be_bytes());
        bytes[9..].copy_from_slice(self.id.as_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a cursor of the order `order`; `None` for anything that is not one.
    pub fn decode(text: &str, order: u8) -> Option<Self> {
        let mut bytes = [0_u8; 25];
        let length = BASE64_URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        let key = i64::from_be_bytes(bytes[1..9].try_into().ok()?);
        let id = Uuid::from_bytes(bytes[9..].try_into().ok()?);
        (length == 25 && bytes[0] == order).then_some(Self { order, key, id })
    }
}

/// Which rows of a list are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageRequest {
    /// How many, 1 to 100.
    pub size: u8,
    /// From the end of the list backwards, as `last` asks, although rows come in the list's order.
    pub backward: bool,
    /// Only rows after this one.
    pub after: Option<Cursor>,
    /// Only rows before this one.
    pub before: Option<Cursor>,
}

impl PageRequest {
    /// One row more than asked for is read: whether it is there says whether there is another page.
    pub fn limit(self) -> u64 {
        u64::from(self.size) + 1
    }

    /// The direction to read in: that of the list, or the other way round for a page from its end.
    pub fn direction(self, list: Order) -> Order {
        match (self.backward, list) {
            (false, list) => list,
            (true, Order::Asc) => Order::Desc,
            (true, _) => Order::Asc,
        }
    }

    /// The bounds as a condition on `columns` (the sort key and the id, or the id alone), whose values `values` takes
    /// from a cursor. Row values, since `a > x OR (a = x AND b > y)` is not an index range to every planner.
    pub fn bounds(self, list: &Order, columns: &Expr, values: impl Fn(Cursor) -> Expr) -> Condition {
        let ascending = *list == Order::Asc;
        let mut bounds = Condition::all();
        if let Some(after) = self.after {
            let values = values(after);
            bounds = bounds.add(if ascending { columns.clone().gt(values) } else { columns.clone().lt(values) });
        }
        if let Some(before) = self.before {
            let values = values(before);
            bounds = bounds.add(if ascending { columns.clone().lt(values) } else { columns.clone().gt(values) });
        }
        bounds
    }

    /// Makes a page of what was read with [`PageRequest::limit`] rows in [`PageRequest::direction`].
    pub fn page<T>(self, mut rows: Vec<T>) -> Page<T> {
        let more = rows.len() > usize::from(self.size);
        rows.truncate(usize::from(self.size));
        if self.backward {
            rows.reverse();
            Page { rows, has_previous: more, has_next: self.before.is_some() }
        } else {
            Page { rows, has_previous: self.after.is_some(), has_next: more }
        }
    }
}

/// Rows in the list's order, and whether there are others around them.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Whether rows come before these.
    pub has_previous: bool,
    /// Whether rows come after these.
    pub has_next: bool,
}

impl<T> Page<T> {
    /// The same page with each row turned into something else; the first failure wins.
    pub fn try_map<U, E>(self, map: impl FnMut(T) -> Result<U, E>) -> Result<Page<U>, E> {
        let rows = self.rows.into_iter().map(map).collect::<Result<_, _>>()?;
        Ok(Page { rows, has_previous: self.has_previous, has_next: self.has_next })
    }
}

/// How many pages are read by one statement: a query may ask for so many parents at a time.
const TOGETHER: usize = 100;

/// Runs these queries for pages, a hundred by one statement, and returns the rows of each in its own order. Behind its own
/// columns a row has one that says which query it is of.
pub async fn read_all<C: ConnectionTrait>(
    connection: &C,
    pages: Vec<SelectStatement>,
) -> Result<Vec<Vec<QueryResult>>, DbErr> {
    if let [one] = pages.as_slice() {
        return Ok(vec![connection.query_all(one).await?]);
    }
    let mut all: Vec<Vec<QueryResult>> = Vec::new();
    for some in pages.chunks(TOGETHER) {
        let begin = all.len();
        all.resize_with(begin + some.len(), Vec::new);
        let numbered = some.iter().zip(0_i32..).map(|(page, number)| {
            // Neither database lets a part of a UNION have an order and a limit, but for one in parentheses.
            Query::select()
                .column(Asterisk)
                .expr_as(Expr::cust(number.to_string()), "part")
                .from_subquery(page.clone(), "page")
                .take()
        });
        let together = numbered.reduce(|mut all, next| all.union(UnionType::All, next).take());
        let Some(together) = together else { continue };
        for row in connection.query_all(&together).await? {
            let part = usize::try_from(row.try_get::<i32>("", "part")?).unwrap_or_default();
            if let Some(rows) = all.get_mut(begin + part) {
                rows.push(row);
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_and_only_in_their_own_order() {
        let cursor = Cursor { order: 2, key: -7, id: Uuid::from_u128(9) };
        assert_eq!(Cursor::decode(&cursor.encode(), 2), Some(cursor));
        assert_eq!(Cursor::decode(&cursor.encode(), 1), None);
        for bad in ["", "!", "AAAA", &"A".repeat(35), &"A".repeat(4_000), "' OR 1=1 --"] {
            assert_eq!(Cursor::decode(bad, 0), None, "{bad}");
        }
    }

    #[test]
    fn a_page_from_the_end_comes_in_the_lists_order() {
        let request = PageRequest { size: 2, backward: true, after: None, before: None };
        let page = request.page(vec![9, 8, 7]);
        assert_eq!((page.rows, page.has_previous, page.has_next), (vec![8, 9], true, false));
    }
}
