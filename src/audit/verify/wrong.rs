//! A fault that a verification found.

use std::fmt;

/// What is wrong, and with which records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The log.
    pub origin: String,
    /// The first record that is wrong, or can be.
    pub first: u64,
    /// The last, if it is not known which of several.
    pub last: Option<u64>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, first, last, reason } = self;
        match last {
            None => write!(f, "{origin}, record {first}: {reason}"),
            Some(last) => write!(f, "{origin}, records {first} to {last}: {reason}"),
        }
    }
}
