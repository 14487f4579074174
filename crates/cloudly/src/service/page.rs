//! Pages of lists.

use super::error::{Error, Result};
use baseos_interfaces::admin::Page;

/// Which page of a list.
#[derive(Debug)]
pub(crate) struct PageRequest {
    /// `next` of the page before; `None`: the first page.
    pub(crate) cursor: Option<String>,
    pub(crate) size: u32,
}

impl PageRequest {
    /// How many rows to read: one more than the page has, to know whether another page follows.
    pub(super) fn limit(&self) -> i64 {
        i64::from(self.size) + 1
    }

    /// The cursor of a list by rising id.
    pub(super) fn after(&self) -> &str {
        self.cursor.as_deref().unwrap_or("")
    }

    /// The cursor of a list by falling sequence number.
    pub(super) fn before(&self) -> Result<i64> {
        let Some(cursor) = &self.cursor else {
            return Ok(i64::MAX);
        };
        cursor
            .parse()
            .map_err(|_| Error::invalid("the cursor is not one this list gave"))
    }

    /// Makes a page of [`Self::limit`] rows.
    pub(super) fn page<T>(&self, mut rows: Vec<T>, cursor: impl Fn(&T) -> String) -> Page<T> {
        let size = self.size as usize;
        let more = rows.len() > size;
        rows.truncate(size);
        let next = rows.last().filter(|_| more).map(cursor);
        Page { items: rows, next }
    }

    /// As [`Self::page`], of rows with their sequence numbers.
    pub(super) fn numbered_page<T>(&self, rows: Vec<(i64, T)>) -> Page<T> {
        let page = self.page(rows, |(sequence, _)| sequence.to_string());
        Page {
            items: page.items.into_iter().map(|(_, row)| row).collect(),
            next: page.next,
        }
    }
}
