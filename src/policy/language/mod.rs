//! The language of IAM policies: JSON, the grammar, and the names that documents use.

pub mod actions;
pub mod document;
pub mod finding;
mod json;
pub mod keys;
pub mod lint_code;
pub mod operator;
pub mod reader;
