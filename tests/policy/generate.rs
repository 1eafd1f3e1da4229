//! Random policies and requests that meet often enough to matter.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

pub struct Generator(StdRng);

const ACTIONS: &[&str] = &[
    "glacier:AbortMultipartUpload",
    "glacier:ListParts",
    "glacier:ListMultipartUploads",
    "glacier:DescribeVault",
    "glacier:ListVaults",
];
const ACTION_PATTERNS: &[&str] = &[
    "*",
    "glacier:*",
    "glacier:Abort*",
    "GLACIER:abortmultipartupload",
    "glacier:List*",
    "glacier:ListPart?",
    "glacier:*Multipart*",
    "glacier:DescribeVault",
    "glacier:DeleteVault",
    "s3:GetObject",
];
const VAULTS: &[&str] = &[
    "arn:aws:glacier:us-east-1:123456789012:vaults/photos",
    "arn:aws:glacier:us-east-1:123456789012:vaults/photos-2",
    "arn:aws:glacier:eu-central-1:123456789012:vaults/video",
    "arn:aws:glacier:us-east-1:210987654321:vaults/photos",
    "arn:aws:glacier:us-east-1:123456789012:vaults/a*b",
    "arn:aws:glacier:us-east-1:123456789012:vaults/aXb",
    "*",
];
const RESOURCE_PATTERNS: &[&str] = &[
    "*",
    "arn:aws:glacier:us-east-1:123456789012:vaults/photos",
    "arn:aws:glacier:us-east-1:123456789012:vaults/photo?",
    "arn:aws:glacier:us-east-1:123456789012:vaults/photos*",
    "arn:aws:glacier:*:*:vaults/photos",
    "arn:aws:glacier:*:123456789012:vaults/photos",
    "arn:aws:glacier:*:123456789012:vaults/photos-*",
    "arn:aws:glacier:*:123456789012:vaults/a*b",
    "arn:aws:glacier:*:*:vaults/vid?o",
    "arn:aws:glacier:*:123456789012:vaults/${aws:PrincipalTag/team}",
    "arn:aws:glacier:*:123456789012:vaults/${aws:PrincipalTag/team, 'photos'}-2",
    "arn:aws:glacier:us-*",
    "arn:aws:glacier:us-east-1",
    "arn:aws:glacier:*:123456789012",
    "arn:*:vaults/photos",
    "arn:aws:glacier:us-east-1:*:vaults/*o*",
    "arn:aws:glacier:eu-central-1:123456789012:vaults/VIDEO",
    "arn:aws:glacier:us-east-1:123456789012:vaults/${aws:PrincipalTag/team}",
    "arn:aws:glacier:us-east-1:123456789012:vaults/${aws:PrincipalTag/team}*",
    "arn:aws:glacier:us-east-1:123456789012:vaults/${AWS:principaltag/TEAM, 'photos'}",
    "arn:aws:glacier:us-east-1:123456789012:vaults/*${aws:PrincipalTag/team, ''}",
    "arn:aws:glacier:us-east-1:123456789012:vaults/*${aws:PrincipalTag/team, ''}s",
    "arn:aws:glacier:us-east-1:123456789012:vaults/a${*}b",
    "arn:aws:glacier:us-east-1:123456789012:vaults/a${?}b",
    "arn:aws:glacier:us-east-1:123456789012:vaults/${jwt:groups}",
];
const PRINCIPALS: &[&str] = &[
    "arn:aws:glacier-gateway:::team/photos/ann",
    "arn:aws:glacier-gateway:::team/photos/ann/photos",
    "arn:aws:glacier-gateway:::team/photos-2/ann",
    "arn:aws:iam::123456789012:user/team-a",
    "arn:aws:sts::123456789012:assumed-role/backup/session",
];
const PRINCIPAL_IDS: &[&str] = &[
    "*",
    "arn:aws:glacier-gateway:::team/photos",
    "arn:aws:glacier-gateway:::team/photos/ann",
    "arn:aws:glacier-gateway:::team/photos/bob",
    "arn:aws:iam::123456789012:user/team-a",
    "arn:aws:iam::123456789012:root",
    "123456789012",
    "210987654321",
    "arn:aws:iam::123456789012:role/ops/backup",
    "arn:aws:sts::123456789012:assumed-role/backup/session",
];
const STRINGS: &[&str] = &["photos", "PHOTOS", "video", "", "a*b", "aXb", "photo?", "füße", "FÜßE"];
const PATTERNS: &[&str] = &[
    "photos",
    "pho*",
    "?hotos",
    "*",
    "",
    "a*b",
    "a${*}b",
    "${aws:PrincipalTag/team}",
    "${aws:PrincipalTag/team, 'video'}",
    "x${jwt:groups}",
    "f??e",
    "photo${?}",
];
const NUMBERS: &[&str] = &["0", "1", "1.0", "7", "10", "-3", "2.5", "abc"];
const DATES: &[&str] = &[
    "2026-11-23T10:00:00Z",
    "2026-11-23T11:00:00+01:00",
    "2026-11-23T10:00Z",
    "2026-11-23",
    "2026-11",
    "2027",
    "1795000000",
    "1577836800",
    "2026-11-23T10:00:00",
    "never",
];
const ADDRESSES: &[&str] =
    &["203.0.113.7", "203.0.114.1", "2001:db8::1", "2001:db8:0:0::1", "::ffff:203.0.113.7", "here"];
