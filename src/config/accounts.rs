//! `[accounts.NAME]`: AWS accounts, each reached through a role of its own.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;
use url::Url;

use crate::domain::{AccountId, Region};

/// The name of the account that `-` stands for, unless a table names it.
pub const DEFAULT_ACCOUNT: &str = "default";

/// `[accounts.NAME]`
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The account.
    pub id: AccountId,
    /// The regions that callers may name.
    #[serde(default)]
    pub regions: Vec<Region>,
    /// The role that the gateway assumes there. Without one it uses its own credentials.
    pub role_arn: Option<RoleArn>,
    /// What the role's trust policy asks for. AWS does not treat it as a secret.
    pub external_id: Option<ExternalId>,
    /// The file with the external ID.
    pub external_id_file: Option<PathBuf>,
    /// Where Glacier answers for this account, if not where it does for the others.
    pub endpoint_url: Option<Url>,
    /// What policies may ask of the account.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Whom a session of the role is for.
    #[serde(default)]
    pub session: SessionFor,
}

/// Whom a session of a role is for, and so whom AWS's own logs name.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum SessionFor {
    /// All members of a team.
    #[default]
    Team,
    /// One member of a team.
    Subject,
}

/// The ARN of an IAM role (IAM User Guide, "IAM identifiers").
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Hash)]
#[serde(try_from = "String")]
pub struct RoleArn(String);

impl RoleArn {
    /// The ARN's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// arn:PARTITION:iam::ACCOUNT:role/NAME
    fn part(&self, index: usize) -> &str {
        self.0.split(':').nth(index).unwrap_or_default()
    }
}

impl TryFrom<String> for RoleArn {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let parts: Vec<&str> = text.split(':').collect();
        let role = match parts[..] {
            ["arn", _, "iam", "", account, role] if account.parse::<AccountId>().is_ok() => role,
            _ => "",
        };
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-/".contains(&byte);
        let name = role.strip_prefix("role/").filter(|name| !name.ends_with('/'));
        if name.is_some_and(|name| !name.is_empty() && name.bytes().all(good)) {
            Ok(Self(text))
        } else {
            Err("write the ARN of a role, such as \"arn:aws:iam::444455556666:role/glacier\"")
        }
    }
}

/// An external ID (STS API Reference, "AssumeRole").
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Hash)]
#[serde(try_from = "String")]
pub struct ExternalId(String);

impl ExternalId {
    /// The ID's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ExternalId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&byte);
        if (2..=1224).contains(&text.len()) && text.bytes().all(good) {
            Ok(Self(text))
        } else {
            Err("an external ID has 2 to 1224 characters of A-Z, a-z, 0-9 and _+=,.@:/-")
        }
    }
}

/// What `[aws]` says of the account that `-` stands for.
pub(super) struct DefaultAccount<'a> {
    pub id: &'a AccountId,
    pub regions: Vec<&'a Region>,
    /// It is also that of accounts that have none of their own.
    pub endpoint_url: Option<&'a Url>,
}

/// What the types cannot say of all accounts together; `wrong` takes the key and what to
/// write instead.
pub(super) fn check(
    default: &DefaultAccount<'_>,
    accounts: &BTreeMap<String, Account>,
    mut wrong: impl FnMut(String, &str),
) {
    if let Some(what) = elsewhere(default.endpoint_url, &default.regions) {
        wrong("aws.endpoint_url".to_owned(), &what);
    }
    let mut seen = BTreeMap::new();
    for (name, account) in accounts {
        let mut wrong = |leaf: &str, what: &str| wrong(format!("accounts.{name}{leaf}"), what);
        let is_default = account.id == *default.id;
        if !is_name(name) {
            wrong("", "an account's name has 1 to 64 characters of A-Z, a-z, 0-9, _ and -");
        } else if name == DEFAULT_ACCOUNT && !is_default {
            wrong("", "is the name of aws.account_id; choose another");
        }
        if let Some(other) = seen.insert(&account.id, name) {
            wrong(".id", &format!("is already the account of accounts.{other}"));
        }
        if account.regions.is_empty() && !is_default {
            wrong(".regions", "name the regions that callers may name");
        }
        let own = if is_default { &default.regions[..] } else { &[] };
        let regions: Vec<&Region> = account.regions.iter().chain(own.iter().copied()).collect();
        account.check(&regions, default.endpoint_url, &mut wrong);
    }
}

