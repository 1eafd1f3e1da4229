//! What a team may be called.

/// The longest name of a team, in characters, as of an IAM group (IAM API Reference,
/// "CreateGroup").
const MAX_LENGTH: usize = 128;

/// A name that no team can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a team's name has 1 to {MAX_LENGTH} characters of A-Z, a-z, 0-9 and _+=,.@:-, the first of \
     which is not a dot"
)]
pub struct InvalidTeam;

/// Checks the name of a team, wherever it comes from: it is a segment of the ARN that
/// policies know callers by, where `*`, `?` and `/` have a meaning of their own, the name
/// of a file, and a part of a gateway key's ID.
///
/// # Errors
/// [`InvalidTeam`], which says what a name may hold.
pub fn check_team(name: &str) -> Result<(), InvalidTeam> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@:-".contains(&byte);
    let good = (1..=MAX_LENGTH).contains(&name.len())
        && name.bytes().all(allowed)
        // Files whose names begin with a dot are not read.
        && !name.starts_with('.');
    if good { Ok(()) } else { Err(InvalidTeam) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_team_is_named_as_an_iam_group_is() {
        let longest = "t".repeat(MAX_LENGTH);
        for name in ["a", "media", "Media-2", "a.b", "a_+=,.@:-", "-", &longest] {
            assert_eq!(check_team(name), Ok(()), "{name}");
        }
        let too_long = "t".repeat(MAX_LENGTH + 1);
        for name in [
            "", "media/eu", "/media", "media/", ".", "..", ".media", "a b", " a", "a\n", "a\0",
            "*", "medi?", "${x}", "a\\b", "\u{e4}", "\u{2215}", &too_long,
        ] {
            assert_eq!(check_team(name), Err(InvalidTeam), "{name}");
        }
    }
}