const NETWORKS: &[&str] = &[
    "203.0.113.0/24",
    "203.0.113.7",
    "203.0.113.9/24",
    "2001:db8::/32",
    "2001:db8::1",
    "0.0.0.0/0",
    "::/0",
    "10.0.0.0/33",
];
const ARNS: &[&str] = &[
    "arn:aws:sns:us-east-1:123456789012:topic-1",
    "arn:aws:sns:us-east-1:123456789012:topic:sub",
    "arn:aws:iam::123456789012:user/photos",
    "arn:aws:sns:us-east-1",
    "photos",
];
const ARN_PATTERNS: &[&str] = &[
    "arn:aws:sns:*:123456789012:*",
    "arn:aws:sns:us-east-?:*:topic-1",
    "arn:*",
    "arn:aws:sns:*",
    "arn:aws:s*:us-east-1:123456789012:topic:sub",
    "arn:aws:iam::123456789012:user/${aws:PrincipalTag/team}",
    "${aws:SourceArn}",
    "*",
];
const BINARIES: &[&str] = &["QUJD", "qujd", "QUJDRA==", "QUJDRA"];
const BOOLS: &[&str] = &["true", "false", "True", "maybe"];

/// Operators' stems with keys and values that go with them.
type Family = (&'static [&'static str], &'static [&'static str], &'static [&'static str]);
const FAMILIES: &[Family] = &[
    (
        &[
            "StringEquals",
            "StringNotEquals",
            "StringEqualsIgnoreCase",
            "StringNotEqualsIgnoreCase",
            "StringLike",
            "StringNotLike",
        ],
        &[
            "aws:PrincipalTag/team",
            "aws:principaltag/Team",
            "jwt:groups",
            "aws:UserAgent",
            "gateway:AccountName",
            "gateway:accounttag/Env",
        ],
        PATTERNS,
    ),
    (
        &[
            "NumericEquals",
            "NumericNotEquals",
            "NumericLessThan",
            "NumericLessThanEquals",
            "NumericGreaterThan",
            "NumericGreaterThanEquals",
        ],
        &["gateway:UploadAgeInDays", "jwt:level"],
        NUMBERS,
    ),
    (
        &[
            "DateEquals",
            "DateNotEquals",
            "DateLessThan",
            "DateLessThanEquals",
            "DateGreaterThan",
            "DateGreaterThanEquals",
        ],
        &["aws:CurrentTime", "aws:EpochTime"],
        DATES,
    ),
    (&["Bool"], &["aws:SecureTransport", "gateway:DryRun"], BOOLS),
    (&["IpAddress", "NotIpAddress"], &["aws:SourceIp"], NETWORKS),
    (&["ArnEquals", "ArnNotEquals", "ArnLike", "ArnNotLike"], &["aws:SourceArn"], ARN_PATTERNS),
    (&["BinaryEquals"], &["jwt:blob"], BINARIES),
];

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    fn one(&mut self, from: &[&'static str]) -> &'static str {
        from.choose(&mut self.0).unwrap()
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.0.random_range(0..100) < percent
    }

    /// One value, or a list of up to three.
    fn some(&mut self, from: &[&'static str]) -> Value {
        if self.chance(60) {
            return json!(self.one(from));
        }
        let count = self.0.random_range(1..=3);
        (0..count).map(|_| json!(self.one(from))).collect()
    }

    /// A case of the batch form.
    pub fn case(&mut self) -> Value {
        let mut case = json!({
            "id": 0,
            "policies": self.documents(2, false),
            "request": {
                "principal": self.one(PRINCIPALS),
                "action": self.one(ACTIONS),
                "resource": self.one(VAULTS),
                "context": self.context(),
            },
        });
        if self.chance(30) {
            case["guardrails"] = self.documents(2, false);
        }
        if self.chance(40) {
            case["vaultPolicies"] = self.documents(1, true);
        }
        case
    }

    pub fn documents(&mut self, most: usize, principals: bool) -> Value {
        let count = self.0.random_range(1..=most);
        (0..count).map(|_| self.document(principals)).collect()
    }

    fn document(&mut self, principals: bool) -> Value {
        let mut document = Map::new();
        match self.0.random_range(0..10) {
            0 => {}
            1 => drop(document.insert("Version".into(), json!("2008-10-17"))),
            _ => drop(document.insert("Version".into(), json!("2012-10-17"))),
        }
        let statements: Vec<Value> =
            (0..self.0.random_range(1..=3)).map(|_| self.statement(principals)).collect();
        let single = statements.len() == 1 && self.chance(50);
        let statements = if single { statements[0].clone() } else { json!(statements) };
        document.insert("Statement".into(), statements);
        document.into()
    }

    pub fn statement(&mut self, principals: bool) -> Value {
        let effect = if self.chance(65) { "Allow" } else { "Deny" };
        let action = if self.chance(85) { "Action" } else { "NotAction" };
        let resource = if self.chance(85) { "Resource" } else { "NotResource" };
        let mut statement = json!({
            "Effect": effect,
            action: self.some(ACTION_PATTERNS),
            resource: self.some(RESOURCE_PATTERNS),
        });
        if principals {
            let element = if self.chance(80) { "Principal" } else { "NotPrincipal" };
            statement[element] = match self.chance(15) {
                true => json!("*"),
                false => json!({ "AWS": self.some(PRINCIPAL_IDS) }),
            };
        }
        if self.chance(60) {
            statement["Condition"] = self.conditions();
        }
        statement
    }

    fn conditions(&mut self) -> Value {
        let mut conditions = Map::new();
        for _ in 0..self.0.random_range(1..=2) {
            let (operator, key, values) = if self.chance(10) {
                let (_, keys, _) = FAMILIES.choose(&mut self.0).unwrap();
                ("Null".to_owned(), self.one(keys), self.some(&["true", "false"]))
            } else {
                let (stems, keys, values) = FAMILIES.choose(&mut self.0).unwrap();
                let set = match self.0.random_range(0..10) {
                    0 | 1 => "ForAllValues:",
                    2 | 3 => "ForAnyValue:",
                    _ => "",
                };
                let if_exists = if self.chance(15) { "IfExists" } else { "" };
                let operator = format!("{set}{}{if_exists}", self.one(stems));
                (operator, self.one(keys), self.some(values))
            };
            conditions.insert(operator, json!({ key: values }));
        }
        conditions.into()
    }

    /// Context keys, each now and then absent, empty, or with several values.
    fn context(&mut self) -> Value {
        let mut context = Map::new();
        let keys: &[(&str, &[&'static str])] = &[
            ("aws:PrincipalTag/team", STRINGS),
            ("jwt:groups", STRINGS),
            ("aws:UserAgent", STRINGS),
            ("gateway:AccountName", STRINGS),
            ("gateway:AccountTag/env", STRINGS),
            ("gateway:UploadAgeInDays", NUMBERS),
            ("jwt:level", NUMBERS),
            ("aws:CurrentTime", DATES),
            ("aws:EpochTime", DATES),
            ("aws:SecureTransport", BOOLS),
            ("gateway:DryRun", BOOLS),
            ("aws:SourceIp", ADDRESSES),
            ("aws:SourceArn", ARNS),
            ("jwt:blob", BINARIES),
        ];
        for (key, values) in keys {
            let value = match self.0.random_range(0..10) {
                0..=2 => continue,
                3 => json!([]),
                4 | 5 => self.some(values),
                _ => json!(self.one(values)),
            };
            context.insert((*key).to_owned(), value);
        }
        context.into()
    }
}
