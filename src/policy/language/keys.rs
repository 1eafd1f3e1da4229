//! The context keys: those that the gateway fills, and those that are known and that
//! it never fills.

use std::cmp::Ordering;
use std::fmt;

use super::operator::{Kind, Operator};
use crate::spelling::{nearest, within};

/// A context key in a policy. Names are not case-sensitive: keys are looked up and
/// compared in lower case, and shown as they are written.
#[derive(Clone, Debug)]
pub(crate) struct ContextKey {
    written: Box<str>,
    lower: Box<str>,
}

impl ContextKey {
    pub fn new(written: &str) -> Self {
        Self { written: written.into(), lower: written.to_lowercase().into() }
    }

    /// The name in lower case.
    pub fn lower(&self) -> &str {
        &self.lower
    }

    /// Whether the key is a fact about the upload.
    pub fn is_upload_fact(&self) -> bool {
        self.lower.starts_with("gateway:upload")
    }
}

impl fmt::Display for ContextKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl PartialEq for ContextKey {
    fn eq(&self, other: &Self) -> bool {
        self.lower == other.lower
    }
}

impl Eq for ContextKey {}

impl PartialOrd for ContextKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ContextKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.lower.cmp(&other.lower)
    }
}

/// The type of a context key's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyType {
    Arn,
    Bool,
    Date,
    IpAddress,
    Numeric,
    String,
    /// The value of a token's claim, of any type.
    Claim,
}

/// A context key, or a family of them that ends in `/` or `:`.
#[derive(Debug)]
pub(crate) struct Key {
    pub name: &'static str,
    pub kind: KeyType,
    /// Whether a request may have several values; `None` if that depends on the token.
    pub multivalued: Option<bool>,
    /// Whether the gateway ever fills it.
    pub filled: bool,
}

const fn filled(name: &'static str, kind: KeyType) -> Key {
    Key { name, kind, multivalued: Some(false), filled: true }
}

const fn absent(name: &'static str, kind: KeyType) -> Key {
    Key { name, kind, multivalued: Some(false), filled: false }
}

const fn absent_list(name: &'static str) -> Key {
    Key { name, kind: KeyType::String, multivalued: Some(true), filled: false }
}

/// Every key of the prefixes `aws:`, `glacier:`, `gateway:` and `jwt:` (IAM User
/// Guide, "AWS global condition context keys"; Service Authorization Reference,
/// "Condition keys for Amazon S3 Glacier").
const KEYS: &[Key] = &[
    filled("aws:PrincipalTag/", KeyType::String),
    filled("aws:PrincipalArn", KeyType::Arn),
    filled("aws:PrincipalType", KeyType::String),
    filled("aws:userid", KeyType::String),
    filled("aws:username", KeyType::String),
    filled("aws:RequestedRegion", KeyType::String),
    filled("aws:ResourceAccount", KeyType::String),
    filled("aws:SourceIp", KeyType::IpAddress),
    filled("aws:SecureTransport", KeyType::Bool),
    filled("aws:CurrentTime", KeyType::Date),
    filled("aws:EpochTime", KeyType::Date),
    filled("aws:UserAgent", KeyType::String),
    Key { name: "jwt:", kind: KeyType::Claim, multivalued: None, filled: true },
    filled("gateway:AccountName", KeyType::String),
    filled("gateway:AccountTag/", KeyType::String),
    filled("gateway:Actor", KeyType::String),
    filled("gateway:UploadAgeInDays", KeyType::Numeric),
    filled("gateway:UploadDescription", KeyType::String),
    filled("gateway:ViaJob", KeyType::Bool),
    // It was once always `false`: policies that ask for it are still accepted.
    absent("gateway:DryRun", KeyType::Bool),
    absent("glacier:ArchiveAgeInDays", KeyType::Numeric),
    absent("glacier:ResourceTag/", KeyType::String),
    absent("aws:AssumedRoot", KeyType::Bool),
    absent_list("aws:CalledVia"),
    absent("aws:CalledViaFirst", KeyType::String),
    absent("aws:CalledViaLast", KeyType::String),
    absent("aws:CalledViaAWSMCP", KeyType::String),
    absent("aws:ChatbotSourceArn", KeyType::Arn),
    absent("aws:Ec2InstanceSourcePrivateIPv4", KeyType::IpAddress),
    absent("aws:Ec2InstanceSourceVpc", KeyType::String),
    absent("aws:FederatedProvider", KeyType::String),
    absent("aws:IsMcpServiceAction", KeyType::Bool),
    absent("aws:MultiFactorAuthAge", KeyType::Numeric),
    absent("aws:MultiFactorAuthPresent", KeyType::Bool),
    absent("aws:PrincipalAccount", KeyType::String),
    absent("aws:PrincipalIsAWSService", KeyType::Bool),
    absent("aws:PrincipalOrgID", KeyType::String),
    absent_list("aws:PrincipalOrgPaths"),
    absent("aws:PrincipalServiceName", KeyType::String),
    absent_list("aws:PrincipalServiceNamesList"),
    absent("aws:Referer", KeyType::String),
    absent("aws:RequestTag/", KeyType::String),
    absent("aws:ResourceOrgID", KeyType::String),
    absent_list("aws:ResourceOrgPaths"),
    absent("aws:ResourceTag/", KeyType::String),
    absent("aws:SignInSessionArn", KeyType::Arn),
    absent("aws:SourceAccount", KeyType::String),
    absent("aws:SourceArn", KeyType::Arn),
    absent("aws:SourceIdentity", KeyType::String),
    absent("aws:SourceOrgID", KeyType::String),
    absent_list("aws:SourceOrgPaths"),
    // No longer documented, but still in the default policies of SNS topics.
    absent("aws:SourceOwner", KeyType::String),
    absent("aws:SourceVpc", KeyType::String),
    absent("aws:SourceVpcArn", KeyType::Arn),
    absent("aws:SourceVpce", KeyType::String),
    absent_list("aws:TagKeys"),
    absent("aws:TokenIssueTime", KeyType::Date),
    absent("aws:ViaAWSMCPService", KeyType::Bool),
    absent("aws:ViaAWSService", KeyType::Bool),
    absent("aws:VpcSourceIp", KeyType::IpAddress),
    absent("aws:VpceAccount", KeyType::String),
    absent("aws:VpceOrgID", KeyType::String),
    absent_list("aws:VpceOrgPaths"),
];

