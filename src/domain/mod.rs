//! The words that every room shares: accounts, regions, vaults and uploads as checked
//! types, the operations, and the caller. Imports nothing of this program.

mod account;
pub mod action;
mod gateway_action;
mod ids;
mod operation;
mod principal;
mod schedule;
mod team;

use time::{format_description::BorrowedFormatItem, macros::format_description};

pub use account::{AccountDirectory, AccountFacts};
pub use gateway_action::{ACCOUNT_ARN, AUDIT_ARN, GatewayAction, JOB_ARN, LIFECYCLE_RULE_ARN};
pub use ids::{AccountId, InvalidId, Region, RegionalAccount, UploadId, VaultArn, VaultName};
pub use operation::Operation;
pub use principal::{
    CLIENT_CERTIFICATES, GATEWAY_KEYS, Principal, SERVICE_ARN, SERVICES, TEAM_ARN,
};
pub use schedule::{CronPattern, Schedule, Zone};
pub use team::{InvalidTeam, check_team};

/// How SigV4 writes a date, in `X-Amz-Date`: ISO 8601's basic format, in UTC (IAM User
/// Guide, "Elements of an AWS API request signature").
pub const AMZ_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");
