//! The inventory as CSV.

use super::{
    super::csv::{Cell, Lines},
    model::{InventoryPage, InventoryRow, SeenUploadPage, UploadAges, UploadState},
};

const ROW: [&str; 20] = [
    "accountId",
    "accountName",
    "region",
    "vaultName",
    "asOf",
    "uploads",
    "uploads1Day",
    "uploads7Days",
    "uploads30Days",
    "uploads90Days",
    "uploads365Days",
    "oldest",
    "sizedUploads",
    "bytes",
    "gone",
    "gone1Day",
    "gone7Days",
    "gone30Days",
    "gone90Days",
    "gone365Days",
];

impl InventoryPage {
    /// The rows as CSV.
    pub(super) fn csv(&self) -> Vec<u8> {
        let mut lines = Lines::of(&ROW);
        for InventoryRow { account_id, account_name, region, vault_name, levels } in &self.rows {
            let ages = |ages: &UploadAges| {
                let UploadAges { days1, days7, days30, days90, days365 } = ages;
                [*days1, *days7, *days30, *days90, *days365].map(Cell::Number)
            };
            let names = [
                Cell::Plain(account_id),
                Cell::Foreign(account_name),
                region.as_deref().into(),
                vault_name.as_deref().into(),
                Cell::Plain(&levels.as_of),
                Cell::Number(levels.uploads),
            ];
            let sizes = [
                levels.oldest.as_deref().into(),
                Cell::Number(levels.sized_uploads),
                levels.bytes.into(),
                Cell::Number(levels.gone.uploads),
            ];
            let cells = names.into_iter().chain(ages(&levels.at_least)).chain(sizes);
            lines.add(cells.chain(ages(&levels.gone.at_least)));
        }
        lines.into_bytes()
    }
}

const UPLOAD: [&str; 18] = [
    "accountId",
    "accountName",
    "region",
    "vaultName",
    "uploadId",
    "state",
    "asOf",
    "creationDate",
    "archiveDescription",
    "partSizeInBytes",
    "parts",
    "bytes",
    "observed",
    "changed",
    "firstSeen",
    "lastSeen",
    "gone",
    "abortAsked",
];

impl SeenUploadPage {
    /// The uploads as CSV.
    pub(super) fn csv(&self) -> Vec<u8> {
        let mut lines = Lines::of(&UPLOAD);
        for upload in &self.uploads {
            let state = match upload.state {
                UploadState::Present => "present",
                UploadState::Missing => "missing",
                UploadState::Gone => "gone",
            };
            lines.add([
                Cell::Plain(&upload.account_id),
                Cell::Foreign(&upload.account_name),
                Cell::Plain(&upload.region),
                Cell::Plain(&upload.vault_name),
                Cell::Plain(&upload.upload_id),
                Cell::Plain(state),
                Cell::Plain(&upload.as_of),
                Cell::Plain(&upload.creation_date),
                Cell::foreign(upload.archive_description.as_deref()),
                Cell::Number(upload.part_size_in_bytes),
                upload.parts.into(),
                upload.bytes.into(),
                upload.observed.as_deref().into(),
                upload.changed.as_deref().into(),
                Cell::Plain(&upload.first_seen),
                Cell::Plain(&upload.last_seen),
                upload.gone.as_deref().into(),
                upload.abort_asked.as_deref().into(),
            ]);
        }
        lines.into_bytes()
    }
}
