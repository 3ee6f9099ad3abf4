//! A client's own JWT, by which it proves who it is (RFC 7523 section 3, OpenID Connect Core section 9).

use serde::{Deserialize, Deserializer};

use super::claims::OneOrMany;
use super::ids::{ClientId, Jti};
use super::time::{Seconds, Timestamp};

/// The type of a JWT that authenticates a client (draft-ietf-oauth-rfc7523bis section 3); most have none, or `JWT`.
pub const TYP: &str = "client-authentication+jwt";

/// How old an assertion may be that says when it was made, and how long one that does not may last.
const MAX_AGE: Seconds = Seconds(300);
/// How far ahead `exp` may lie in any case: libraries have defaults up to an hour.
const MAX_LIFETIME: Seconds = Seconds(3600);
/// How far a client's clock may be ahead of ours.
const LEEWAY: Seconds = Seconds(30);

/// What it says. A missing or repeated claim fails to parse.
#[derive(Debug, Deserialize)]
pub struct ClientAssertion {
    iss: String,
    sub: String,
    aud: OneOrMany,
    #[serde(deserialize_with = "numeric_date")]
    exp: Timestamp,
    jti: String,
    #[serde(default, deserialize_with = "maybe_numeric_date")]
    iat: Option<Timestamp>,
    #[serde(default, deserialize_with = "maybe_numeric_date")]
    nbf: Option<Timestamp>,
}

impl ClientAssertion {
    /// Judges it as one of `client_id` for one of `audiences`. Answers with its `jti`, which nobody may use twice, and until when that has
    /// to be kept: as long as it could be used again, also by a replica whose clock is behind.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn judge(
        self,
        client_id: &ClientId,
        audiences: &[&str],
        now: Timestamp,
    ) -> Result<(Jti, Timestamp), &'static str> {
        let client_id = client_id.as_str();
        let aud = match &self.aud {
            OneOrMany::One(one) => Some(one),
            OneOrMany::Many(list) => list.first().filter(|_| list.len() == 1),
        };
        let rules = [
            (self.iss == client_id && self.sub == client_id, "iss and sub must both be the client_id"),
            (aud.is_some(), "aud must be one"),
            (aud.is_some_and(|aud| audiences.contains(&aud.as_str())), "aud must be the issuer or the token endpoint"),
            (self.exp > now, "it has expired"),
            (self.exp <= now + MAX_LIFETIME + LEEWAY, "exp is more than an hour ahead"),
            (
                self.iat.is_some() || self.exp <= now + MAX_AGE + LEEWAY,
                "it has no iat, so exp must be at most 5 minutes ahead",
            ),
            (self.iat.is_none_or(|iat| iat <= now + LEEWAY), "iat is in the future"),
            (self.iat.is_none_or(|iat| now - iat <= MAX_AGE), "iat is more than 5 minutes ago"),
            (self.nbf.is_none_or(|nbf| nbf <= now + LEEWAY), "it is not valid yet"),
        ];
        if let Some((_, rule)) = rules.iter().find(|(holds, _)| !holds) {
            return Err(rule);
        }
        let dead = self.iat.map_or(self.exp, |iat| self.exp.min(iat + MAX_AGE));
        Ok((Jti::try_from(self.jti).map_err(|e| e.0)?, dead + LEEWAY * 2))
    }
}

/// A `NumericDate` (RFC 7519 section 2): whole seconds, or a fraction, which is cut off.
fn numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Whole(i64),
        Fraction(f64),
    }
    Ok(match Number::deserialize(deserializer)? {
        Number::Whole(seconds) => Timestamp(seconds),
        // Saturates; JSON has no infinities.
        #[expect(clippy::cast_possible_truncation, reason = "the fraction is what is cut off")]
        Number::Fraction(seconds) => Timestamp(seconds.floor() as i64),
    })
}

fn maybe_numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    numeric_date(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn judged(changes: &Value) -> Result<Timestamp, String> {
        let mut claims = json!({"iss": "c", "sub": "c", "aud": "https://id.example", "exp": 1_000_060, "jti": "j"});
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let assertion: ClientAssertion = serde_json::from_value(claims).map_err(|e| e.to_string())?;
        let client_id = ClientId::parse("c").unwrap();
        let judged = assertion.judge(&client_id, &["https://id.example", "https://id.example/token"], NOW);
        judged.map(|(_, keep_until)| keep_until).map_err(str::to_owned)
    }

    #[test]
    fn what_other_peoples_libraries_send() {
        for (name, changes, kept_until) in [
            ("no iat", json!({}), 1_000_120),
            ("the token endpoint", json!({"aud": "https://id.example/token"}), 1_000_120),
            ("a list of one", json!({"aud": ["https://id.example"]}), 1_000_120),
            ("fractions", json!({"iat": 999_999.25, "exp": 1_000_060.75, "nbf": 999_999.5}), 1_000_120),
            ("300 s from a clock 20 s ahead", json!({"iat": 1_000_020, "exp": 1_000_320}), 1_000_380),
            ("the same without iat", json!({"exp": 1_000_320}), 1_000_380),
            ("an hour", json!({"iat": 1_000_000, "exp": 1_003_600}), 1_000_360),
            ("five minutes old", json!({"iat": 999_700, "exp": 1_003_300}), 1_000_060),
        ] {
            assert_eq!(judged(&changes), Ok(Timestamp(kept_until)), "{name}");
        }
    }

    #[test]
    fn what_proves_nothing() {
        for (changes, rule) in [
            (json!({"sub": "d"}), "iss and sub must both be the client_id"),
            (json!({"aud": []}), "aud must be one"),
            (json!({"aud": ["https://id.example", "https://other.example"]}), "aud must be one"),
            (json!({"aud": "https://id.example/"}), "aud must be the issuer or the token endpoint"),
            (json!({"aud": ["https://other.example"]}), "aud must be the issuer or the token endpoint"),
            (json!({"exp": 1_000_000.9}), "it has expired"),
            (json!({"exp": 1_000_331}), "it has no iat, so exp must be at most 5 minutes ahead"),
            (json!({"iat": 1_000_000, "exp": 1_003_631}), "exp is more than an hour ahead"),
            (json!({"iat": 1_000_031}), "iat is in the future"),
            (json!({"iat": 999_699}), "iat is more than 5 minutes ago"),
            (json!({"nbf": 1_000_031}), "it is not valid yet"),
            (json!({"jti": ""}), "jti must have 1 to 256 bytes"),
            (json!({"jti": "a\u{0}"}), "jti must not contain control characters"),
        ] {
            assert_eq!(judged(&changes), Err(rule.to_owned()), "{changes}");
        }
        for changes in [json!({"exp": "1000060"}), json!({"iat": null}), json!({"aud": 7}), json!({"exp": true})] {
            assert!(judged(&changes).is_err(), "{changes}");
        }
    }
}
