//! Verification of one log: whether its records are those that checkpoints vouch for,
//! and if not, which is the first that is wrong.

use std::fmt;

use crate::{
    audit::log::{
        BadSignature, Checkpoint, Edge, Hash, TILE_WIDTH, Tiles, TrustedKeys, leaf_hash, tile_width,
    },
    store::MAX_ENTRY,
};

/// What is wrong, and with which records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The log.
    pub origin: String,
    /// The first record that is wrong, or can be.
    pub first: u64,
    /// The last, if it is several, or not known which of them.
    pub last: Option<u64>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, first, last, reason } = self;
        match last {
            None => write!(f, "{origin}, record {first}: {reason}"),
            Some(last) => write!(f, "{origin}, records {first} to {last}: {reason}"),
        }
    }
}

/// A checkpoint that a log is held against.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub checkpoint: Checkpoint,
    /// Where it was found, for people.
    pub from: String,
    /// Whether the trail itself says that what it vouches for was lost.
    pub given_up: bool,
}

/// A log under verification. It is told all records in order, then all tiles above
/// level 0.
pub struct LogCheck {
    origin: String,
    /// By size.
    claims: Vec<Claim>,
    /// How many of the claims have been met.
    met: usize,
    edge: Edge,
    /// The tiles above level 0 as the records make them.
    made: Tiles,
    /// The hashes stored beside the records of the last tile.
    stored_tail: Vec<Hash>,
    /// The hashes of level 1 as they are stored.
    stored: Vec<Hash>,
    /// The size of the largest checkpoint that holds.
    vouched: u64,
    failed: Option<Failed>,
    changed: Vec<u64>,
    stopped: bool,
    losses: Vec<String>,
    wrong: Vec<Wrong>,
}

/// The first checkpoint that does not hold, and the stored hashes of the records at its
/// size that are in no full tile.
struct Failed {
    claim: usize,
    stored_tail: Vec<Hash>,
}

/// What a log's verification found.
#[derive(Debug)]
pub struct LogReport {
    /// Which log.
    pub origin: String,
    /// How many records it has.
    pub size: u64,
    /// How many of them a checkpoint vouches for.
    pub vouched: u64,
    /// Whether retention has dropped the records.
    pub dropped: bool,
    /// What was lost, as the trail itself says.
    pub losses: Vec<String>,
    /// Everything that is wrong, the first record first.
    pub wrong: Vec<Wrong>,
}

impl LogCheck {
    /// The check of a log against these checkpoints, which must be of its origin. Without
    /// `keys` their signatures are not verified.
    pub(super) fn new(origin: &str, mut claims: Vec<Claim>, keys: Option<&TrustedKeys>) -> Self {
        let mut wrong = Vec::new();
        claims.retain(|claim| {
            // A claim of the next log's first record is signed only by that log.
            let signed = !claim.checkpoint.note.is_empty();
            let Some(keys) = keys.filter(|_| signed) else { return true };
            let Err(error) = claim.checkpoint.verify(keys) else { return true };
            let Claim { checkpoint, from, .. } = claim;
            let what = match error {
                BadSignature::Wrong => "is not signed as it stands: it was changed",
                BadSignature::Unknown => "is signed by none of the keys given",
            };
            let reason =
                format!("the checkpoint at {} records, of {from}, {what}", checkpoint.size);
            wrong.push(Wrong { origin: origin.to_owned(), first: 0, last: None, reason });
            false
        });
        claims.sort_by_key(|claim| claim.checkpoint.size);
        let mut check = Self {
            origin: origin.to_owned(),
            claims,
            met: 0,
            edge: Edge::default(),
            made: Tiles::default(),
            stored_tail: Vec::new(),
            stored: Vec::new(),
            vouched: 0,
            failed: None,
            changed: Vec::new(),
            stopped: false,
            losses: Vec::new(),
            wrong,
        };
        check.meet_claims();
        check
    }

    /// How many records were told so far.
    pub fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Whether further records need not be told, because one is missing.
    pub fn has_stopped(&self) -> bool {
        self.stopped
    }

