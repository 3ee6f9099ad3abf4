//! Who the user is, how they can be reached, and when they signed in.

use serde_json::{Value, json};

use super::claims::{Context, LEEWAY, malformed};
use super::reply::Refusal;
use crate::domain::time::Seconds;
use crate::lab::flaws::{Class, Dialect, Rule};

/// Most bytes of an address: it is kept.
const MAX_ADDRESS: usize = 320;

/// Seconds since the user's last sign-in at most: auth.md as of v0.5, "ID-JAG claims".
const MAX_AGE: Seconds = Seconds(3600);

/// The same where no dialect says anything: what is older is no sign-in that anybody remembers.
const MAX_AGE_OF_OTHERS: Seconds = Seconds(30 * 86_400);

/// How the user can be reached; only what the issuer verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) email: Option<String>,
    pub(super) phone_number: Option<String>,
}

impl Context<'_> {
    /// At least one verified way to reach the user ("User matching"), where they are known by that; `"true"` and `1` are not `true`.
    pub(super) fn person(&self) -> Result<Person, Refusal> {
        let by_contact = self.dialect != Dialect::Plain;
        let no = |why: &'static str| Refusal::new(Class::Contact, why);
        let verified = |name: &str, proof: &str| {
            let address = self.claims.text(name).filter(|text| text.len() <= MAX_ADDRESS);
            let proven =
                self.claims.get(proof) == Some(&Value::Bool(true)) || self.lacks(Rule::AcceptUnverifiedContact);
            address.filter(|_| proven).map(str::to_owned)
        };
        let mut person = Person {
            email: verified("email", "email_verified"),
            phone_number: verified("phone_number", "phone_number_verified"),
        };
        if !self.lacks(Rule::AcceptAnyContact) && by_contact {
            if person.email.as_deref().is_some_and(|email| !is_address(email)) {
                return Err(no("email is no address"));
            }
            if person.phone_number.as_deref().is_some_and(|number| !is_number(number)) {
                return Err(malformed("phone_number is no number as of E.164"));
            }
        }
        if !by_contact {
            person.email = person.email.filter(|email| is_address(email));
            person.phone_number = person.phone_number.filter(|number| is_number(number));
        } else if person.email.is_none() && person.phone_number.is_none() && !self.lacks(Rule::AcceptMissingContact) {
            return Err(no("neither a verified e-mail nor a verified phone number"));
        }
        Ok(person)
    }

    /// The claims that are only shown or passed on have the types that they must have (OpenID Connect Core sections 2 and 5.1).
    pub(super) fn types(&self) -> Result<(), Refusal> {
        if self.lacks(Rule::AcceptAnyTypeOfClaim) {
            return Ok(());
        }
        for name in ["name", "email", "phone_number", "acr", "tenant", "agent_platform", "agent_context_id"] {
            if self.claims.get(name).is_some_and(|value| !value.is_string()) {
                return Err(malformed(format!("{name} is not a text")));
            }
        }
        let is_texts = |value: &Value| value.as_array().is_some_and(|list| list.iter().all(Value::is_string));
        if self.claims.get("amr").is_some_and(|amr| !is_texts(amr)) {
            return Err(malformed("amr is not a list of texts"));
        }
        if self.claims.get("act").is_some_and(|act| !act.is_object()) {
            return Err(malformed("act is not an object"));
        }
        Ok(())
    }

    /// When the user signed in: for auth.md as of v0.5 within the last hour, whoever they are.
    pub(super) fn auth_time(&self) -> Result<(), Refusal> {
        if self.lacks(Rule::IgnoreAuthTime) {
            return Ok(());
        }
        let asked = matches!(self.dialect, Dialect::Flat | Dialect::Nested);
        let max_age = if asked { MAX_AGE } else { MAX_AGE_OF_OTHERS };
        let no = |why: &'static str| {
            let mut refusal = Refusal::new(Class::Authentication, why);
            if asked {
                refusal.more.insert("max_age".into(), json!(max_age.0));
            }
            refusal
        };
        let Ok(at) = self.time("auth_time") else { return Err(no("auth_time must be an integer of seconds")) };
        let Some(at) = at else { return if asked { Err(no("auth_time is missing")) } else { Ok(()) } };
        let made = self.time("iat").ok().flatten().unwrap_or(self.now);
        if at > made || at > self.now + LEEWAY {
            return Err(no("auth_time is later than the assertion itself"));
        }
        if self.now - at > max_age + LEEWAY {
            return Err(no("the user's sign-in was too long ago"));
        }
        Ok(())
    }

    /// A second name of the user, where there is one, is the same user's (RFC 9493; ID-JAG draft section 3.2).
    pub(super) fn second_name(&self) -> Result<(), Refusal> {
        let Some(id) = self.claims.get("sub_id").filter(|_| !self.lacks(Rule::IgnoreSubId)) else { return Ok(()) };
        let text = |name: &str| id.get(name).and_then(Value::as_str);
        let same = match text("format") {
            Some("iss_sub") => text("iss") == self.claims.text("iss") && text("sub") == self.claims.text("sub"),
            Some("email") => text("email").is_some() && text("email") == self.claims.text("email"),
            Some(_) => return Err(malformed("sub_id has a format that is not supported")),
            None => return Err(malformed("sub_id has no format")),
        };
        if same { Ok(()) } else { Err(malformed("sub_id names another user than the other claims")) }
    }
}

/// Something before and after one `@`, and nothing that no address holds.
pub(super) fn is_address(text: &str) -> bool {
    if text.len() > MAX_ADDRESS {
        return false;
    }
    let parts = text.split_once('@');
    let fits =
        |part: &str| !part.is_empty() && !part.contains(|c: char| c == '@' || c.is_whitespace() || c.is_control());
    parts.is_some_and(|(local, domain)| fits(local) && fits(domain))
}

/// A number as of E.164, with its plus.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or_default();
    (5..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0')
}
