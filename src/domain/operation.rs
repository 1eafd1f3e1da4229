//! The allowlist of Glacier operations.

use std::fmt;

/// The five operations the gateway performs upstream; there is no sixth.
///
/// Each is one IAM action of the service prefix `glacier` (AWS Service
/// Authorization Reference, "Actions, resources, and condition keys for Amazon
/// S3 Glacier").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// Stop a multipart upload and discard its parts.
    AbortMultipartUpload,
    /// List the uploads in progress in a vault.
    ListMultipartUploads,
    /// List the parts that an upload has received.
    ListParts,
    /// Read a vault's facts: creation date, number of archives, size.
    DescribeVault,
    /// List an account's vaults. Takes no resource in IAM: policies need `*`.
    ListVaults,
}

impl Operation {
    /// All five, in the order of the enum.
    pub const ALL: [Operation; 5] = [
        Operation::AbortMultipartUpload,
        Operation::ListMultipartUploads,
        Operation::ListParts,
        Operation::DescribeVault,
        Operation::ListVaults,
    ];

    /// Glacier's own name of the operation, e.g. `AbortMultipartUpload`.
    pub const fn name(self) -> &'static str {
        match self {
            Operation::AbortMultipartUpload => "AbortMultipartUpload",
            Operation::ListMultipartUploads => "ListMultipartUploads",
            Operation::ListParts => "ListParts",
            Operation::DescribeVault => "DescribeVault",
            Operation::ListVaults => "ListVaults",
        }
    }

    /// The IAM action, e.g. `glacier:AbortMultipartUpload`.
    pub const fn action(self) -> &'static str {
        match self {
            Operation::AbortMultipartUpload => "glacier:AbortMultipartUpload",
            Operation::ListMultipartUploads => "glacier:ListMultipartUploads",
            Operation::ListParts => "glacier:ListParts",
            Operation::DescribeVault => "glacier:DescribeVault",
            Operation::ListVaults => "glacier:ListVaults",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