    /// Tells the record at `index`, and the hash that is stored beside it.
    pub fn record(&mut self, index: u64, entry: &[u8], stored: Option<Hash>) {
        let expected = self.edge.size();
        if self.stopped {
            return;
        }
        if index != expected {
            self.missing(expected, format!("it is missing, and record {index} is there"));
            return;
        }
        if entry.len() > MAX_ENTRY {
            let length = entry.len();
            let reason = format!(
                "it has {length} bytes, and no export can hold more than {MAX_ENTRY} in a record"
            );
            self.say(index, None, reason);
        }
        let leaf = leaf_hash(entry);
        if stored.is_some_and(|stored| stored != leaf) {
            self.changed.push(index);
        }
        self.stored_tail.push(stored.unwrap_or(leaf));
        if self.stored_tail.len() as u64 == TILE_WIDTH {
            self.stored_tail.clear();
        }
        self.edge.push(leaf, |node| self.made.push(node));
        self.meet_claims();
    }

    /// Tells that the record that ought to come next is not there.
    pub fn missing(&mut self, index: u64, reason: String) {
        self.stopped = true;
        self.say(index, None, reason);
    }

    /// Tells that the record at `index` cannot be in its place.
    pub fn wrong_record(&mut self, index: u64, reason: String) {
        self.say(index, None, reason);
    }

    /// Tells that the columns beside the record at `index` do not say what it says.
    pub fn wrong_columns(&mut self, index: u64, columns: &[&str]) {
        let reason = format!(
            "the store finds it by what it does not say: the column {} was changed",
            columns.join(" and the column ")
        );
        // As often as not it is so with many in a row.
        if let Some(before) = self.wrong.last_mut()
            && before.reason == reason
            && before.last.unwrap_or(before.first) + 1 == index
        {
            before.last = Some(index);
            return;
        }
        self.say(index, None, reason);
    }

    /// Tells a tile above level 0 as it is stored, level 1 first, each level in order.
    pub fn tile(&mut self, level: u8, index: u64, hashes: &[Hash]) {
        let made = self.made.hashes(level, index);
        if level == 1 && self.stored.len() as u64 == index * TILE_WIDTH {
            self.stored.extend_from_slice(hashes);
        }
        let Some(place) = made.iter().zip(hashes).position(|(made, stored)| made != stored) else {
            return;
        };
        let node = index * TILE_WIDTH + place as u64;
        let first = node << (8 * u32::from(level));
        let last = ((node + 1) << (8 * u32::from(level))) - 1;
        if level == 1 {
            let explained = self.changed.iter().any(|index| (first..=last).contains(index));
            if !explained {
                self.say(first, Some(last), BLOCK.to_owned());
            }
        } else if self.wrong.is_empty() && self.changed.is_empty() {
            let reason = format!("the stored tile of level {level} is not made of the one below");
            self.say(first, Some(last), reason);
        }
    }

    /// Tells that a tile is not as it should be, `first` being the first record below.
    pub fn wrong_tile(&mut self, first: u64, reason: String) {
        if !self.stopped {
            self.say(first, None, reason);
        }
    }

    /// Holds the log against the checkpoints of its size.
    fn meet_claims(&mut self) {
        let size = self.edge.size();
        while let Some(claim) = self.claims.get(self.met).filter(|c| c.checkpoint.size == size) {
            if claim.checkpoint.root == self.edge.root() {
                // After one that does not hold, another that does only contradicts it.
                if self.failed.is_none() {
                    self.vouched = size;
                }
            } else if claim.given_up {
                self.losses.push(given_up(claim));
            } else if self.failed.is_none() {
                let stored_tail = self.stored_tail.clone();
                self.failed = Some(Failed { claim: self.met, stored_tail });
            }
            self.met += 1;
        }
    }

    fn say(&mut self, first: u64, last: Option<u64>, reason: String) {
        let last = last.filter(|last| *last > first);
        self.wrong.push(Wrong { origin: self.origin.clone(), first, last, reason });
    }

