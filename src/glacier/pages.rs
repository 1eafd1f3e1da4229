//! Lists of Glacier's, page after page.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
};

use super::{Page, UpstreamError};
use crate::domain::Operation;

/// The longest marker, in bytes.
const LONGEST_MARKER: usize = 1_024;

/// Where a list is. One that comes back to where it was, or is longer than any of Glacier's,
/// is not believed.
pub struct Pages {
    operation: Operation,
    /// Glacier's most for a page.
    limit: i32,
    /// How many further pages are believed.
    left: u32,
    marker: Option<String>,
    known: HashSet<u64>,
    hasher: RandomState,
}

impl Pages {
    /// The vaults of an account and region: at most a hundred times the quota of 1,000 (AWS,
    /// "Quotas for Amazon Glacier").
    pub fn of_vaults() -> Self {
        Self::new(Operation::ListVaults, 10, 10_000)
    }

    /// The uploads in progress of a vault: at most two million.
    pub fn of_uploads() -> Self {
        Self::new(Operation::ListMultipartUploads, 50, 40_000)
    }

    /// The parts of an upload: at most twice 10,000 (Glacier Developer Guide, "Uploading Large
    /// Archives in Parts").
    pub fn of_parts() -> Self {
        Self::new(Operation::ListParts, 50, 400)
    }

    fn new(operation: Operation, limit: i32, left: u32) -> Self {
        let (known, hasher) = (HashSet::new(), RandomState::new());
        Self { operation, limit, left, marker: None, known, hasher }
    }

    /// The same list after a page of which only the marker is known.
    pub fn after(self, marker: String) -> Self {
        Self { marker: Some(marker), ..self }
    }

    /// The page that is next.
    pub fn next(&self) -> Page {
        Page { marker: self.marker.clone(), limit: Some(self.limit) }
    }

    /// Where that begins, if it is not the first.
    pub fn marker(&self) -> Option<&str> {
        self.marker.as_deref()
    }

    /// Goes on after a page with this marker. Gives whether there is another.
    ///
    /// # Errors
    /// A list that does not end.
    pub fn go_on(&mut self, marker: Option<String>) -> Result<bool, UpstreamError> {
        if let Some(marker) = &marker {
            let fits = (1..=LONGEST_MARKER).contains(&marker.len()) && !marker.contains('\0');
            self.left = self.left.saturating_sub(1);
            if !fits || self.left == 0 || !self.known.insert(self.hasher.hash_one(marker)) {
                let cause = "the list does not end";
                return Err(UpstreamError::invalid_response(self.operation, cause));
            }
        }
        self.marker = marker;
        Ok(self.marker.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_comes_back_to_where_it_was_is_not_believed() {
        let mut pages = Pages::of_vaults();
        let mut go_on = |next: Option<&str>| pages.go_on(next.map(str::to_owned)).ok();
        assert_eq!((go_on(Some("a")), go_on(Some("b"))), (Some(true), Some(true)));
        assert_eq!(go_on(Some("a")), None);
        assert_eq!((go_on(Some("")), go_on(Some("a\0b"))), (None, None));
        assert_eq!(go_on(Some(&"m".repeat(LONGEST_MARKER + 1))), None);
        assert_eq!(go_on(None), Some(false));
    }

    #[test]
    fn a_list_that_is_longer_than_any_of_glaciers_is_not_believed() {
        let mut pages = Pages::of_parts();
        let read = (1..1_000).take_while(|n| pages.go_on(Some(n.to_string())).is_ok()).count();
        assert_eq!(read, 399);
    }
}
