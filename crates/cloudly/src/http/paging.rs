//! `?cursor=…&limit=…` of lists.

use crate::service::page::PageRequest;
use serde::Deserialize;

const SIZE_DEFAULT: u32 = 100;
const SIZE_MAX: u32 = 1000;

#[derive(Debug, Deserialize)]
pub(super) struct Paging {
    cursor: Option<String>,
    limit: Option<u32>,
}

impl From<Paging> for PageRequest {
    fn from(paging: Paging) -> Self {
        Self {
            cursor: paging.cursor,
            size: paging.limit.unwrap_or(SIZE_DEFAULT).clamp(1, SIZE_MAX),
        }
    }
}
