//! Glacier's identifiers as checked types: a value of one of these is safe to
//! put into a request path and to compare with a policy.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, de};

/// An identifier that breaks Glacier's rules; the message says which rule and
/// never repeats more than the kind of the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidId(&'static str);

macro_rules! checked_string {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The identifier's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let check: fn(&str) -> Result<(), &'static str> = $check;
                check(text).map_err(InvalidId)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Text::deserialize(deserializer)?.0.parse().map_err(de::Error::custom)
            }
        }
    };
}

/// A string, or a number where the source of the value has no quotes: an account
/// in an environment variable reads as a number and loses its leading zeros.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Text, E> {
                Ok(Text(format!("{number:012}")))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Text, E> {
                self.visit_u64(u64::try_from(number).map_err(E::custom)?)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

checked_string!(
    /// An AWS account: exactly 12 digits. Glacier's `-` (the caller's own
    /// account) is resolved before one of these is made.
    AccountId,
    |text| {
        if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
            Ok(())
        } else {
            Err("an account ID is 12 digits without hyphens, or \"-\" for the default account")
        }
    }
);

checked_string!(
    /// A vault's name: 1–255 of `A-Z a-z 0-9 _ - .` (Glacier Developer Guide,
    /// "Create Vault"), except `.` and `..`, which HTTP clients and proxies
    /// resolve as path segments.
    VaultName,
    |text| {
        if text == "." || text == ".." {
            Err("a vault cannot be addressed as \".\" or \"..\": they are path segments")
        } else if (1..=255).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
        {
            Ok(())
        } else {
            Err("a vault name is 1 to 255 characters of A-Z, a-z, 0-9, \"_\", \"-\" and \".\"")
        }
    }
);

checked_string!(
    /// A multipart upload's ID: 1–256 base64url characters. Real ones have 92,
    /// AWS's documentation shows 88; Glacier promises no length. It may begin
    /// with `-`.
    UploadId,
    |text| {
        if (1..=256).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
        {
            Ok(())
        } else {
            Err("an upload ID is 1 to 256 characters of A-Z, a-z, 0-9, \"_\" and \"-\"")
        }
    }
);

checked_string!(
    /// An AWS region's code, such as `eu-central-1`.
    Region,
    |text| {
        let parts: Vec<&str> = text.split('-').collect();
        let lower = |p: &&str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_lowercase());
        match parts.split_last() {
            Some((number, names))
                if text.len() <= 32
                    && names.len() >= 2
                    && names.iter().all(lower)
                    && (1..=2).contains(&number.len())
                    && number.bytes().all(|b| b.is_ascii_digit()) =>
            {
                Ok(())
            }
            _ => Err("a region is an AWS region code such as \"eu-central-1\""),
        }
    }
);

impl Region {
    /// AWS's partitions, as they stand in ARNs, and how the codes of a partition's
    /// regions begin; regions that begin otherwise are in `aws`, the last.
    pub const PARTITIONS: [(&'static str, &'static str); 8] = [
        ("aws-cn", "cn-"),
        ("aws-eusc", "eusc-"),
        ("aws-iso", "us-iso-"),
        ("aws-iso-b", "us-isob-"),
        ("aws-iso-e", "eu-isoe-"),
        ("aws-iso-f", "us-isof-"),
        ("aws-us-gov", "us-gov-"),
        ("aws", ""),
    ];

    /// The partition the region belongs to, as it stands in ARNs.
    pub fn partition(&self) -> &'static str {
        let mut partitions = Self::PARTITIONS.iter();
        let own = partitions.find(|(_, regions)| self.0.starts_with(regions));
        own.map_or("aws", |(partition, _)| partition)
    }
}

/// What a Glacier policy speaks of:
/// `arn:{partition}:glacier:{region}:{account}:vaults/{name}`. There is no finer
/// resource than the vault.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VaultArn {
    /// The vault's region.
    pub region: Region,
    /// The account that owns the vault.
    pub account: AccountId,
    /// The vault's name.
    pub vault: VaultName,
}

impl VaultArn {
    /// The vault of an ARN as this prints it.
    pub fn parse(text: &str) -> Option<Self> {
        let [_, _, _, region, account, vault] = text.split(':').collect::<Vec<_>>()[..] else {
            return None;
        };
        let vault = Self {
            region: region.parse().ok()?,
            account: account.parse().ok()?,
            vault: vault.strip_prefix("vaults/")?.parse().ok()?,
        };
        (vault.to_string() == text).then_some(vault)
    }
}

impl fmt::Display for VaultArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { region, account, vault } = self;
        write!(f, "arn:{}:glacier:{region}:{account}:vaults/{vault}", region.partition())
    }
}

/// An account in one region: what ListVaults lists the vaults of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RegionalAccount {
    /// The region whose vaults are listed.
    pub region: Region,
    /// The account whose vaults are listed.
    pub account: AccountId,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn vault_names_follow_glaciers_charset_but_never_path_segments() {
        for good in ["a", "A.b_c-1", "...", ".a", &"v".repeat(255)] {
            assert!(good.parse::<VaultName>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a%2Fb", "a b", "ü", "a\0", &"v".repeat(256)] {
            assert!(bad.parse::<VaultName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn upload_ids_are_base64url_of_any_length_and_may_begin_with_a_hyphen() {
        for good in ["-abc", "_", &"x".repeat(92), &"x".repeat(88)] {
            assert!(good.parse::<UploadId>().is_ok(), "{good}");
        }
        for bad in ["", ".", "a.b", "a+b", "a=", "a/b", &"x".repeat(257)] {
            assert!(bad.parse::<UploadId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn accounts_are_twelve_digits() {
        assert!("012345678901".parse::<AccountId>().is_ok());
        for bad in ["-", "", "1234-5678-9012", "0123456789012", "01234567890a"] {
            assert!(bad.parse::<AccountId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn regions_look_like_regions_and_know_their_partition() {
        for (region, partition) in [
            ("eu-central-1", "aws"),
            ("us-gov-west-1", "aws-us-gov"),
            ("cn-north-1", "aws-cn"),
            ("eusc-de-east-1", "aws-eusc"),
            ("us-iso-east-1", "aws-iso"),
            ("us-isob-east-1", "aws-iso-b"),
            ("eu-isoe-west-1", "aws-iso-e"),
            ("us-isof-south-1", "aws-iso-f"),
            ("ap-southeast-12", "aws"),
        ] {
            assert_eq!(region.parse::<Region>().unwrap().partition(), partition);
        }
        for bad in
            ["", "eu", "eu-1", "eu-central", "EU-central-1", "eu-central-1.evil.com", "eu--1"]
        {
            assert!(bad.parse::<Region>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_arn_prints_as_iam_writes_it() {
        let arn = VaultArn {
            region: "cn-north-1".parse().unwrap(),
            account: "012345678901".parse().unwrap(),
            vault: "photos".parse().unwrap(),
        };
        assert_eq!(arn.to_string(), "arn:aws-cn:glacier:cn-north-1:012345678901:vaults/photos");
        assert_eq!(VaultArn::parse(&arn.to_string()), Some(arn));
        for other in ["", "arn:aws:glacier:cn-north-1:012345678901:vaults/photos", "*"] {
            assert_eq!(VaultArn::parse(other), None, "{other}");
        }
    }
}
