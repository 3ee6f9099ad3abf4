//! Words of other people's, put into messages of ours: what they hold, and what they are likely to mean.

/// A name that fits on one line of a terminal, whatever it holds.
#[must_use]
pub fn printable(name: &str) -> String {
    let short: String = name.chars().take(100).collect();
    short.escape_debug().to_string()
}

/// The candidate that looks most like what was written.
#[must_use]
pub fn nearest<'a>(written: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates.min_by_key(|candidate| distance(written, candidate))
}

/// The candidate that was probably meant: the nearest, if at least half of the longer of the two is the same.
#[must_use]
pub fn probable<'a>(written: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let longer = |near: &str| near.chars().count().max(written.chars().count());
    nearest(written, candidates).filter(|near| 2 * distance(written, near) <= longer(near))
}

/// Edit distance (insert, delete, replace), bounded by looking at no more than 64 characters.
#[must_use]
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_little_in_common_was_not_meant() {
        let names = ["alg-none", "expired", "jwks-slow"];
        for (written, meant) in [
            ("expird", Some("expired")),
            ("none", Some("alg-none")),
            ("jwks_slow", Some("jwks-slow")),
            ("nope", None),
            ("", None),
            ("something-else-altogether", None),
        ] {
            assert_eq!(probable(written, names.into_iter()), meant, "{written}");
        }
    }

    #[test]
    fn distances() {
        for (a, b, expected) in [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("isuer", "issuer", 1)] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
