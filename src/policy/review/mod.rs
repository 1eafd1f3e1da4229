//! What is wrong with documents beyond IAM's grammar, and how it is told.

mod accounts;
mod arn;
mod contradiction;
pub mod diagnostic;
pub mod errors;
pub mod render;
pub mod warnings;
