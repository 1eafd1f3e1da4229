//! Verification of the trail: of the store, of an export, or of a folder of tiles;
//! against its own checkpoints and against those kept elsewhere. It names the first
//! record that is wrong.

mod changes;
mod check;
mod columns;
mod folder;
mod plan;
mod store;
#[cfg(test)]
mod tests;
mod told;

pub use self::{
    check::{LogCheck, LogReport, Wrong},
    folder::{FolderError, verify_folder},
    plan::{Found, Kept, Report},
    store::verify_store,
};
