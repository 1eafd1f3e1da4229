//! Glacier Gateway: lets a company's teams abort Amazon Glacier multipart uploads
//! under IAM-like policies, without AWS credentials of their own.

pub mod authn;
pub mod cli;
pub mod glacier;
pub mod policy;
#[cfg(feature = "simulator")]
pub mod simulator;
