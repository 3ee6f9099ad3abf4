//! E-mail addresses and passwords as they are compared. Keyboards write one character in several ways (`é`, or `e` and an accent), so
//! what was declared and what is typed take one form first.

use unicode_normalization::UnicodeNormalization as _;

use super::ids::IdError;
use crate::secret::Secret;

/// Longest address that mail can be sent to (RFC 5321 section 4.5.3.1.3, less its brackets).
const MAX_EMAIL: usize = 254;
/// Most bytes of a password: beyond what people type, below what costs us.
pub const MAX_PASSWORD: usize = 1024;

/// An e-mail address in the form that is stored and looked up: lower case, NFC (RFC 6532 section 3.1).
#[must_use]
pub fn email(given: &str) -> String {
    // Lower case can take a text out of NFC.
    given.trim().nfc().flat_map(char::to_lowercase).nfc().collect()
}

/// The same of an address that is declared.
///
/// # Errors
/// When it is none.
pub fn email_address(given: &str) -> Result<String, IdError> {
    const BAD: IdError = IdError("is not an e-mail address");
    let email = email(given);
    let (local, domain) = email.split_once('@').ok_or(BAD)?;
    if local.is_empty() || domain.is_empty() || domain.contains('@') || email.len() > MAX_EMAIL {
        return Err(BAD);
    }
    if email.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(BAD);
    }
    Ok(email)
}

/// A password in the form that is hashed: OpaqueString (RFC 8265 section 4.2.2), which makes every space the one of ASCII, keeps case, and
/// is NFC.
///
/// # Errors
/// Where no password may look so.
pub fn password(given: &Secret) -> Result<Secret, IdError> {
    let given = given.expose();
    // NFC makes three bytes of nine at most, and nine of three.
    if given.len() > 3 * MAX_PASSWORD {
        return Err(IdError("is longer than 1024 bytes"));
    }
    if given.chars().any(char::is_control) {
        return Err(IdError("contains a control character"));
    }
    // At once as long as it can become: a text that moves while it grows leaves copies behind.
    let mut text = String::with_capacity(3 * given.len());
    text.extend(given.chars().map(|c| if is_space(c) { ' ' } else { c }).nfc());
    let password = Secret::new(text);
    match password.expose().len() {
        0 => Err(IdError("is empty")),
        1..=MAX_PASSWORD => Ok(password),
        _ => Err(IdError("is longer than 1024 bytes")),
    }
}

/// Unicode's general category Zs.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_in_many_spellings() {
        for (given, expected) in [
            (" Alice@Example.COM ", "alice@example.com"),
            ("zoe\u{308}@example.com", "zo\u{eb}@example.com"),
            ("ZOE\u{308}@EXAMPLE.COM", "zo\u{eb}@example.com"),
            ("ZO\u{cb}@b\u{fc}cher.example", "zo\u{eb}@b\u{fc}cher.example"),
            ("\u{212b}sa@example.com", "\u{e5}sa@example.com"),
            ("e\u{323}\u{302}@example.com", "\u{1ec7}@example.com"),
            ("e\u{302}\u{323}@example.com", "\u{1ec7}@example.com"),
            // In lower case it is an i with a dot above, and the accent that follows belongs below that.
            ("\u{130}\u{316}@example.com", "i\u{316}\u{307}@example.com"),
            ("\u{110b}\u{1175}@example.com", "\u{c774}@example.com"),
        ] {
            assert_eq!(email(given), expected, "{given}");
            assert_eq!(email(&email(given)), expected, "{given}");
            assert_eq!(email_address(given).as_deref(), Ok(expected), "{given}");
        }
        let long = format!("{}@b", "a".repeat(MAX_EMAIL - 1));
        for bad in ["", "a", "a@b@c", "@b", "a@", "a b@c", "a\u{a0}b@c", "a\u{0}@c", &long] {
            assert!(email_address(bad).is_err(), "{bad}");
        }
    }

    /// RFC 8265 section 4.3, and what else there is of its kind.
    #[test]
    fn one_password_in_many_spellings() {
        let as_hashed = |given: &str| password(&Secret::new(given)).map(|p| p.expose().to_owned());
        for (given, expected) in [
            ("correct horse battery staple", "correct horse battery staple"),
            ("Correct Horse Battery Staple", "Correct Horse Battery Staple"),
            ("\u{3c0}\u{df}\u{e5}", "\u{3c0}\u{df}\u{e5}"),
            ("Jack of \u{2666}s", "Jack of \u{2666}s"),
            ("foo\u{1680}bar", "foo bar"),
            ("foo\u{a0}bar\u{3000}", "foo bar "),
            ("zoe\u{308}", "zo\u{eb}"),
            ("\u{212b}", "\u{c5}"),
            ("\u{1112}\u{1161}\u{11ab}", "\u{d55c}"),
            ("\u{ff21}\u{fb01}", "\u{ff21}\u{fb01}"),
            ("  ", "  "),
            ("\u{1f469}\u{200d}\u{1f4bb}\u{2764}\u{fe0f}", "\u{1f469}\u{200d}\u{1f4bb}\u{2764}\u{fe0f}"),
        ] {
            assert_eq!(as_hashed(given).as_deref(), Ok(expected), "{given}");
            assert_eq!(as_hashed(expected).as_deref(), Ok(expected), "{given}");
        }
        for bad in ["", "my cat is a \u{9}by", "a\nb", "a\u{0}", "a\u{7f}", "a\u{85}"] {
            assert!(as_hashed(bad).is_err(), "{bad:?}");
        }
        assert!(as_hashed(&"x".repeat(1024)).is_ok() && as_hashed(&"x".repeat(1025)).is_err());
        assert!(as_hashed(&"e\u{308}".repeat(512)).is_ok(), "it is measured as it is hashed");
        assert!(as_hashed(&"\u{1d160}".repeat(256)).is_err(), "it has become longer");
    }
}
