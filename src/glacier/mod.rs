//! Amazon Glacier as the gateway knows it: identifiers and ARNs, the operations
//! it may perform, and the client that performs them. Nothing here knows of HTTP
//! servers or callers.

mod accounts;
mod attempt_span;
mod direct;
mod endpoints;
mod error;
mod model;
mod pages;
mod parts;
mod probe;
mod response;
mod route;
mod sessions;
mod upstream;

pub use accounts::{Account, Accounts, NotServed, UnusableAccounts};
pub use error::{ROLE_CAUSES, UpstreamError, UpstreamErrorKind};
pub use model::{Page, Part, PartPage, Reply, Upload, UploadPage, Vault, VaultPage};
pub use pages::Pages;
pub use parts::sum_of_parts;
pub use probe::Probe;
pub use route::Route;
pub use sessions::{RoleStatus, Session};
pub use upstream::Upstream;
