//! The rulebook for what is known of a user, by whichever door it comes in.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::credentials;
use super::display_name::DisplayName;
use super::members::{self, MemberError, quote};

/// What is known of a user. The names are those of OpenID Connect Core section 5.1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Trimmed, in lower case, at most 254 bytes.
    pub email: String,
    /// Whether the operator vouches for the address.
    #[serde(default)]
    pub email_verified: bool,
    /// The name as shown.
    #[serde(default)]
    pub name: Option<DisplayName>,
    /// In E.164 form, such as `+15550100`.
    #[serde(default)]
    pub phone_number: Option<String>,
    /// Whether the operator vouches for the number; never true without one.
    #[serde(default)]
    pub phone_number_verified: bool,
}

impl Profile {
    /// Reads a profile from its members, and judges it.
    ///
    /// # Errors
    /// The first member that breaks a rule.
    pub fn read(members: Map<String, Value>) -> Result<Self, MemberError> {
        if members.get("email").is_none_or(Value::is_null) {
            return Err(MemberError::new("email", "every user needs one"));
        }
        members::read::<Self>(members)?.judged()
    }

    /// The same laid over what is known.
    ///
    /// # Errors
    /// The first member that breaks a rule.
    pub fn with(&self, members: Map<String, Value>) -> Result<Self, MemberError> {
        Self::read(members::over(self, members))
    }

    /// Judges it, and brings its address into the form that is stored.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn judged(self) -> Result<Self, MemberError> {
        let email = credentials::email_address(&self.email)
            .map_err(|problem| MemberError::new("email", format!("{} {problem}", quote(&self.email))))?;
        if let Some(number) = &self.phone_number {
            phone(number).map_err(|problem| MemberError::new("phone_number", problem))?;
        } else if self.phone_number_verified {
            return Err(MemberError::new("phone_number_verified", "there is no phone_number to be verified"));
        }
        Ok(Self { email, ..self })
    }
}

/// E.164 (OpenID Connect Core section 5.1, `phone_number`): a plus sign and at most 15 digits.
fn phone(text: &str) -> Result<(), String> {
    let digits = text.strip_prefix('+').unwrap_or_default();
    if (7..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0') {
        return Ok(());
    }
    Err(format!("{} is not in E.164 form, such as \"+15550100\"", quote(text)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn members_laid_over_what_is_known() {
        let read = |value: Value| Profile::read(map(&value));
        let whole = json!({"email": " Alice@Example.COM ", "phone_number": "+15550100", "phone_number_verified": true});
        let known = read(whole).unwrap();
        assert_eq!((known.email.as_str(), known.email_verified), ("alice@example.com", false));
        let changed = known.with(map(&json!({"name": "Alice", "email_verified": true}))).unwrap();
        assert!(changed.email_verified && changed.phone_number_verified && changed.name.is_some());
        let taken = json!({"phone_number": null, "phone_number_verified": null, "name": null});
        assert_eq!(changed.with(map(&taken)).unwrap().phone_number, None);
        for (wrong, expected) in [
            (json!({}), "email: every user needs one"),
            (json!({"email": "a"}), "email: \"a\" is not an e-mail address"),
            (json!({"email": "a@b", "phone_number": "1"}), "phone_number: \"1\" is not in E.164 form"),
            (json!({"email": "a@b", "phone_number_verified": true}), "phone_number_verified: there is no phone_number"),
            (json!({"email": "a@b", "name": "\u{202e}a"}), "name: it contains an invisible"),
            (json!({"email": "a@b", "email_verified": "yes"}), "email_verified: invalid type: string"),
        ] {
            let problem = read(wrong).unwrap_err().to_string();
            assert!(problem.starts_with(expected), "{problem}");
        }
        let number = json!({"phone_number": null});
        assert!(known.with(map(&number)).is_err(), "a number that is gone cannot be verified");
    }
}
