//! Uploads as lists of a vault name them.

use crate::{
    domain::{Operation, UploadId},
    glacier::Upload,
    store::micros,
};

/// The longest description, in characters (Glacier API Reference, "Initiate Multipart Upload").
const LONGEST_DESCRIPTION: usize = 1_024;

/// An upload of a list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its ID.
    pub upload: UploadId,
    /// When it was initiated, in microseconds since 1970.
    pub created: i64,
    /// What its uploader wrote about the archive.
    pub description: Option<String>,
    /// The size of every part but the last, in bytes.
    pub part_size: i64,
}

impl Listed {
    /// Reads an upload of a list; `None` if it cannot be one of Glacier's.
    pub fn read(upload: Upload) -> Option<Self> {
        let created = micros(upload.created(Operation::ListMultipartUploads).ok()?);
        let Upload { upload_id, archive_description, part_size_in_bytes, .. } = upload;
        let (upload, description) = (upload_id.parse().ok()?, archive_description.map(tamed));
        Some(Self { upload, created, description, part_size: part_size_in_bytes })
    }
}

/// A description as it is kept: Glacier promises printable ASCII, and stores do not take just
/// any text.
pub fn tamed(description: String) -> String {
    let tame = |c: char| if matches!(c, ' '..='~') { c } else { char::REPLACEMENT_CHARACTER };
    description.chars().take(LONGEST_DESCRIPTION).map(tame).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_is_kept_if_it_can_be_one_and_its_description_is_tamed() {
        let upload = Upload {
            upload_id: "-id".to_owned(),
            vault_arn: String::new(),
            archive_description: Some("a\0b\u{202e}[31m".to_owned() + &"x".repeat(5_000)),
            part_size_in_bytes: 1 << 20,
            creation_date: "2026-11-01T00:00:00.000Z".to_owned(),
        };
        let description = Listed::read(upload.clone()).unwrap().description.unwrap();
        assert!(description.starts_with("a\u{fffd}b\u{fffd}[31mx"));
        assert_eq!(description.chars().count(), LONGEST_DESCRIPTION);
        let other = Upload { upload_id: "a/b".to_owned(), ..upload.clone() };
        assert!(Listed::read(other).is_none());
        for date in ["soon", "9999-12-31T23:59:59.999-23:59"] {
            let other = Upload { creation_date: date.to_owned(), ..upload.clone() };
            assert!(Listed::read(other).is_none(), "{date}");
        }
    }
}
