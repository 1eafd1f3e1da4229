//! A record, as the API shows it.

/// The JSON of an entry.
pub type Record = serde_json::Map<String, serde_json::Value>;

/// Reads an entry; `None` if it is no record.
pub fn read(entry: &[u8]) -> Option<Record> {
    serde_json::from_slice(entry).ok()
}