/// Whether an account may be named so.
pub(super) fn is_name(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(good)
}

/// What is wrong with a URL of Glacier or STS: paths are put behind it.
pub(super) fn wrong_endpoint(url: &Url) -> Option<&'static str> {
    let has_user = !url.username().is_empty() || url.password().is_some();
    if !matches!(url.scheme(), "http" | "https") {
        Some("write an http:// or https:// URL")
    } else if has_user || url.query().is_some() || url.fragment().is_some() {
        Some("write a URL without user name, password, query (?) and fragment (#)")
    } else {
        None
    }
}

/// That an endpoint of AWS's is that of another region than one of these. A simulator or a
/// proxy may answer for several.
fn elsewhere(url: Option<&Url>, regions: &[&Region]) -> Option<String> {
    let host = url?.host_str()?;
    let is_of_aws = [".amazonaws.com", ".amazonaws.com.cn"].iter().any(|end| host.ends_with(end));
    let region = regions.iter().find(|region| is_of_aws && !host.contains(region.as_str()))?;
    Some(format!("{host} does not answer for the region {region}"))
}

impl Account {
    /// `regions` are all that callers may name, and `endpoint_url` is that of accounts that
    /// have none.
    fn check(
        &self,
        regions: &[&Region],
        endpoint_url: Option<&Url>,
        wrong: &mut impl FnMut(&str, &str),
    ) {
        match &self.role_arn {
            Some(role) => {
                if role.part(4) != self.id.as_str() {
                    wrong(".role_arn", "is a role of another account than id");
                }
                let foreign = regions.iter().find(|r| r.partition() != role.part(1));
                if let Some(region) = foreign {
                    let partition = region.partition();
                    let message = format!("{region} is in the partition {partition}, the role not");
                    wrong(".regions", &message);
                }
            }
            None => {
                let needless = [
                    (".external_id", self.external_id.is_some()),
                    (".external_id_file", self.external_id_file.is_some()),
                    (".session", self.session == SessionFor::Subject),
                ];
                for (leaf, _) in needless.iter().filter(|(_, given)| *given) {
                    wrong(leaf, "is for a role: write role_arn as well");
                }
            }
        }
        if self.external_id.is_some() && self.external_id_file.is_some() {
            wrong(".external_id", "write either external_id or external_id_file, not both");
        }
        if let Some(what) = self.endpoint_url.as_ref().and_then(wrong_endpoint) {
            wrong(".endpoint_url", what);
        } else if let Some(what) = elsewhere(self.endpoint_url.as_ref().or(endpoint_url), regions) {
            wrong(".endpoint_url", &what);
        }
        let mut keys: Vec<String> = self.tags.keys().map(|key| key.to_lowercase()).collect();
        keys.sort();
        if keys.iter().any(String::is_empty) || keys.windows(2).any(|pair| pair[0] == pair[1]) {
            wrong(".tags", "tag keys are not empty, and not case-sensitive: two must differ");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn an_endpoint_has_nothing_behind_its_path_and_answers_for_its_regions() {
        let given = |url: &str| {
            let settings = EXAMPLE.replace("regions = [\"us-east-1\"]", "");
            let url = format!("[aws]\nendpoint_url = \"{url}\"");
            Settings::from_toml(&settings.replace("[aws]", &url))
        };
        for good in [
            "http://127.0.0.1:9090/glacier",
            "https://vpce-1a-2b.glacier.eu-central-1.vpce.amazonaws.com",
            "https://proxy.example.com",
        ] {
            assert!(given(good).is_ok(), "{good}");
        }
        for (bad, told) in [
            ("https://a:b@x.example", "without user name"),
            ("https://x.example/?a", "without user name"),
            ("https://x.example/#", "without user name"),
            (
                "https://glacier.us-east-1.amazonaws.com",
                "does not answer for the region eu-central-1",
            ),
        ] {
            let mistakes = given(bad).unwrap_err();
            assert_eq!((mistakes.len(), &*mistakes[0].key), (1, "aws.endpoint_url"), "{bad}");
            assert!(mistakes[0].message.contains(told), "{}", mistakes[0]);
        }
    }

    const EXAMPLE: &str = include_str!("../../config/example.toml");

    fn mistakes(text: &str) -> Vec<String> {
        let found = Settings::from_toml(&format!("{EXAMPLE}\n{text}")).unwrap_err();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_account_takes_little_and_is_for_teams() {
        let text = "[accounts.media]\nid = \"444455556666\"\nregions = [\"us-east-1\"]\n";
        let settings = Settings::from_toml(&format!("{EXAMPLE}\n{text}")).unwrap();
        let media = &settings.accounts["media"];
        assert_eq!((media.role_arn.as_ref(), media.session), (None, SessionFor::Team));
    }

    #[test]
    fn all_mistakes_of_all_accounts_are_reported_at_once() {
        let found = mistakes(
            r#"
            [accounts.a]
            id = "444455556666"
            regions = ["eu-central-1"]
            role_arn = "arn:aws:iam::777788889999:role/glacier"
            external_id = "x"
            [accounts.b]
            id = "444455556666"
            regions = ["cn-north-1"]
            role_arn = "arn:aws:iam::444455556666:role/path/glacier"
            external_id = "xy"
            external_id_file = "x"
            [accounts.c]
            regoins = ["eu-central-1"]
            id = "123"
            role_arn = "arn:aws:iam::444455556666:user/glacier"
            session = "person"
            [accounts.d]
            id = "555566667777"
            external_id = "xy"
            session = "subject"
            endpoint_url = "ftp://x"
            tags = { env = "a", ENV = "b" }
            [accounts."e.f"]
            id = "666677778888"
            regions = ["eu-central-1"]
            [accounts.default]
            id = "777788880000"
            regions = ["eu-central-1"]
            [accounts.f]
            id = "777788881111"
            regions = ["us-east-1", "eu-west-1"]
            endpoint_url = "https://glacier.us-east-1.amazonaws.com"
            [accounts.g]
            id = "777788882222"
            regions = ["us-east-1"]
            endpoint_url = "https://user@glacier.example.com"
            [accounts.own]
            id = "111122223333"
            role_arn = "arn:aws-cn:iam::111122223333:role/glacier"
            "#,
        );
        for told in [
            "accounts.a.role_arn: is a role of another account than id",
            "accounts.a.external_id: an external ID has 2",
            "accounts.b.id: is already the account of accounts.a",
            "accounts.b.regions: cn-north-1 is in the partition aws-cn",
            "accounts.b.external_id: write either external_id or external_id_file",
            "accounts.c.regoins: is no setting; did you mean \"regions\"?",
            "accounts.c.id: an account ID is 12 digits",
            "accounts.c.role_arn: write the ARN of a role",
            "accounts.c.session: \"person\" is not one of team, subject",
            "accounts.d.regions: name the regions",
            "accounts.d.external_id: is for a role",
            "accounts.d.session: is for a role",
            "accounts.d.endpoint_url: write an http",
            "accounts.d.tags: tag keys",
            "accounts.e.f: an account's name has",
            "accounts.default: is the name of aws.account_id",
            "accounts.f.endpoint_url: glacier.us-east-1.amazonaws.com does not answer for the region eu-west-1",
            "accounts.g.endpoint_url: write a URL without user name",
            "accounts.own.regions: us-east-1 is in the partition aws, the role not",
        ] {
            assert!(found.iter().any(|mistake| mistake.starts_with(told)), "{told}: {found:#?}");
        }
    }
}
