//! Amazon Glacier as the gateway knows it: identifiers and ARNs, the operations
//! it may perform, and the client that performs them. Nothing here knows of HTTP
//! servers or callers.

mod direct;
mod error;
mod ids;
mod model;
mod operation;
mod uploads;
mod upstream;

pub use error::{UpstreamError, UpstreamErrorKind};
pub use ids::{AccountId, InvalidId, Region, UploadId, VaultArn, VaultName};
pub use model::{Page, Part, PartPage, Reply, Upload, UploadPage, Vault, VaultPage};
pub use operation::Operation;
pub use uploads::{UploadFacts, UploadLookup};
pub use upstream::Upstream;
