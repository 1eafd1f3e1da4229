//! Which of the five operations a request is for.

use percent_encoding::percent_decode_str;

use crate::{
    domain::Operation,
    http::parameters::{PATH_NAMES, PathNames},
};

/// Where the door is, on the REST door's listener.
pub const PATH: &str = "/glacier";

/// An operation and what its path names, decoded but not checked.
#[derive(Debug, PartialEq)]
pub(super) struct RequestLine {
    pub(super) operation: Operation,
    pub(super) names: PathNames,
}

impl RequestLine {
    /// What a request is for, told from its method and its path as received;
    /// `None` for everything beside the five.
    pub(super) fn of(method: &str, path: &str) -> Option<Self> {
        use Operation::*;

        let path = path.strip_prefix(PATH)?.strip_prefix('/')?;
        // Split first: an encoded slash is part of a name.
        let segments: Vec<&str> = path.split('/').collect();
        let operation = match (method, &segments[..]) {
            ("GET", [_, "vaults"]) => ListVaults,
            ("GET", [_, "vaults", _]) => DescribeVault,
            ("GET", [_, "vaults", _, "multipart-uploads"]) => ListMultipartUploads,
            ("GET", [_, "vaults", _, "multipart-uploads", _]) => ListParts,
            ("DELETE", [_, "vaults", _, "multipart-uploads", _]) => AbortMultipartUpload,
            _ => return None,
        };
        let decode = |(name, text): (&'static str, &&str)| {
            let text = percent_decode_str(text).decode_utf8().ok()?;
            Some((name, text.into_owned()))
        };
        let names = PATH_NAMES
            .into_iter()
            .zip(segments.iter().step_by(2))
            .map(decode)
            .collect::<Option<_>>()?;
        Some(Self { operation, names })
    }
}

#[cfg(test)]
mod tests {
    use super::{Operation::*, RequestLine};

    fn operation(method: &str, path: &str) -> Option<crate::domain::Operation> {
        RequestLine::of(method, path).map(|target| target.operation)
    }

    #[test]
    fn the_five_operations_are_told_by_method_and_path() {
        for (method, path, expected) in [
            ("GET", "/glacier/-/vaults", ListVaults),
            ("GET", "/glacier/-/vaults/v", DescribeVault),
            ("GET", "/glacier/-/vaults/v/multipart-uploads", ListMultipartUploads),
            ("GET", "/glacier/-/vaults/v/multipart-uploads/-u", ListParts),
            ("DELETE", "/glacier/-/vaults/v/multipart-uploads/-u", AbortMultipartUpload),
        ] {
            assert_eq!(operation(method, path), Some(expected), "{method} {path}");
        }
    }

    #[test]
    fn everything_else_is_no_operation() {
        for (method, path) in [
            ("PUT", "/glacier/-/vaults/v"),
            ("DELETE", "/glacier/-/vaults/v"),
            ("DELETE", "/glacier/-/vaults/v/multipart-uploads"),
            ("POST", "/glacier/-/vaults/v/multipart-uploads"),
            ("PUT", "/glacier/-/vaults/v/multipart-uploads/u"),
            ("POST", "/glacier/-/vaults/v/multipart-uploads/u"),
            ("HEAD", "/glacier/-/vaults"),
            ("get", "/glacier/-/vaults"),
            ("GET", "/glacier"),
            ("GET", "/glacier/"),
            ("GET", "/glacier//-/vaults"),
            ("GET", "/glacier-/vaults"),
            ("GET", "/%67lacier/-/vaults"),
            ("GET", "/glacier/-/vaults/v/multipart%2Duploads"),
            ("GET", "/glacier/-/vaults/v/jobs"),
            ("GET", "/glacier/-/vaults/v/archives/a"),
            ("GET", "/glacier/-/vaults/v/lock-policy"),
            ("GET", "/glacier/-/policies/data-retrieval"),
            ("GET", "/glacier/-/vaults/%FF"),
        ] {
            assert_eq!(operation(method, path), None, "{method} {path}");
        }
    }
}
