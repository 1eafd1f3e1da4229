//! Listing the lifecycle rules.

use super::{super::refusal::Refusal, Call};
use crate::{domain::GatewayAction::GetLifecycleRule, policy::Reach};

impl Call {
    /// Of these rules those that the caller may see.
    ///
    /// # Errors
    /// It may see none, whatever the rules are.
    pub fn rules_to_see(&self, mut rules: Vec<String>) -> Result<Vec<String>, Refusal> {
        rules.retain(|rule| {
            let reach = Reach::Team(rule);
            self.policies
                .decide_own(&self.principal, GetLifecycleRule, reach, &self.context)
                .is_ok()
        });
        // What is decided is on record of one of them.
        let reach = rules.first().map_or(Reach::Any, |rule| Reach::Team(rule));
        self.may(GetLifecycleRule, reach)?;
        Ok(rules)
    }
}
