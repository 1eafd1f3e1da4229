//! Whether an ARN in `Resource` can name a vault, or a resource of the gateway's own. Its wildcards also match
//! colons, as they do when a request is decided, so a pattern is judged as a whole and
//! not field by field.

use crate::domain::{AccountId, GatewayAction, Region, VaultName};
use crate::policy::engine::pattern::{self, Syntax};
use crate::spelling::nearest;

/// What a pattern may match, character by character.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Piece {
    Char(char),
    /// `?`
    One,
    /// `*`, or a variable, whose value may be any text.
    Any,
}

/// Reads a pattern. A variable that breaks the notation reaches to the end.
fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for piece in pattern::pieces(text, Syntax { wildcards: true, variables: true }) {
        match piece.map(|(_, piece)| piece) {
            Ok(pattern::Piece::Text(text)) => pieces.extend(text.chars().map(Piece::Char)),
            Ok(pattern::Piece::One) => pieces.push(Piece::One),
            Ok(pattern::Piece::Any | pattern::Piece::Variable { .. }) | Err(_) => {
                pieces.push(Piece::Any);
            }
        }
    }
    pieces
}

/// A part of all ARNs of one kind: its characters, and the least and the greatest
/// number of them.
struct Part {
    holds: Characters,
    least: usize,
    most: usize,
}

#[derive(Clone, Copy)]
enum Characters {
    Just(char),
    Of(fn(char) -> bool),
}

impl Characters {
    fn contain(self, character: char) -> bool {
        match self {
            Self::Just(own) => own == character,
            Self::Of(class) => class(character),
        }
    }
}

fn literal(text: &str) -> impl Iterator<Item = Part> {
    text.chars().map(|c| Part { holds: Characters::Just(c), least: 1, most: 1 })
}

fn some(class: fn(char) -> bool, least: usize, most: usize) -> impl Iterator<Item = Part> {
    std::iter::once(Part { holds: Characters::Of(class), least, most })
}

