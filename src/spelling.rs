//! "Did you mean …?"

/// The candidate that `name` is probably a misspelling of.
pub(crate) fn nearest(name: &str, candidates: &[&str]) -> Option<String> {
    within(1 + name.len() / 5, name, candidates)
}

/// The candidate that is nearest to `name`, if no more than so many letters are
/// wrong, missing, too many or swapped.
pub(crate) fn within(edits: usize, name: &str, candidates: &[&str]) -> Option<String> {
    let lower = name.to_lowercase();
    let distance =
        |candidate: &&&str| strsim::damerau_levenshtein(&lower, &candidate.to_lowercase());
    let best = candidates.iter().min_by_key(distance)?;
    (distance(&best) <= edits).then(|| (*best).to_string())
}
