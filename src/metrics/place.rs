//! Where something is.

use prometheus_client::encoding::EncodeLabelSet;

/// An account, by its configured name, and a region.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Place {
    pub account: String,
    pub region: String,
}
