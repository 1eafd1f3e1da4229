//! The actions that policies name.

use crate::domain::{GatewayAction, Operation};

/// All actions of Amazon Glacier (Service Authorization Reference, "Actions
/// defined by Amazon S3 Glacier").
pub(crate) const GLACIER_ACTIONS: [&str; 33] = [
    "AbortMultipartUpload",
    "AbortVaultLock",
    "AddTagsToVault",
    "CompleteMultipartUpload",
    "CompleteVaultLock",
    "CreateVault",
    "DeleteArchive",
    "DeleteVault",
    "DeleteVaultAccessPolicy",
    "DeleteVaultNotifications",
    "DescribeJob",
    "DescribeVault",
    "GetDataRetrievalPolicy",
    "GetJobOutput",
    "GetVaultAccessPolicy",
    "GetVaultLock",
    "GetVaultNotifications",
    "InitiateJob",
    "InitiateMultipartUpload",
    "InitiateVaultLock",
    "ListJobs",
    "ListMultipartUploads",
    "ListParts",
    "ListProvisionedCapacity",
    "ListTagsForVault",
    "ListVaults",
    "PurchaseProvisionedCapacity",
    "RemoveTagsFromVault",
    "SetDataRetrievalPolicy",
    "SetVaultAccessPolicy",
    "SetVaultNotifications",
    "UploadArchive",
    "UploadMultipartPart",
];

/// The actions that the gateway performs or asks for, in lower case.
pub(crate) fn performed() -> impl Iterator<Item = String> {
    let glacier = Operation::ALL.map(|operation| operation.action().to_ascii_lowercase());
    let own = GatewayAction::ALL.map(|action| action.action().to_ascii_lowercase());
    glacier.into_iter().chain(own)
}
