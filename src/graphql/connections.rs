//! Connections, as the Relay Cursor Connections specification has them.
//!
//! Turns the four paging arguments into a [`PageRequest`] and a [`Page`] into a connection. The rows are read by the
//! domains; this module only knows their cursors.

use async_graphql::{Error, SimpleObject};

use super::errors::ErrorCode;
use crate::page::{Cursor, Page, PageRequest};

/// The most rows of a page.
pub const MAX_PAGE: u8 = 100;
/// The rows of a page of a nested list whose size was not given.
pub const DEFAULT_PAGE: u8 = 20;

/// The paging arguments of a field, as they came.
#[derive(Clone, Debug, Default)]
pub struct PageArguments {
    /// From the beginning.
    pub first: Option<i32>,
    /// After this cursor.
    pub after: Option<String>,
    /// From the end.
    pub last: Option<i32>,
    /// Before this cursor.
    pub before: Option<String>,
}

impl PageArguments {
    /// Reads the arguments for a list whose cursors have this order; without a size, `default` rows if there is one.
    pub fn request(self, order: u8, default: Option<u8>) -> Result<PageRequest, Error> {
        let refused = |message: String| ErrorCode::BadUserInput.error(message);
        let (argument, size, backward) = match (self.first, self.last) {
            (Some(_), Some(_)) => return Err(refused("Give first or last, not both.".into())),
            (Some(first), None) => ("first", Some(first), false),
            (None, Some(last)) => ("last", Some(last), true),
            (None, None) => ("first", default.map(i32::from), false),
        };
        let size = size.ok_or_else(|| refused(format!("Give first or last, 1 to {MAX_PAGE}: the list has no end.")))?;
        let size = u8::try_from(size).ok().filter(|size| (1..=MAX_PAGE).contains(size));
        let size = size.ok_or_else(|| refused(format!("{argument} must be between 1 and {MAX_PAGE}.")))?;
        let cursor = |argument: &str, text: Option<String>| {
            let cursor = text.map(|text| Cursor::decode(&text, order).ok_or(argument.to_owned()));
            cursor.transpose().map_err(|argument| {
                let message = "is not a cursor of this list in this order: pass on one that an edge or pageInfo gave.";
                refused(format!("{argument} {message}"))
            })
        };
        Ok(PageRequest { size, backward, after: cursor("after", self.after)?, before: cursor("before", self.before)? })
    }

    /// Reads the arguments of a nested list sorted by id.
    pub fn nested(self) -> Result<PageRequest, Error> {
        self.request(0, Some(DEFAULT_PAGE))
    }
}

/// Position in a connection (Relay Cursor Connections).
#[derive(Clone, Debug, SimpleObject)]
pub struct PageInfo {
    /// Whether there are rows after this page.
    pub(crate) has_next_page: bool,
    /// Whether there are rows before this page.
    pub(crate) has_previous_page: bool,
    /// Cursor of the first row, for `before`; null on an empty page.
    pub(crate) start_cursor: Option<String>,
    /// Cursor of the last row, for `after`; null on an empty page of most lists.
    pub(crate) end_cursor: Option<String>,
}

/// The rows of a page with their cursors, and where it stands.
pub fn edges<T>(page: Page<T>, cursor: impl Fn(&T) -> Cursor) -> (Vec<(String, T)>, PageInfo) {
    let edges: Vec<_> = page.rows.into_iter().map(|row| (cursor(&row).encode(), row)).collect();
    let info = PageInfo {
        has_next_page: page.has_next,
        has_previous_page: page.has_previous,
        start_cursor: edges.first().map(|(cursor, _)| cursor.clone()),
        end_cursor: edges.last().map(|(cursor, _)| cursor.clone()),
    };
    (edges, info)
}

/// Declares a connection and its edge. Fields of its own stand in braces; one that costs a query is a resolver in a
/// `ComplexObject` of the domain's.
#[macro_export]
macro_rules! connection {
    ($(#[$doc:meta])* $connection:ident, $(#[$edge_doc:meta])* $edge:ident, $node:ty $(,)?) => {
        $crate::connection! { @ [$(#[$doc])*] [] $connection [$(#[$edge_doc])*] $edge $node }
    };
    ($(#[$doc:meta])* $connection:ident, $(#[$edge_doc:meta])* $edge:ident, $node:ty, complex $scope:ty) => {
        $crate::connection! {
            @ [$(#[$doc])* #[graphql(complex)]] [#[graphql(skip)] scope: $scope,] $connection [$(#[$edge_doc])*] $edge $node
        }
    };
    (@ [$($attributes:tt)*] [$($scope:tt)*] $connection:ident [$($edge_attributes:tt)*] $edge:ident $node:ty) => {
        #[derive(async_graphql::SimpleObject)]
        $($attributes)*
        pub(crate) struct $connection {
            /// The rows of this page with their cursors.
            edges: Vec<$edge>,
            /// The rows of this page alone.
            nodes: Vec<$node>,
            /// Where this page stands in the list.
            page_info: $crate::graphql::connections::PageInfo,
            $($scope)*
        }

        #[derive(Clone, async_graphql::SimpleObject)]
        $($edge_attributes)*
        pub(crate) struct $edge {
            /// Where this row stands in its list: pass it as `after` or `before`.
            cursor: String,
            /// The row itself.
            node: $node,
        }
    };
}
