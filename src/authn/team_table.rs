//! Which teams a proven name belongs to, by a table of patterns.

use std::collections::BTreeMap;

/// The teams of every pattern in `table` that matches `name`.
pub(super) fn teams<'a>(
    table: &'a BTreeMap<String, Vec<String>>,
    name: &str,
) -> impl Iterator<Item = String> + use<'a> {
    let fitting: Vec<_> = table.iter().filter(|(pattern, _)| matches(pattern, name)).collect();
    fitting.into_iter().flat_map(|(_, teams)| teams.iter().cloned())
}

/// Whether `name` is what `pattern` describes: `*` stands for any characters but
/// `:` and `/`, so that it never reaches into the next part of a
/// `system:serviceaccount:NAMESPACE:NAME` or of a SPIFFE ID.
fn matches(pattern: &str, name: &str) -> bool {
    let mut wanted = pattern.split([':', '/']);
    let mut given = name.split([':', '/']);
    let separators =
        |text: &'_ str| -> Vec<char> { text.chars().filter(|c| matches!(c, ':' | '/')).collect() };
    separators(pattern) == separators(name)
        && wanted.by_ref().zip(given.by_ref()).all(|(wanted, given)| part_matches(wanted, given))
}

fn part_matches(pattern: &str, part: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == part };
    let Some(mut part) = part.strip_prefix(head) else { return false };
    let mut middles = rest.split('*').peekable();
    while let Some(middle) = middles.next() {
        if middles.peek().is_none() {
            return part.ends_with(middle);
        }
        match part.find(middle) {
            Some(at) => part = &part[at + middle.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stays_within_its_part() {
        for (pattern, name, fits) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("*", "a", true),
            ("*", "a:b", false),
            ("*", "a/b", false),
            ("*:*", "a:b", true),
            ("*:*", "a/b", false),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "acd", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXcYb", false),
            // What one star has taken is not there for the next.
            ("a*b*b", "aXb", false),
            ("a*b*b", "aXbb", true),
            ("a*aba", "aaba", true),
            ("a*aba", "aba", false),
            (
                "spiffe://example.org/ns/media/sa/*",
                "spiffe://example.org/ns/media/sa/encoder",
                true,
            ),
            ("spiffe://example.org/ns/media/sa/*", "spiffe://example.org/ns/media/sa/a/b", false),
            (
                "spiffe://example.org/ns/*/sa/encoder",
                "spiffe://example.org/ns/a/b/sa/encoder",
                false,
            ),
            ("spiffe://*/ns/media/sa/x", "spiffe://evil.example/ns/media/sa/x", true),
            ("*.media.example.com", "encoder.media.example.com", true),
            ("*.media.example.com", "media.example.com", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} on {name}");
        }
    }
}
