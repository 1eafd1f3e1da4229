//! The gateway's own actions, which are not Glacier's.

use super::TEAM_ARN;

/// How the ARNs of the teams' shares of the audit trail begin.
pub const AUDIT_ARN: &str = "arn:aws:glacier-gateway:::audit/";

/// How the ARNs of the AWS accounts that the gateway serves begin.
pub const ACCOUNT_ARN: &str = "arn:aws:glacier-gateway:::account/";

/// An action of the service prefix `gateway`. Each is about a team or an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GatewayAction {
    /// Ask what another team may do.
    SimulateAccess,
    /// Read what the audit trail has of a team.
    ReadAudit,
    /// See an AWS account in the list of those that the gateway serves.
    ListAccounts,
}

impl GatewayAction {
    /// All of them, in the order of the enum.
    pub const ALL: [Self; 3] = [Self::SimulateAccess, Self::ReadAudit, Self::ListAccounts];

    /// The name, such as `SimulateAccess`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SimulateAccess => "SimulateAccess",
            Self::ReadAudit => "ReadAudit",
            Self::ListAccounts => "ListAccounts",
        }
    }

    /// The IAM action, such as `gateway:SimulateAccess`.
    pub const fn action(self) -> &'static str {
        match self {
            Self::SimulateAccess => "gateway:SimulateAccess",
            Self::ReadAudit => "gateway:ReadAudit",
            Self::ListAccounts => "gateway:ListAccounts",
        }
    }

    /// How the ARNs of the action's resources begin; a team's name or an account's number
    /// follows.
    pub const fn resources(self) -> &'static str {
        match self {
            Self::SimulateAccess => TEAM_ARN,
            Self::ReadAudit => AUDIT_ARN,
            Self::ListAccounts => ACCOUNT_ARN,
        }
    }

    /// The resource of the action that stands for one team or account; `*` stands for all.
    pub fn resource(self, one: &str) -> String {
        format!("{}{one}", self.resources())
    }
}