    /// The result. `promised` is how many records there ought to be at least.
    pub fn finish(mut self, promised: u64) -> LogReport {
        let size = self.edge.size();
        if !self.stopped {
            let unmet = &self.claims[self.met..];
            self.losses.extend(unmet.iter().filter(|claim| claim.given_up).map(given_up));
            let beyond = unmet.iter().rfind(|claim| !claim.given_up).map(|claim| {
                let Claim { checkpoint, from, .. } = claim;
                let end = checkpoint.size;
                format!(
                    "it is missing, with all after it: the checkpoint of {from} vouches for {end} \
                     records. An older copy of the store was restored, or records were deleted"
                )
            });
            let beyond = beyond.or_else(|| {
                (promised > size)
                    .then(|| format!("it is missing: there ought to be {promised} records"))
            });
            if let Some(reason) = beyond {
                self.missing(size, reason);
            }
        }
        for index in std::mem::take(&mut self.changed) {
            let reason = if index < self.vouched {
                "the hash stored for it is not its hash; the record itself is the one that the \
                 checkpoint vouches for"
            } else {
                "it was changed: it does not have the hash that was stored for it"
            };
            self.say(index, None, reason.to_owned());
        }
        self.explain_failure();
        for wrong in &mut self.wrong {
            if wrong.reason == BLOCK && wrong.first < self.vouched {
                wrong.reason = "the stored tile above them is wrong; the records themselves are \
                                those that the checkpoint vouches for"
                    .to_owned();
            }
        }
        self.wrong.sort_by_key(|wrong| wrong.first);
        let Self { origin, vouched, losses, wrong, .. } = self;
        LogReport { origin, size, vouched, dropped: false, losses, wrong }
    }

    /// The result for a log whose records were dropped, of which only its end is left.
    pub(super) fn finish_dropped(
        mut self,
        end: Option<&Checkpoint>,
        has_successor: bool,
    ) -> LogReport {
        if !has_successor {
            let reason = "it is missing: retention drops the records of no log that is written";
            self.say(0, None, reason.to_owned());
        }
        let size = end.map_or(0, |end| end.size);
        for claim in std::mem::take(&mut self.claims) {
            let Claim { checkpoint, from, given_up } = &claim;
            let contradicts =
                checkpoint.size == size && end.is_some_and(|end| end.root != checkpoint.root);
            if (checkpoint.size > size || contradicts) && *given_up {
                self.losses.push(self::given_up(&claim));
            } else if checkpoint.size > size || contradicts {
                let reason = format!(
                    "the checkpoint at {} records, of {from}, is of another log than the one whose \
                     end at {size} records is left",
                    checkpoint.size
                );
                self.say(0, None, reason);
            }
        }
        let Self { origin, losses, wrong, .. } = self;
        LogReport { origin, size, vouched: 0, dropped: true, losses, wrong }
    }

    /// Says which records a checkpoint that fails can be about.
    fn explain_failure(&mut self) {
        let Some(Failed { claim, stored_tail }) = self.failed.take() else { return };
        let Claim { checkpoint, from, .. } = &self.claims[claim];
        // If the stored hashes are those that the checkpoint vouches for, whatever differs
        // from them is wrong, and it has been named.
        let mut stored = Edge::default();
        let full = (checkpoint.size / TILE_WIDTH) as usize;
        for hash in self.stored.iter().take(full) {
            stored.push_subtree(1, *hash, &mut |_| ());
        }
        stored_tail.iter().for_each(|leaf| stored.push(*leaf, |_| ()));
        if stored.size() == checkpoint.size && stored.root() == checkpoint.root {
            return;
        }
        let reason = format!(
            "at least one of them is not the record that the checkpoint at {} records, of {from}, \
             vouches for",
            checkpoint.size
        );
        self.say(self.vouched, Some(checkpoint.size.saturating_sub(1)), reason);
    }
}

const BLOCK: &str = "at least one of them was changed or moved: they do not have the hash that \
                     was stored for them";

fn given_up(claim: &Claim) -> String {
    let Claim { checkpoint, from, .. } = claim;
    format!(
        "the checkpoint of {from} vouches for {} records that the log does not have; the next log \
         begins by saying that this loss was accepted",
        checkpoint.size
    )
}

/// The tiles above level 0 of a log of `size` records, level 1 first, each with its
/// width. Those of which the first record is not `there` are left out: a size that
/// somebody made up has no end.
pub(crate) fn upper_tiles(size: u64, there: u64) -> impl Iterator<Item = (u8, u64, u16)> {
    (1..8).flat_map(move |level| {
        let hashes = size.min(there) >> (8 * u32::from(level));
        (0..hashes.div_ceil(TILE_WIDTH))
            .map(move |index| (level, index, tile_width(level, index, size)))
    })
}
