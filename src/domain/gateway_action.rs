//! The gateway's own actions, which are not Glacier's.

use super::TEAM_ARN;

/// How the ARNs of the teams' shares of the audit trail begin.
pub const AUDIT_ARN: &str = "arn:aws:glacier-gateway:::audit/";

/// An action of the service prefix `gateway`. Each is about a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GatewayAction {
    /// Ask what another team may do.
    SimulateAccess,
    /// Read what the audit trail has of a team.
    ReadAudit,
}

impl GatewayAction {
    /// All of them, in the order of the enum.
    pub const ALL: [Self; 2] = [Self::SimulateAccess, Self::ReadAudit];

    /// The name, such as `SimulateAccess`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SimulateAccess => "SimulateAccess",
            Self::ReadAudit => "ReadAudit",
        }
    }

    /// The IAM action, such as `gateway:SimulateAccess`.
    pub const fn action(self) -> &'static str {
        match self {
            Self::SimulateAccess => "gateway:SimulateAccess",
            Self::ReadAudit => "gateway:ReadAudit",
        }
    }

    /// How the ARNs of the action's resources begin; a team's name follows.
    pub const fn resources(self) -> &'static str {
        match self {
            Self::SimulateAccess => TEAM_ARN,
            Self::ReadAudit => AUDIT_ARN,
        }
    }

    /// The resource of the action that stands for a team; `*` stands for all teams.
    pub fn resource(self, team: &str) -> String {
        format!("{}{team}", self.resources())
    }
}