/// The ARNs of a partition's vaults, and some that no vault has: [`Region`] knows which
/// codes of regions are possible.
fn vault(partition: &str, regions: &str) -> impl Iterator<Item = Part> {
    literal("arn:")
        .chain(literal(partition))
        .chain(literal(":glacier:"))
        .chain(literal(regions))
        .chain(some(|c| c.is_ascii_lowercase() || c == '-', 0, 31))
        .chain(some(|c| c.is_ascii_digit(), 1, 2))
        .chain(literal(":"))
        .chain(some(|c| c.is_ascii_digit(), 12, 12))
        .chain(literal(":vaults/"))
        .chain(some(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'), 1, 255))
}

/// The ARNs that one of the gateway's own actions is about.
fn own(action: GatewayAction) -> impl Iterator<Item = Part> {
    literal(action.resources()).chain(some(|_| true, 1, usize::MAX))
}

/// Whether a pattern matches any text that consists of these parts.
fn meets(pattern: &[Piece], parts: impl Iterator<Item = Part>) -> bool {
    // Before which pieces the pattern may stand after the parts so far, in order; a `*`
    // may also stand for nothing.
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let enter = |places: &mut Vec<usize>, mut at: usize| {
        while places.last() < Some(&at) {
            places.push(at);
            match pattern.get(at) {
                Some(Piece::Any) => at += 1,
                _ => break,
            }
        }
    };
    let take = |before: &[usize], after: &mut Vec<usize>, characters: Characters| {
        after.clear();
        for at in before.iter().copied() {
            match pattern.get(at) {
                Some(Piece::Char(c)) if characters.contain(*c) => enter(after, at + 1),
                Some(Piece::One) => enter(after, at + 1),
                Some(Piece::Any) => enter(after, at),
                Some(Piece::Char(_)) | None => {}
            }
        }
    };
    enter(&mut before, 0);
    for Part { holds, least, most } in parts {
        for _ in 0..least {
            take(&before, &mut after, holds);
            std::mem::swap(&mut before, &mut after);
        }
        for _ in least..most {
            take(&before, &mut after, holds);
            if after.iter().all(|at| before.contains(at)) {
                break;
            }
            before.append(&mut after);
            before.sort_unstable();
            before.dedup();
        }
        if before.is_empty() {
            return false;
        }
    }
    before.contains(&pattern.len())
}

/// Whether the pattern matches the ARN of any vault. If an ARN has too few fields, or no
/// account, the fields that it has are judged.
pub(super) fn may_name_vault(text: &str) -> bool {
    let mut fields: Vec<&str> = text.splitn(6, ':').collect();
    let wild = |field: &str| field.contains(['*', '?']);
    if let (Some(partition), Some(region)) = (fields.get(1), fields.get(3))
        && !wild(region)
        && !region
            .parse::<Region>()
            .is_ok_and(|region| wild(partition) || region.partition() == *partition)
    {
        return false;
    }
    // No region of `aws` begins as another partition's do.
    let mut elsewhere = Region::PARTITIONS.iter().filter(|(_, regions)| !regions.is_empty());
    if let Some(rest) = text.strip_prefix("arn:aws:glacier:")
        && elsewhere.any(|(_, regions)| rest.starts_with(regions))
    {
        return false;
    }
    if let [_, _, _, _, account, name] = &mut fields[..] {
        if matches!(*name, "vaults/." | "vaults/..") {
            return false;
        }
        if account.is_empty() {
            *account = "*";
        }
    }
    is_plain_vault(&fields) || may_name(&fields, is_vault)
}

/// Whether fields are written as nearly everybody writes them, which can be told without
/// holding them against all that ARNs of vaults may be: wildcards stand for the whole
/// region, the whole account or within the vault's name. A region that is spelt out has
/// been found to be in its partition.
fn is_plain_vault(fields: &[&str]) -> bool {
    let ["arn", partition, "glacier", region, account, name] = fields else { return false };
    let of_a_name = |b: u8| b.is_ascii_alphanumeric() || b"_-.*".contains(&b);
    Region::PARTITIONS.iter().any(|(known, _)| known == partition)
        && (*region == "*" || region.parse::<Region>().is_ok())
        && (*account == "*" || account.parse::<AccountId>().is_ok())
        && name
            .strip_prefix("vaults/")
            .is_some_and(|name| (1..=255).contains(&name.len()) && name.bytes().all(of_a_name))
}

/// Whether the pattern matches any ARN that one of the gateway's own actions is about.
pub(super) fn may_name_own(text: &str, action: GatewayAction) -> bool {
    may_name(&text.splitn(6, ':').collect::<Vec<_>>(), |pattern| meets(pattern, own(action)))
}

/// Whether the pattern matches the ARN of any resource of the gateway's own.
pub(super) fn may_name_any_own(text: &str) -> bool {
    GatewayAction::ALL.into_iter().any(|action| may_name_own(text, action))
}

/// How the ARNs of the gateway's own resources look, each kind once.
pub(super) fn own_kinds() -> Vec<String> {
    let mut kinds = GatewayAction::ALL.map(|action| format!("\"{}...\"", action.resources()));
    kinds.sort();
    let mut kinds = kinds.to_vec();
    kinds.dedup();
    kinds
}

/// What an ARN that names no resource of the gateway's own probably means.
pub(super) fn nearest_own(text: &str) -> Option<String> {
    let (kind, name) = text.splitn(6, ':').nth(5)?.split_once('/')?;
    let begins = GatewayAction::ALL.map(GatewayAction::resources);
    let kinds = begins.map(|begin| begin.rsplit(':').next().unwrap_or_default());
    let near = nearest(&format!("{kind}/"), &kinds)?;
    let begin = begins.into_iter().find(|begin| begin.ends_with(&near))?;
    (!name.is_empty()).then(|| format!("{begin}{name}"))
}

/// Whether an ARN of these fields can be of the kind, as it is or with further fields.
fn may_name(fields: &[&str], is_kind: impl Fn(&[Piece]) -> bool) -> bool {
    let text = fields.join(":");
    is_kind(&pieces(&text)) || (fields.len() < 6 && is_kind(&pieces(&(text + ":*"))))
}

/// Whether an ARN has fewer than six fields, and no `*` that matches the others.
pub(super) fn ends_early(text: &str) -> bool {
    let whole = |pattern: Vec<Piece>| {
        pattern.ends_with(&[Piece::Any]) || is_vault(&pattern) || is_own(&pattern)
    };
    text.matches(':').count() < 5 && !whole(pieces(text))
}

fn is_vault(pattern: &[Piece]) -> bool {
    let mut partitions = Region::PARTITIONS.iter();
    partitions.any(|(partition, regions)| meets(pattern, vault(partition, regions)))
}

fn is_own(pattern: &[Piece]) -> bool {
    GatewayAction::ALL.into_iter().any(|action| meets(pattern, own(action)))
}

/// What is wrong with an ARN of Glacier's that [cannot name a vault](may_name_vault).
pub(super) fn why_no_vault(text: &str) -> String {
    let fields: Vec<&str> = text.splitn(6, ':').collect();
    // The first field with which the ARN of no vault begins.
    let begins = |fields: &[&str]| may_name_vault(&(fields.join(":") + ":*"));
    match fields[..] {
        [_, partition, _, region, ..] if !begins(&fields[..4]) => {
            if begins(&["arn", "*", "glacier", region]) {
                return format!("the region {region:?} is not in the partition {partition:?}");
            }
            return format!("{region:?} is not a region: write a region's code, or \"*\"");
        }
        [_, _, _, _, account, ..] if !account.starts_with("vaults/") && !begins(&fields[..5]) => {
            return format!("{account:?} is not an account: write 12 digits, or \"*\"");
        }
        _ => {}
    }
    let name = fields.last().copied().unwrap_or_default();
    match name.strip_prefix("vaults/").map(str::parse::<VaultName>) {
        Some(Err(rule)) => format!("{name:?} is not a vault: {rule}"),
        _ => format!(
            "{name:?} is not a vault, and Glacier has no other resources: write \
             \"vaults/NAME\""
        ),
    }
}
