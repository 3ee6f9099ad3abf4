//! The one rule for every text that people are shown and somebody else wrote: names of users, clients, services and issuers, and what an
//! agent says it works on.

use std::fmt;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

use super::ids::IdError;

/// Most characters of a name.
pub const MAX_DISPLAY_NAME: usize = 100;

/// A name of any script, on one line, in which nothing hides and nothing turns the text around it about. Trimmed, and in NFC: what looks
/// the same is the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DisplayName(String);

impl DisplayName {
    /// Parses a name.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let name: String = text.trim().nfc().collect();
        if name.chars().count() > MAX_DISPLAY_NAME {
            return Err(IdError("it is longer than 100 characters"));
        }
        check_shown(&name)?;
        if !name.chars().any(char::is_alphanumeric) {
            return Err(IdError("it must contain a letter or a digit"));
        }
        Ok(Self(name))
    }

    /// The name, to be escaped by whatever shows it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Judges a text that is shown as it came, such as an identifier that somebody else has to find again: one line of any script, in which
/// nothing hides and nothing turns the text around it about.
///
/// # Errors
/// The rule that is broken.
pub fn check_shown(text: &str) -> Result<(), IdError> {
    if text.chars().any(breaks_the_line) {
        return Err(IdError("it contains a control character or a line break"));
    }
    if hides_something(text) {
        return Err(IdError("it contains an invisible character, or one that changes the direction of text"));
    }
    Ok(())
}

/// The beginning of something that a stranger sent, as text in which nothing is hidden and nothing is done to a terminal: what is not seen is
/// written as an escape.
#[must_use]
pub fn beginning(bytes: &[u8], most: usize) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(most)]);
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if breaks_the_line(c) || is_invisible(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

fn breaks_the_line(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Characters that are not seen themselves, or only in what they do to their neighbours: Unicode's `Default_Ignorable_Code_Point`, the
/// controls of direction and of annotations, and blanks that are no spaces. Tags (U+E0000 on) would carry whole sentences past a reader.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// ZWNJ and ZWJ, which Persian, Indic scripts and many emoji are written with.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// Variation selectors: of emoji, of Han characters in names, of Mongolian.
fn is_selector(c: char) -> bool {
    matches!(c, '\u{fe0e}' | '\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' | '\u{180b}'..='\u{180d}' | '\u{180f}')
}

/// Whether something invisible stands where no script needs it. A joiner stands after a character that is seen, or its selector; a selector
/// after one beyond ASCII: so nobody can hide a text in a name of letters, nor make two names that look alike by adding joiners to one.
fn hides_something(name: &str) -> bool {
    let mut before = ' ';
    for c in name.chars() {
        let allowed = match c {
            c if is_joiner(c) => !before.is_ascii() && !is_joiner(before),
            c if is_selector(c) => !before.is_ascii() && !is_invisible(before),
            c => !is_invisible(c),
        };
        if !allowed {
            return true;
        }
        before = c;
    }
    is_joiner(before)
}

impl TryFrom<String> for DisplayName {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        Self::parse(&text)
    }
}

impl From<DisplayName> for String {
    fn from(name: DisplayName) -> Self {
        name.0
    }
}

impl fmt::Display for DisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_script() {
        for good in [
            "Desk Agent",
            "Zoë O’Neill-Smith, Jr. (2)",
            "Алиса",
            "علی‌رضا",
            "किरण्‍मयी",
            "渡邉\u{e0101} 葛\u{e0100}",
            "ᠮᠣᠩᠭᠣᠯ",
            "Agent 👩\u{200d}💻",
            "Liebe ❤\u{fe0f} 1",
            "a",
            "7",
        ] {
            assert_eq!(DisplayName::parse(good).map(String::from).as_deref(), Ok(good));
        }
        assert_eq!(DisplayName::parse("  Desk Agent ").unwrap().as_str(), "Desk Agent");
        assert_eq!(DisplayName::parse("Zoe\u{308}").unwrap(), DisplayName::parse("Zo\u{eb}").unwrap(), "NFC");
        assert!(DisplayName::parse(&"ä".repeat(MAX_DISPLAY_NAME)).is_ok());
    }

    #[test]
    fn what_a_stranger_sent() {
        let sent = "caf\u{e9}\u{1b}[2J\r\n\u{202e}\0<b>".as_bytes();
        assert_eq!(beginning(sent, 99), "caf\u{e9}\\u{1b}[2J\\r\\n\\u{202e}\\u{0}<b>");
        assert_eq!(beginning(sent, 4), "caf\u{fffd}", "cut in the middle of a character");
        assert_eq!(beginning(b"\xff", 9), "\u{fffd}");
    }

    #[test]
    fn a_text_that_is_no_name() {
        for good in ["", "…", " chat 7 ", "Zoe\u{308}", "отчёт за октябрь", "回答", &"x".repeat(1000)]
        {
            assert_eq!(check_shown(good), Ok(()), "{good:?}");
        }
        for bad in ["a\nb", "\u{7f}", "a\u{2028}b", "a\u{202e}b", "a\u{200b}b", "a\u{e0041}", "a\u{200d}", "\u{feff}"] {
            assert!(check_shown(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_a_name_must_not_do() {
        let long = "x".repeat(MAX_DISPLAY_NAME + 1);
        let tags: String =
            "Agent".chars().chain("ignore".chars().map(|c| char::from_u32(0xe0000 + c as u32).unwrap())).collect();
        for (bad, expected) in [
            ("", "letter or a digit"),
            ("  ", "letter or a digit"),
            ("...", "letter or a digit"),
            (&long, "longer than 100"),
            ("a\nb", "line break"),
            ("a\u{7}", "control"),
            ("a\u{85}b", "line break"),
            ("a\u{2028}b", "line break"),
            ("a\u{2029}b", "line break"),
            ("a\u{202e}b", "direction"),
            ("a\u{2066}b", "direction"),
            ("a\u{200f}b", "direction"),
            ("a\u{61c}b", "direction"),
            ("a\u{200b}b", "invisible"),
            ("a\u{ad}b", "invisible"),
            ("a\u{2060}b", "invisible"),
            ("a\u{feff}b", "invisible"),
            ("a\u{3164}b", "invisible"),
            ("a\u{2800}b", "invisible"),
            (&tags, "invisible"),
            ("De\u{200d}sk", "invisible"),
            ("ä\u{200d}\u{200d}ä", "invisible"),
            ("\u{200d}ä", "invisible"),
            ("ä\u{200c}", "invisible"),
            ("a\u{fe0f}\u{fe0f}", "invisible"),
            ("葛\u{e0100}\u{e0101}", "invisible"),
            ("D\u{e0120}e\u{e0121}sk", "invisible"),
        ] {
            let problem = DisplayName::parse(bad).map(|_| "accepted").unwrap_err();
            assert!(problem.0.contains(expected), "{bad:?}: {problem}");
        }
    }
}
