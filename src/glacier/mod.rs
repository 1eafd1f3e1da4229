//! Amazon Glacier as the gateway knows it: identifiers and ARNs, and the
//! operations it may perform. Nothing here knows of HTTP servers or callers.

mod ids;
mod operation;

pub use ids::{AccountId, InvalidId, Region, UploadId, VaultArn, VaultName};
pub use operation::Operation;
