//! Amazon Glacier as the gateway knows it: identifiers and ARNs, the operations
//! it may perform, and the client that performs them. Nothing here knows of HTTP
//! servers or callers.

mod direct;
mod error;
mod model;
mod response;
mod upstream;

pub use error::{UpstreamError, UpstreamErrorKind};
pub use model::{Page, Part, PartPage, Reply, Upload, UploadPage, Vault, VaultPage};
pub use upstream::Upstream;