/// What the gateway knows about a key of some name.
pub(crate) enum Known {
    Key(&'static Key),
    /// A key that does not exist.
    Misspelt {
        nearest: Option<String>,
    },
    /// A key of another service, or one that AWS has added since. The gateway never fills
    /// it.
    Foreign,
}

/// Looks a key up; names are not case-sensitive.
pub(crate) fn look_up(name: &str) -> Known {
    let lower = name.to_lowercase();
    let found = KEYS.iter().find(|key| {
        let known = key.name.to_lowercase();
        match key.name.ends_with(['/', ':']) {
            true => lower.strip_prefix(&known).is_some_and(|rest| !rest.is_empty()),
            false => lower == known,
        }
    });
    if let Some(key) = found {
        return Known::Key(key);
    }
    let (prefix, _) = lower.split_once(':').unwrap_or(("", ""));
    // The family's part is compared without what follows it, which is kept.
    let (family, rest) = match name.split_once('/') {
        Some((family, rest)) => (format!("{family}/"), rest),
        None => (name.to_owned(), ""),
    };
    let names: Vec<_> = KEYS.iter().map(|key| key.name).collect();
    let nearest = match prefix {
        // AWS adds keys, so only what is nearly one that is known is a misspelling.
        "aws" => match within(2, &family, &names) {
            None => return Known::Foreign,
            near => near,
        },
        "" | "glacier" | "gateway" | "jwt" => nearest(&family, &names),
        other if misspells_own(other) => nearest(&family, &names),
        _ => return Known::Foreign,
    };
    Known::Misspelt { nearest: nearest.map(|nearest| nearest + rest) }
}

/// Whether the gateway ever fills a key.
pub(crate) fn is_filled(name: &str) -> bool {
    matches!(look_up(name), Known::Key(key) if key.filled)
}

/// Whether a prefix is probably meant as one of those above, and is not that of one of
/// AWS's services: they are three letters from the long ones (`apigateway`) and two
/// from the short ones (`acm`, `waf`), but for `aps`.
fn misspells_own(prefix: &str) -> bool {
    let near = within(2, prefix, &["glacier", "gateway"]).or(within(1, prefix, &["aws", "jwt"]));
    near.is_some() && prefix != "aps"
}

/// Whether an operator fits a type of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fitness {
    Fits,
    /// It compares texts, and the author hardly meant that.
    Doubtful,
    Never,
}

/// Whether an operator fits a key's type.
pub(crate) fn fitness(operator: Operator, kind: KeyType) -> Fitness {
    let text = matches!(operator.kind, Kind::String | Kind::StringIgnoreCase | Kind::StringLike);
    match (operator.kind, kind) {
        (Kind::Null, _) | (_, KeyType::Claim) => Fitness::Fits,
        (Kind::Arn, KeyType::Arn) | (Kind::Bool, KeyType::Bool) => Fitness::Fits,
        (Kind::IpAddress, KeyType::IpAddress) => Fitness::Fits,
        // aws:EpochTime is a number of seconds, too.
        (Kind::Date(_) | Kind::Numeric(_), KeyType::Date) => Fitness::Fits,
        (Kind::Numeric(_), KeyType::Numeric) => Fitness::Fits,
        (_, KeyType::String | KeyType::Arn) if text => Fitness::Fits,
        // A tag may well hold a number, a date or base64.
        (Kind::Numeric(_) | Kind::Date(_) | Kind::Binary | Kind::Bool, KeyType::String) => {
            Fitness::Doubtful
        }
        _ if text => Fitness::Doubtful,
        _ => Fitness::Never,
    }
}
