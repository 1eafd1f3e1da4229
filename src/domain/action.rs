//! Glacier's operations as types.

use super::{Operation, RegionalAccount, VaultArn};

/// An operation as a type, so that a permit says in its type what it permits.
pub trait Action {
    /// The operation.
    const OPERATION: Operation;
    /// The kind of resource that the operation is performed on.
    type ResourceType: Clone;
}

macro_rules! actions {
    ($($name:ident on $resource_type:ty;)*) => {$(
        #[doc = concat!("[`Operation::", stringify!($name), "`].")]
        #[derive(Debug)]
        pub enum $name {}

        impl Action for $name {
            const OPERATION: Operation = Operation::$name;
            type ResourceType = $resource_type;
        }
    )*};
}

actions! {
    AbortMultipartUpload on VaultArn;
    ListMultipartUploads on VaultArn;
    ListParts on VaultArn;
    DescribeVault on VaultArn;
    ListVaults on RegionalAccount;
}
