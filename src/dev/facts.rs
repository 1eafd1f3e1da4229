//! Where everything of `dev` is, as it prints it.

use std::{
    collections::BTreeMap,
    env, fmt,
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use serde::Serialize;

use super::backlog::BacklogFacts;

/// Where everything is: what `dev --json` prints. For a person, the secrets are in a
/// file that a shell reads.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    pub(super) rest: String,
    pub(super) management: String,
    pub(super) docs: String,
    pub(super) openapi: String,
    pub(super) issuer: String,
    pub(super) policies: String,
    pub(super) config: String,
    pub(super) simulator: SimulatorFacts,
    pub(super) door: String,
    pub(super) tokens: BTreeMap<&'static str, String>,
    pub(super) keys: BTreeMap<&'static str, KeyFacts>,
    pub(super) vaults: Vec<VaultFacts>,
    pub(super) backlog: BacklogFacts,
    #[serde(skip)]
    pub(super) environment: PathBuf,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SimulatorFacts {
    pub(super) endpoint: String,
    pub(super) control: String,
    pub(super) region: &'static str,
    pub(super) account_id: &'static str,
    pub(super) access_key_id: &'static str,
    pub(super) secret_access_key: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyFacts {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VaultFacts {
    pub(super) account_id: &'static str,
    pub(super) name: &'static str,
    pub(super) uploads: Vec<UploadFacts>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UploadFacts {
    pub(super) upload_id: String,
    pub(super) archive_description: &'static str,
    pub(super) creation_date: String,
}

impl Facts {
    /// Writes the variables that the printed lines use, for the owner of the process only.
    pub(super) fn write_environment(&self) -> io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.environment)?;
        for (team, token) in &self.tokens {
            writeln!(file, "export {}='{token}'", team.to_uppercase())?;
        }
        for (team, key) in &self.keys {
            let team = team.to_uppercase();
            writeln!(file, "export {team}_ACCESS_KEY_ID='{}'", key.access_key_id)?;
            writeln!(file, "export {team}_SECRET_ACCESS_KEY='{}'", key.secret_access_key)?;
        }
        let SimulatorFacts { access_key_id, secret_access_key, .. } = &self.simulator;
        writeln!(file, "export SIMULATOR_ACCESS_KEY_ID='{access_key_id}'")?;
        writeln!(file, "export SIMULATOR_SECRET_ACCESS_KEY='{secret_access_key}'")?;
        writeln!(file, "export GATEWAY_CONFIG='{}'", self.config)?;
        // The commands that ask a gateway ask this one, as the media team.
        writeln!(file, "export GATEWAY_URL='{}'", self.rest)?;
        if let Some(token) = self.tokens.get("media") {
            writeln!(file, "export GATEWAY_TOKEN='{token}'")?;
        }
        if let Some(upload) = self.vaults.first().and_then(|vault| vault.uploads.first()) {
            writeln!(file, "export UPLOAD='{}'", upload.upload_id)?;
        }
        Ok(())
    }
}

/// What `dev` prints for a person.
impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rest, docs, simulator, policies, door, .. } = self;
        writeln!(f, "Glacier Gateway is running, with a simulated Glacier behind it.\n")?;
        writeln!(f, "  REST API    {rest}")?;
        writeln!(f, "  Swagger UI  {docs}")?;
        writeln!(f, "  AWS SDKs    {door} (as endpoint URL)")?;
        writeln!(f, "  Probes      {}/readyz", self.management)?;
        writeln!(f, "  Simulator   {} (control: {})", simulator.endpoint, simulator.control)?;
        writeln!(f, "  Policies    {policies}")?;
        let (own, other): (Vec<_>, Vec<_>) =
            self.vaults.iter().partition(|vault| vault.account_id == simulator.account_id);
        let names = |vaults: &[&VaultFacts]| -> String {
            vaults.iter().map(|vault| vault.name).collect::<Vec<_>>().join(", ")
        };
        writeln!(f, "  Vaults      {} (in {})", names(&own), simulator.account_id)?;
        let BacklogFacts { name, uploads, .. } = &self.backlog;
        writeln!(
            f,
            "              {name}, with {uploads} forgotten uploads (README.md, Clean up)"
        )?;
        let archive = other.first().map_or("", |vault| vault.account_id);
        writeln!(f, "              {} (in {archive}, through a role)\n", names(&other))?;
        let teams: Vec<_> = self.tokens.keys().map(|team| team.to_uppercase()).collect();
        writeln!(
            f,
            "# First set ${}: a token for each team, valid for 12 hours",
            teams.join(", $")
        )?;
        writeln!(f, ". {}", self.environment.display())?;

        let vault = self.vaults.first().map_or("", |vault| vault.name);
        let uploads = format!("{rest}/v1/accounts/-/vaults/{vault}/multipart-uploads");
        let bearer = |team: &str| format!("curl -i -H \"Authorization: Bearer ${team}\"");
        writeln!(f, "\n# The media team aborts one of its uploads: 204")?;
        writeln!(f, "{} -X DELETE {uploads}/$UPLOAD", bearer("MEDIA"))?;
        writeln!(f, "# The finance team may not: 403, with the reason")?;
        writeln!(f, "{} -X DELETE {uploads}/$UPLOAD", bearer("FINANCE"))?;
        writeln!(f, "# What is left")?;
        writeln!(f, "{} {uploads}", bearer("MEDIA"))?;
        writeln!(f, "# Which accounts the team may see")?;
        writeln!(f, "{} {rest}/v1/accounts", bearer("MEDIA"))?;
        if let Some(VaultFacts { account_id, name, .. }) = other.first() {
            let uploads =
                format!("{rest}/v1/accounts/{account_id}/vaults/{name}/multipart-uploads");
            writeln!(f, "# The uploads of a vault in another account")?;
            writeln!(f, "{} {uploads}", bearer("MEDIA"))?;
        }
        writeln!(f, "\n# The same with the AWS CLI and the media team's gateway key")?;
        writeln!(
            f,
            "AWS_ACCESS_KEY_ID=$MEDIA_ACCESS_KEY_ID \
             AWS_SECRET_ACCESS_KEY=$MEDIA_SECRET_ACCESS_KEY AWS_DEFAULT_REGION={region} \
             aws --endpoint-url {door} glacier list-multipart-uploads --account-id - \
             --vault-name {vault}",
            region = simulator.region,
        )?;
        let program = env::args_os().next().unwrap_or_default();
        let program = PathBuf::from(program);
        writeln!(f, "\n# Whether the roles of further accounts can be assumed")?;
        writeln!(
            f,
            "AWS_ACCESS_KEY_ID=$SIMULATOR_ACCESS_KEY_ID \
             AWS_SECRET_ACCESS_KEY=$SIMULATOR_SECRET_ACCESS_KEY {} check-config --probe",
            program.display(),
        )?;
        writeln!(f, "\n# What is on record, and whether anybody changed it")?;
        writeln!(f, "{} {rest}/v1/audit-events", bearer("AUDITORS"))?;
        writeln!(f, "{} audit verify", program.display())?;
        writeln!(f, "\nPress Ctrl-C to stop.")
    }
}
