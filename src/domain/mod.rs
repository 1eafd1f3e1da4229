//! The words that every room shares: accounts, regions, vaults and uploads as checked
//! types, the operations, and the caller. Imports nothing of this program.

pub mod action;
mod ids;
mod operation;
mod principal;
mod team;

pub use ids::{AccountId, InvalidId, Region, RegionalAccount, UploadId, VaultArn, VaultName};
pub use operation::Operation;
pub use principal::{CLIENT_CERTIFICATES, GATEWAY_KEYS, Principal, TEAM_ARN};
pub use team::{InvalidTeam, check_team};
