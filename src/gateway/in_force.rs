//! Tells the trail what came into force: policies, keys, revocations.

use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc::UnboundedReceiver;

use crate::{
    audit::{System, Trail},
    authn::GatewayKeys,
    policy::{Reload, Status},
    reload::InForce,
};

/// Records in the trail what callers are known and decided by.
pub struct Foundations {
    trail: Trail,
    /// The errors that policies were last refused for.
    refused: Mutex<Vec<String>>,
}

impl Foundations {
    /// For the trail of a gateway that starts: records that, and what it starts with.
    pub fn begin(trail: Trail, policies: &Status, keys: &GatewayKeys) -> Self {
        let process = System {
            replica: trail.store().map(|store| store.replica().to_owned()),
            version: Some(env!("CARGO_PKG_VERSION")),
            ..System::default()
        };
        trail.system("Start", process);
        let foundations = Self { trail, refused: Mutex::default() };
        foundations.policies(Reload::Replaced, policies);
        for (number, digest) in keys.fingerprints() {
            foundations
                .in_force(InForce { setting: format!("keys.master_key_files.{number}"), digest });
        }
        foundations
    }

    /// Records what comes into force, until nothing can any more.
    pub async fn follow(&self, mut heard: UnboundedReceiver<InForce>) {
        while let Some(in_force) = heard.recv().await {
            self.in_force(in_force);
        }
    }

    /// Records what became of a look at the policies.
    pub fn policies(&self, reload: Reload, status: &Status) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let errors: Vec<String> = status.errors.iter().map(ToString::to_string).collect();
        let (name, digest) = match reload {
            Reload::Replaced => ("PoliciesReplaced", &status.digest),
            // A file that cannot be read is refused at every look.
            Reload::Refused if *refused != errors => ("PoliciesRefused", &status.refused_digest),
            Reload::Refused | Reload::Unread => return,
        };
        let system = System {
            setting: Some("policy.directory".to_owned()),
            digest: Some(digest.clone()),
            errors: (!errors.is_empty()).then_some(errors.len()),
            ..System::default()
        };
        *refused = errors;
        self.trail.system(name, system);
    }

    fn in_force(&self, InForce { setting, digest }: InForce) {
        let name = match setting.as_str() {
            revocations if revocations.ends_with(".revocation_file") => "RevocationsReplaced",
            "aws.accounts_directory" => "AccountsReplaced",
            "lifecycle.directory" => "LifecycleRulesReplaced",
            keys if keys.starts_with("issuers.") || keys.starts_with("keys.") => "KeysReplaced",
            _ => "CertificatesReplaced",
        };
        let system = System { setting: Some(setting), digest: Some(digest), ..System::default() };
        self.trail.system(name, system);
    }
}
