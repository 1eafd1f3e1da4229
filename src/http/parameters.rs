//! Path and query parameters, checked before anything is decided or signed.

use std::{
    collections::BTreeMap,
    fmt::Display,
    future::{Ready, ready},
    str::FromStr,
};

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use url::form_urlencoded;

use super::problem::{Code, NOT_SERVED, Problem};
use crate::{
    domain::{AccountId, InvalidId, Region, RegionalAccount, UploadId, VaultArn, VaultName},
    gateway::Gateway,
    glacier::{NotServed, Page},
};

/// Glacier's most for a page of vaults.
pub const VAULTS_PAGE: i32 = 10;
/// Glacier's most for a page of uploads or parts.
pub const UPLOADS_PAGE: i32 = 50;
/// The longest marker that is forwarded, in bytes.
const MAX_MARKER: usize = 1024;

/// What a path names: its parameters by their names in Glacier's documentation, once
/// decoded.
pub type PathNames = Vec<(&'static str, String)>;

/// The names that a path may have.
pub const PATH_NAMES: [&str; 9] =
    ["accountId", "vaultName", "uploadId", "eventId", "month", "tile", "runId", "jobId", "ruleId"];

/// A request's parameters as text: the path's once decoded, the query's unique.
pub struct Parameters {
    path: PathNames,
    query: BTreeMap<String, String>,
    /// The region, where not the query but a signature names it.
    region: Option<Region>,
}

impl FromRequest for Parameters {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let path = request.match_info();
        let named = |name| Some((name, path.get(name)?.to_owned()));
        let path = PATH_NAMES.into_iter().filter_map(named).collect();
        ready(Self::new(path, request.query_string()))
    }
}

impl Parameters {
    /// The parameters of a path, and of a query as it was sent.
    pub fn new(path: PathNames, query_string: &str) -> Result<Self, Problem> {
        let mut query = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query_string.as_bytes()) {
            if query.insert(name.to_string(), value.into_owned()).is_some() {
                return Err(Problem::new(
                    Code::DuplicateParameter,
                    format!("Give the query parameter \"{}\" once.", printable(&name)),
                ));
            }
        }
        Ok(Self { path, query, region: None })
    }

    /// The same, for the region that the request was signed for, if it was signed.
    pub fn in_region(self, region: Option<Region>) -> Self {
        Self { region, ..self }
    }

    /// Refuses query parameters beside `known`.
    pub fn only(&self, known: &[&str]) -> Result<(), Problem> {
        match self.query.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => Err(Problem::new(
                Code::UnknownParameter,
                format!(
                    "\"{}\" is no query parameter of this operation; it has {}.",
                    printable(name),
                    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
                ),
            )),
        }
    }

    /// The vault that the path and `region` name.
    pub fn vault(&self, gateway: &Gateway) -> Result<VaultArn, Problem> {
        let vault = self.in_path::<VaultName>("vaultName")?;
        let RegionalAccount { region, account } = self.account(gateway)?;
        Ok(VaultArn { region, account, vault })
    }

    /// The account and region that the request names.
    pub fn account(&self, gateway: &Gateway) -> Result<RegionalAccount, Problem> {
        let requested = self.named("accountId").unwrap_or("-");
        if requested != "-" {
            self.in_path::<AccountId>("accountId")?;
        }
        let region = match (&self.region, self.query.get("region")) {
            (Some(signed), _) => Some(signed.clone()),
            (None, Some(text)) => Some(text.parse().map_err(|error| invalid("region", &error))?),
            (None, None) => None,
        };
        gateway.upstream.locate(requested, region.as_ref()).map_err(|not_served| match not_served {
            NotServed::Account => Problem::new(Code::AccountNotServed, NOT_SERVED),
            NotServed::Region(served) => {
                let served: Vec<_> = served.iter().map(Region::as_str).collect();
                let served = served.join(", ");
                let detail = format!("This gateway serves the account's regions {served}.");
                Problem::new(Code::RegionNotServed, detail)
            }
        })
    }

    /// The upload that the path names.
    pub fn upload(&self) -> Result<UploadId, Problem> {
        self.in_path("uploadId")
    }

    /// A query parameter, if it is there and `read` can make something of it.
    ///
    /// # Errors
    /// What `read` says of it.
    pub fn given<T, E: Display>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Problem> {
        let value = self.query.get(name).map(|text| read(text)).transpose();
        value.map_err(|error| invalid(name, &error))
    }

    /// `marker` and `limit`, the latter from 1 to `most`.
    pub fn page(&self, most: i32) -> Result<Page, Problem> {
        let limit = match self.query.get("limit") {
            None => None,
            Some(text) => match text.parse::<i32>() {
                Ok(limit) if (1..=most).contains(&limit) => Some(limit),
                _ => {
                    return Err(Problem::new(
                        Code::InvalidParameter,
                        format!("limit: write a number from 1 to {most}."),
                    ));
                }
            },
        };
        let marker = self.query.get("marker").cloned();
        let well_formed = |marker: &String| {
            (1..=MAX_MARKER).contains(&marker.len()) && marker.bytes().all(|b| b.is_ascii_graphic())
        };
        if marker.as_ref().is_some_and(|marker| !well_formed(marker)) {
            return Err(Problem::new(
                Code::InvalidParameter,
                "marker: send the marker of the page before as it was, or none for the first page.",
            ));
        }
        Ok(Page { marker, limit })
    }

    /// A part of the path as text.
    pub fn named(&self, name: &str) -> Option<&str> {
        let named = self.path.iter().find(|(own, _)| *own == name);
        named.map(|(_, value)| value.as_str())
    }

    fn in_path<T: FromStr<Err = InvalidId>>(&self, name: &str) -> Result<T, Problem> {
        let text = self.named(name).unwrap_or_default();
        text.parse().map_err(|error| invalid(name, &error))
    }
}

fn invalid(name: &str, error: &dyn Display) -> Problem {
    Problem::new(Code::InvalidParameter, format!("{name}: {error}."))
}

/// Caller's text for an error message: short, without control characters.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}
