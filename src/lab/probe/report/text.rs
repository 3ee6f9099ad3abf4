//! Text for people: nothing that a stranger sent does anything to a terminal, and lines fit.

use crate::domain::display_name::beginning;

/// Anybody's text on one line; what is not seen is written as an escape, and so is what a build server would take for an order wherever it
/// stands in a log (`##vso[`, `##teamcity[`, `##[`).
pub(in crate::lab) fn line(text: &str) -> String {
    beginning(text.as_bytes(), text.len()).replace("##", "#\\u{23}")
}

/// A line of a log that begins with nobody's order to the build server (`::set-env`).
pub(in crate::lab) fn logged(line: &str) -> String {
    let words = line.trim_start();
    match words.strip_prefix("::") {
        Some(rest) => format!("{}:\\u{{3a}}{rest}", &line[..line.len() - words.len()]),
        None => line.to_owned(),
    }
}

/// The same, and no longer than so many characters.
pub(in crate::lab) fn clip(text: &str, most: usize) -> String {
    let shown = line(text);
    match shown.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &shown[..at]),
        None => shown,
    }
}

/// Anybody's text with the line breaks that it has.
pub(in crate::lab) fn block(text: &str) -> String {
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Words in lines of so many characters; a word that is longer gets a line of its own.
pub(in crate::lab) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(last) if last.chars().count() + 1 + word.chars().count() <= width => {
                last.push(' ');
                last.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Anything in lines of so many characters, wherever it breaks.
pub(in crate::lab) fn chop(text: &str, width: usize) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    characters.chunks(width.max(1)).map(|line| line.iter().collect()).collect()
}

/// How many there are of something, as one says it.
pub(in crate::lab) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// The first few of several names, and how many more there are.
pub(in crate::lab) fn named(names: &[&str], most: usize) -> String {
    let (shown, more) = names.split_at(names.len().min(most));
    match (shown, more.len()) {
        (shown, more) if more > 0 => format!("{} and {more} more", shown.join(", ")),
        ([init @ .., last], _) if !init.is_empty() => format!("{} and {last}", init.join(", ")),
        (shown, _) => shown.join(", "),
    }
}

/// Milliseconds as people say them.
pub(in crate::lab) fn duration(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms / 1000 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_strangers_reaches_the_terminal() {
        assert_eq!(line("a\u{1b}[2J\u{202e}b\r\n"), "a\\u{1b}[2J\\u{202e}b\\r\\n");
        assert_eq!(block("a\n\u{7}b\u{9b}"), "a\n\\u{7}b\\u{9b}");
        assert_eq!(clip("grüße", 3), "grü…");
        assert_eq!(clip("grüße", 5), "grüße");
    }

    #[test]
    fn nobody_gives_orders_to_a_build_server() {
        assert_eq!(line("a ##vso[task.setvariable x]"), "a #\\u{23}vso[task.setvariable x]");
        assert!(!line("####[error]").contains("##"));
        assert_eq!(logged("    ::error::x"), "    :\\u{3a}error::x");
        assert_eq!(logged("  a ::error::x"), "  a ::error::x");
    }

    #[test]
    fn lines_fit() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("a-very-long-word b", 4), ["a-very-long-word", "b"]);
        assert_eq!(wrap("", 4), [] as [&str; 0]);
        assert_eq!(chop("grüße an", 3), ["grü", "ße ", "an"]);
    }

    #[test]
    fn things_are_counted_and_named() {
        assert_eq!(
            (counted(1, "check", "checks"), counted(2, "check", "checks")),
            ("1 check".into(), "2 checks".into())
        );
        assert_eq!(named(&["a"], 2), "a");
        assert_eq!(named(&["a", "b"], 2), "a and b");
        assert_eq!(named(&["a", "b", "c", "d"], 2), "a, b and 2 more");
        assert_eq!(
            (duration(999), duration(1950), duration(61_000)),
            ("999 ms".into(), "1.9 s".into(), "1 min 1 s".into())
        );
    }
}
