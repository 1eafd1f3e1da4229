//! Checkpoints: signed notes that vouch for all records of a log up to a size, as
//! `tlog-checkpoint` has them (<https://c2sp.org/tlog-checkpoint>).

use signed_note::{Note, NoteError, Signer};
use tlog_tiles::Hash;

use super::{CheckpointKeys, TrustedKeys};

/// What begins a line with a signature.
const SIGNATURE: &str = "\u{2014} ";

/// A log as it was at a size.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How many records it had.
    pub size: u64,
    /// The hash of its tree.
    pub root: Hash,
    /// The signed note that says so.
    pub note: String,
}

/// A text is no checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no signed checkpoint")]
pub struct MalformedCheckpoint;

/// A checkpoint cannot be signed.
#[derive(Debug, thiserror::Error)]
#[error("the checkpoint cannot be signed: {0}")]
pub struct Unsigned(String);

/// None of the keys given has signed a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// There is a signature by such a key, for another text.
    #[error("the signature is not of this checkpoint: somebody changed the one or the other")]
    Wrong,
    /// Others have signed.
    #[error("none of the keys given has signed it")]
    Unknown,
}

impl Checkpoint {
    /// The checkpoint of a log, signed by all keys.
    ///
    /// # Errors
    /// Without a key, and if the origin cannot be the name of a key.
    pub fn sign(
        origin: &str,
        size: u64,
        root: Hash,
        keys: &CheckpointKeys,
    ) -> Result<Self, Unsigned> {
        let unsigned = |error: &dyn std::fmt::Display| Unsigned(error.to_string());
        if keys.is_empty() {
            return Err(unsigned(&"there is no key"));
        }
        let text = tlog_tiles::Checkpoint::new(origin, size, root, "").map_err(|e| unsigned(&e))?;
        let mut note = Note::new(&text.to_bytes(), &[]).map_err(|e| unsigned(&e))?;
        let signers = keys.signers(origin).map_err(|e| unsigned(&e))?;
        let signers: Vec<&dyn Signer> = signers.iter().map(|signer| signer as _).collect();
        note.add_sigs(&signers).map_err(|e| unsigned(&e))?;
        let note = String::from_utf8(note.to_bytes()).map_err(|e| unsigned(&e))?;
        Ok(Self { origin: origin.to_owned(), size, root, note })
    }

    /// Reads a signed note. It may lack the newline at its end.
    ///
    /// # Errors
    /// A text that is no signed note, or whose note is no checkpoint.
    pub fn parse(note: &str) -> Result<Self, MalformedCheckpoint> {
        let mut note = note.to_owned();
        if !note.ends_with('\n') {
            note.push('\n');
        }
        let parsed = Note::from_bytes(note.as_bytes()).map_err(|_| MalformedCheckpoint)?;
        let text = tlog_tiles::Checkpoint::from_bytes(parsed.text());
        let text = text.map_err(|_| MalformedCheckpoint)?;
        Ok(Self { origin: text.origin().to_owned(), size: text.size(), root: *text.hash(), note })
    }

    /// Reads a file with any number of signed notes, one after another. Empty lines may
    /// stand between them.
    ///
    /// # Errors
    /// The number of the line at which something begins that is no checkpoint.
    pub fn parse_all(file: &str) -> Result<Vec<Self>, usize> {
        let mut checkpoints = Vec::new();
        let (mut note, mut begin, mut signed) = (String::new(), 1, false);
        for (number, line) in file.lines().enumerate().chain([(0, "")]) {
            if signed && !line.starts_with(SIGNATURE) {
                checkpoints.push(Self::parse(&note).map_err(|_| begin)?);
                (note, signed) = (String::new(), false);
            }
            if note.is_empty() {
                if line.is_empty() {
                    continue;
                }
                begin = number + 1;
            }
            signed = line.starts_with(SIGNATURE);
            note.push_str(line);
            note.push('\n');
        }
        if note.trim_ascii().is_empty() { Ok(checkpoints) } else { Err(begin) }
    }

    /// Verifies that at least one of these keys has signed it, and that each of them that
    /// signed it signed this.
    ///
    /// # Errors
    /// If not.
    pub fn verify(&self, keys: &TrustedKeys) -> Result<(), BadSignature> {
        let note = Note::from_bytes(self.note.as_bytes()).map_err(|_| BadSignature::Wrong)?;
        match note.verify(&keys.of_log(&self.origin)) {
            Ok(_) => Ok(()),
            Err(NoteError::UnverifiedNote) => Err(BadSignature::Unknown),
            Err(_) => Err(BadSignature::Wrong),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{super::keys::tests::keys, *};
    use crate::audit::log::leaf_hash;

    const ORIGIN: &str = "store.example/audit/2026-11";

    #[test]
    fn every_key_signs_and_one_that_is_trusted_is_enough() {
        let (both, other) = (keys(2), keys(1));
        let checkpoint = Checkpoint::sign(ORIGIN, 7, leaf_hash(b"7"), &both).unwrap();
        assert_eq!(Checkpoint::parse(&checkpoint.note), Ok(checkpoint.clone()));
        assert_eq!(checkpoint.note.matches(SIGNATURE).count(), 2);
        for (_, key) in both.verifiers() {
            checkpoint.verify(&TrustedKeys(vec![key, key])).unwrap();
            let list = TrustedKeys(vec![key]).of_log("store.example/audit/2026-12");
            let note = Note::from_bytes(checkpoint.note.as_bytes()).unwrap();
            assert!(note.verify(&list).is_err(), "a key of another month verifies");
        }
        assert_eq!(checkpoint.verify(&other.trusted()), Err(BadSignature::Unknown));
        assert_eq!(checkpoint.verify(&TrustedKeys::default()), Err(BadSignature::Unknown));
        let edited = checkpoint.note.replacen("\n7\n", "\n8\n", 1);
        let edited = Checkpoint::parse(&edited).unwrap();
        assert_eq!(edited.verify(&both.trusted()), Err(BadSignature::Wrong));
        assert!(Checkpoint::sign(ORIGIN, 7, leaf_hash(b"7"), &CheckpointKeys::default()).is_err());
        assert!(Checkpoint::sign("a b", 7, leaf_hash(b"7"), &both).is_err());
    }

    #[test]
    fn a_file_may_hold_many_checkpoints() {
        let keys = keys(2);
        let made: Vec<_> = (1..4)
            .map(|size| Checkpoint::sign(ORIGIN, size, leaf_hash(&[size as u8]), &keys).unwrap())
            .collect();
        let notes: Vec<&str> = made.iter().map(|checkpoint| checkpoint.note.as_str()).collect();
        for between in ["", "\n", "\n\n"] {
            let file = format!("\n{}", notes.join(between));
            assert_eq!(Checkpoint::parse_all(&file).unwrap(), made, "{between:?}");
            assert_eq!(Checkpoint::parse_all(file.trim_ascii_end()).unwrap(), made);
        }
        assert_eq!(Checkpoint::parse_all("").unwrap(), []);
        assert_eq!(Checkpoint::parse_all(&format!("{}something\n", notes[0])), Err(7));
        let cut = &notes[0][..notes[0].find(SIGNATURE).unwrap()];
        assert_eq!(Checkpoint::parse_all(cut), Err(1));
        assert_eq!(Checkpoint::parse_all(&format!("{cut}{}", notes[1])), Err(1));
    }
}
