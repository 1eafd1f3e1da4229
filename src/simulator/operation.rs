//! Glacier's operations, told from a request's method and path.

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

/// The operations the simulator knows (Glacier Developer Guide, "API Reference").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// `GET /{account}/vaults`
    ListVaults,
    /// `PUT /{account}/vaults/{vault}`
    CreateVault,
    /// `GET /{account}/vaults/{vault}`
    DescribeVault,
    /// `DELETE /{account}/vaults/{vault}`
    DeleteVault,
    /// `POST /{account}/vaults/{vault}/multipart-uploads`
    InitiateMultipartUpload,
    /// `GET /{account}/vaults/{vault}/multipart-uploads`
    ListMultipartUploads,
    /// `PUT /{account}/vaults/{vault}/multipart-uploads/{upload}`
    UploadMultipartPart,
    /// `POST /{account}/vaults/{vault}/multipart-uploads/{upload}`
    CompleteMultipartUpload,
    /// `GET /{account}/vaults/{vault}/multipart-uploads/{upload}`
    ListParts,
    /// `DELETE /{account}/vaults/{vault}/multipart-uploads/{upload}`
    AbortMultipartUpload,
    /// `POST /`, of AWS STS
    AssumeRole,
}

/// An operation and what it is asked to work on. The names are percent-decoded but not
/// checked; those that the operation does not take are empty.
#[derive(Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) operation: Operation,
    pub(super) account: String,
    pub(super) vault: String,
    pub(super) upload: String,
}

impl Wanted {
    /// What a request is for, or `None` for a method and path that are none of
    /// the operations.
    pub(super) fn of(method: &str, path: &str) -> Option<Self> {
        use Operation::*;

        let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        let (operation, names) = match (method, &segments[..]) {
            ("GET", [account, "vaults"]) => (ListVaults, [*account, "", ""]),
            (method, [account, "vaults", vault]) => {
                let operation = match method {
                    "PUT" => CreateVault,
                    "GET" => DescribeVault,
                    "DELETE" => DeleteVault,
                    _ => return None,
                };
                (operation, [*account, *vault, ""])
            }
            (method, [account, "vaults", vault, "multipart-uploads"]) => {
                let operation = match method {
                    "POST" => InitiateMultipartUpload,
                    "GET" => ListMultipartUploads,
                    _ => return None,
                };
                (operation, [*account, *vault, ""])
            }
            (method, [account, "vaults", vault, "multipart-uploads", upload]) => {
                let operation = match method {
                    "PUT" => UploadMultipartPart,
                    "POST" => CompleteMultipartUpload,
                    "GET" => ListParts,
                    "DELETE" => AbortMultipartUpload,
                    _ => return None,
                };
                (operation, [*account, *vault, *upload])
            }
            _ => return None,
        };
        let [account, vault, upload] =
            names.map(|name| percent_decode_str(name).decode_utf8_lossy().into_owned());
        Some(Self { operation, account, vault, upload })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_once_and_only_after_the_path_is_split() {
        let wanted = Wanted::of("DELETE", "/-/vaults/a%2Fb%2541/multipart-uploads/-x").unwrap();
        assert_eq!(wanted.operation, Operation::AbortMultipartUpload);
        assert_eq!((wanted.vault.as_str(), wanted.upload.as_str()), ("a/b%41", "-x"));
    }

    #[test]
    fn other_methods_and_paths_are_no_operation() {
        for (method, path) in [
            ("POST", "/-/vaults"),
            ("GET", "/"),
            ("GET", "/-/vaults/v/multipart-uploads/u/parts"),
            ("PATCH", "/-/vaults/v"),
            ("GET", "/-/vaults/v/jobs"),
        ] {
            assert_eq!(Wanted::of(method, path), None, "{method} {path}");
        }
    }
}
