//! The gateway's own actions, which are not Glacier's.

use super::TEAM_ARN;

/// How the ARNs of the teams' shares of the audit trail begin.
pub const AUDIT_ARN: &str = "arn:aws:glacier-gateway:::audit/";

/// How the ARNs of the AWS accounts that the gateway serves begin.
pub const ACCOUNT_ARN: &str = "arn:aws:glacier-gateway:::account/";

/// How the ARNs of jobs begin; `TEAM/ID` follows.
pub const JOB_ARN: &str = "arn:aws:glacier-gateway:::job/";

/// How the ARNs of lifecycle rules begin.
pub const LIFECYCLE_RULE_ARN: &str = "arn:aws:glacier-gateway:::lifecycle-rule/";

/// An action of the service prefix `gateway`. Each is about a team, an account, a job or a
/// lifecycle rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GatewayAction {
    /// Ask what another team may do.
    SimulateAccess,
    /// Read what the audit trail has of a team.
    ReadAudit,
    /// See an AWS account in the list of those that the gateway serves.
    ListAccounts,
    /// Have the vaults of an account looked through.
    StartInventoryRun,
    /// See what is known of the uploads in an account.
    GetInventory,
    /// Ask for uploads to be aborted in bulk.
    CreateAbortJob,
    /// See a job, its items and its report.
    GetAbortJob,
    /// See a team's jobs in a list.
    ListAbortJobs,
    /// Let a job run that somebody else asked for.
    ConfirmAbortJob,
    /// Let a job run that the caller asked for.
    ConfirmOwnAbortJob,
    /// Pause a job, resume it, cancel it, or have its failures tried again.
    ControlAbortJob,
    /// See a lifecycle rule, and what it did.
    GetLifecycleRule,
    /// Have a lifecycle rule run now.
    RunLifecycleRule,
}

impl GatewayAction {
    /// All of them, in the order of the enum.
    pub const ALL: [Self; 13] = [
        Self::SimulateAccess,
        Self::ReadAudit,
        Self::ListAccounts,
        Self::StartInventoryRun,
        Self::GetInventory,
        Self::CreateAbortJob,
        Self::GetAbortJob,
        Self::ListAbortJobs,
        Self::ConfirmAbortJob,
        Self::ConfirmOwnAbortJob,
        Self::ControlAbortJob,
        Self::GetLifecycleRule,
        Self::RunLifecycleRule,
    ];

    /// The name, such as `SimulateAccess`.
    pub fn name(self) -> &'static str {
        self.action().split_at("gateway:".len()).1
    }

    /// The IAM action, such as `gateway:SimulateAccess`.
    pub const fn action(self) -> &'static str {
        match self {
            Self::SimulateAccess => "gateway:SimulateAccess",
            Self::ReadAudit => "gateway:ReadAudit",
            Self::ListAccounts => "gateway:ListAccounts",
            Self::StartInventoryRun => "gateway:StartInventoryRun",
            Self::GetInventory => "gateway:GetInventory",
            Self::CreateAbortJob => "gateway:CreateAbortJob",
            Self::GetAbortJob => "gateway:GetAbortJob",
            Self::ListAbortJobs => "gateway:ListAbortJobs",
            Self::ConfirmAbortJob => "gateway:ConfirmAbortJob",
            Self::ConfirmOwnAbortJob => "gateway:ConfirmOwnAbortJob",
            Self::ControlAbortJob => "gateway:ControlAbortJob",
            Self::GetLifecycleRule => "gateway:GetLifecycleRule",
            Self::RunLifecycleRule => "gateway:RunLifecycleRule",
        }
    }

    /// Whether the action changes nothing.
    pub const fn is_read_only(self) -> bool {
        !matches!(
            self,
            Self::StartInventoryRun
                | Self::CreateAbortJob
                | Self::ConfirmAbortJob
                | Self::ConfirmOwnAbortJob
                | Self::ControlAbortJob
                | Self::RunLifecycleRule
        )
    }

    /// How the ARNs of the action's resources begin; a team's name, an account's number, a
    /// job's team and ID, or a rule's ID follows.
    pub const fn resources(self) -> &'static str {
        match self {
            Self::SimulateAccess => TEAM_ARN,
            Self::ReadAudit => AUDIT_ARN,
            Self::ListAccounts | Self::StartInventoryRun | Self::GetInventory => ACCOUNT_ARN,
            Self::CreateAbortJob
            | Self::GetAbortJob
            | Self::ListAbortJobs
            | Self::ConfirmAbortJob
            | Self::ConfirmOwnAbortJob
            | Self::ControlAbortJob => JOB_ARN,
            Self::GetLifecycleRule | Self::RunLifecycleRule => LIFECYCLE_RULE_ARN,
        }
    }

    /// The resource of the action that stands for one of those; `*` stands for all.
    pub fn resource(self, one: &str) -> String {
        format!("{}{one}", self.resources())
    }
}
