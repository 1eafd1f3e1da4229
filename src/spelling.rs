//! "Did you mean …?"

/// The candidate that `name` is probably a misspelling of.
pub(crate) fn nearest(name: &str, candidates: &[&str]) -> Option<String> {
    let lower = name.to_lowercase();
    let distance =
        |candidate: &&&str| strsim::damerau_levenshtein(&lower, &candidate.to_lowercase());
    let best = candidates.iter().min_by_key(distance)?;
    (distance(&best) <= 1 + name.len() / 5).then(|| (*best).to_string())
}
