//! The set of an upload's parts.

use aws_lc_rs::digest::{SHA256, digest};

use super::Part;

/// The bytes of all parts, and SHA-256 over their ranges and tree hashes in the order of the
/// ranges: two looks at an upload that give the same found the same parts. `None` if a range is
/// not one.
pub fn sum_of_parts(parts: &[Part]) -> Option<(i64, [u8; 32])> {
    let mut ranges = Vec::with_capacity(parts.len());
    let mut bytes: i64 = 0;
    for part in parts {
        let (first, last) = part.range_in_bytes.split_once('-')?;
        let (first, last): (i64, i64) = (first.parse().ok()?, last.parse().ok()?);
        let size = last.checked_sub(first)?.checked_add(1).filter(|size| *size > 0)?;
        bytes = bytes.checked_add(size)?;
        ranges.push((first, last, part.sha256_tree_hash.as_str()));
    }
    ranges.sort_unstable();
    let mut text = String::new();
    for (first, last, hash) in ranges {
        text.push_str(&format!("{first}-{last} {hash}\n"));
    }
    let mut sum = [0; 32];
    sum.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    Some((bytes, sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(range: &str, hash: &str) -> Part {
        Part { range_in_bytes: range.to_owned(), sha256_tree_hash: hash.to_owned() }
    }

    #[test]
    fn the_same_parts_have_the_same_digest_in_any_order() {
        let (one, two) = (part("0-1048575", "aa"), part("1048576-1572863", "bb"));
        let both = sum_of_parts(&[one.clone(), two.clone()]);
        assert_eq!(both.map(|(bytes, _)| bytes), Some(1_572_864));
        assert_eq!(sum_of_parts(&[two.clone(), one.clone()]), both);
        // Sent again with other bytes, or not there yet.
        assert_ne!(sum_of_parts(&[one.clone(), part("1048576-1572863", "cc")]), both);
        assert_ne!(sum_of_parts(&[one]), both);
        assert_eq!(sum_of_parts(&[]).map(|(bytes, _)| bytes), Some(0));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for range in ["", "5", "5-4", "a-b", "-1-5", "0-9223372036854775807"] {
            assert_eq!(sum_of_parts(&[part(range, "aa")]), None, "{range}");
        }
    }
}
