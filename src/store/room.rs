//! How much room there is for the store to grow.

use std::fmt::{Display, Formatter, Result};

/// Of a large disk so much is room enough: about a million records.
const ENOUGH: u64 = 1 << 30;

/// The room on a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What may still be written.
    pub free: u64,
    /// What the file system holds if it is full.
    pub size: u64,
}

impl Room {
    /// Whether less than 5 % is free, and less than 1 GiB: what is left is for changes.
    pub fn is_scarce(self) -> bool {
        self.free < ENOUGH.min(self.size / 20)
    }
}

impl Display for Room {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let percent = self.free.saturating_mul(100).checked_div(self.size).unwrap_or_default();
        write!(formatter, "{} MiB, {percent} %", self.free >> 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_scarce_below_a_share_of_a_small_disk_and_a_fixed_size_of_a_large_one() {
        let (mib, gib) = (1 << 20, 1 << 30);
        let scarce = |free, size| Room { free, size }.is_scarce();
        assert!(scarce(4 * mib, 100 * mib) && !scarce(5 * mib, 100 * mib));
        assert!(scarce(gib - 1, 1_000 * gib) && !scarce(gib, 1_000 * gib));
    }
}
