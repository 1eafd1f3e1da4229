//! The uploads that a request names one by one.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use utoipa::ToSchema;

use crate::domain::UploadId;

/// The most uploads that a request may name.
pub const MAX_UPLOAD_IDS: usize = 100_000;

/// An upload by its ID, in the one vault that the target names, or by its place as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = AbortJobUpload)]
// Their names say enough. With a description beside the reference to the other schema,
// openapi-generator leaves out its import in TypeScript.
#[allow(missing_docs)]
pub enum UploadName {
    #[schema(value_type = String)]
    Id(UploadId),
    Placed(Placed),
}

/// An upload and its place.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = AbortJobPlacedUpload)]
pub struct Placed {
    /// The account: 12 digits, a name, or `-`.
    #[serde(default = "dash")]
    pub account_id: String,
    /// The region; the default one unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub region: Option<String>,
    /// The vault.
    pub vault_name: String,
    /// The upload.
    #[schema(value_type = String)]
    pub upload_id: UploadId,
}

fn dash() -> String {
    "-".to_owned()
}

/// Says of an ID that is none why, which serde would not for either kind of name.
impl<'de> Deserialize<'de> for UploadName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl<'de> Visitor<'de> for Name {
            type Value = UploadName;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an upload ID, or an object with vaultName and uploadId")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<UploadName, E> {
                text.parse().map(UploadName::Id).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<UploadName, A::Error> {
                Placed::deserialize(MapAccessDeserializer::new(map)).map(UploadName::Placed)
            }
        }
        deserializer.deserialize_any(Name)
    }
}

/// Reads a list of uploads, and of one that is too long no more than shows that.
pub(super) fn at_most<'de, D>(deserializer: D) -> Result<Option<Vec<UploadName>>, D::Error>
where
    D: Deserializer<'de>,
{
    struct Names;
    impl<'de> Visitor<'de> for Names {
        type Value = Option<Vec<UploadName>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of uploads")
        }

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut names = Vec::new();
            while let Some(name) = list.next_element()? {
                if names.len() == MAX_UPLOAD_IDS {
                    return Err(de::Error::custom(format!(
                        "a job takes at most {MAX_UPLOAD_IDS} uploadIds; make several jobs"
                    )));
                }
                names.push(name);
            }
            Ok(Some(names))
        }
    }
    deserializer.deserialize_any(Names)
}
