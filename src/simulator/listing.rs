//! Pages of a listing.

use super::error::GlacierError;

/// One page of a listing, and the key of the item that the next begins with.
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) marker: Option<String>,
}

impl<T> Page<T> {
    /// The first `limit` items.
    pub(super) fn cut(
        mut items: impl Iterator<Item = T>,
        limit: usize,
        key: impl Fn(&T) -> String,
    ) -> Self {
        let page = items.by_ref().take(limit).collect();
        Self { items: page, marker: items.next().map(|next| key(&next)) }
    }
}

pub(super) fn invalid_marker(marker: &str) -> GlacierError {
    GlacierError::invalid(format!("Invalid marker: {marker}"))
}
