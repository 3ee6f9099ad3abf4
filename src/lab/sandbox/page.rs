//! Pages for people. They work without JavaScript, and show no token: what one says, without its signature.

use std::collections::BTreeMap;

use askama::Template;
use serde_json::{Map, Value};

use super::Sandbox;
use super::checks::{Check, Judged, Verdict};
use super::event::{Event, What};
use super::metadata::places;
use super::state::{Ceremony, Credential, Given};
use crate::domain::time::Timestamp;
use crate::lab::flaws::{Kind, Rule};

pub(super) const STYLE: &str = include_str!("page/page.css");
pub(super) const SCRIPT: &str = include_str!("page/page.js");

/// Most events and registrations shown.
const MAX_ROWS: usize = 50;

/// Most members of a token shown, and most letters of one.
const MAX_MEMBERS: usize = 60;
const MAX_VALUE: usize = 600;

#[derive(Template)]
#[template(path = "sandbox_index.html")]
struct Index<'a> {
    origin: &'a str,
    dialect: &'static str,
    flaws: Vec<&'static str>,
    last: u64,
    questions: Vec<Question>,
    tokens: Vec<TokenView>,
    registrations: Vec<RegistrationView>,
    events: Vec<EventView>,
    places: Vec<(&'static str, &'static str, &'static str)>,
}

struct Question {
    whom: String,
    attempt: String,
}

struct TokenView {
    n: u64,
    time: String,
    class: &'static str,
    verdict: &'static str,
    what: String,
    outcome: String,
    endpoint: &'static str,
    checks: Vec<CheckView>,
    parts: [(&'static str, Vec<Member>); 2],
}

struct CheckView {
    class: &'static str,
    sign: &'static str,
    word: &'static str,
    title: &'static str,
    question: &'static str,
}

struct Member {
    name: String,
    value: String,
    note: String,
}

struct RegistrationView {
    id: String,
    who: String,
    iss: String,
    scopes: Vec<String>,
    credentials: Vec<CredentialView>,
    /// What ended it, where nothing of it lives.
    ended: Option<String>,
    /// The latest that is known of it, for their order.
    at: Timestamp,
}

struct CredentialView {
    what: &'static str,
    until: String,
}

struct EventView {
    class: &'static str,
    time: String,
    name: &'static str,
    text: String,
    id: String,
}

/// What it is, what it was sent, and what has happened, the latest first.
pub(super) fn index(sandbox: &Sandbox) -> String {
    let now = sandbox.0.clock.now();
    let (events, last, questions, tokens, alive) = {
        let mut state = sandbox.state();
        state.lapse(now);
        let (events, last) = state.events_after(0);
        let tokens: Vec<Judged> = state.tokens().cloned().collect();
        let mail =
            state.claims.mail(now).map(|(to, id)| Question { whom: short(&shown(to), 120), attempt: id.to_owned() });
        let questions: Vec<Question> =
            state.ceremonies(now).iter().map(question_of).chain(mail).take(MAX_ROWS).collect();
        (events, last, questions, tokens, state.alive(now).cloned().collect::<Vec<_>>())
    };
    let index = Index {
        origin: &sandbox.0.origin,
        dialect: sandbox.0.dialect.title(),
        flaws: sandbox.0.broken.rules().map(Rule::name).collect(),
        last,
        questions,
        tokens: tokens.iter().map(token_view).collect(),
        registrations: registrations(&events, alive),
        events: events.iter().rev().take(MAX_ROWS).map(event_view).collect(),
        places: places(sandbox.0.dialect),
    };
    rendered(&index)
}

fn rendered(page: &impl Template) -> String {
    page.render().unwrap_or_default()
}

fn question_of(ceremony: &Ceremony) -> Question {
    Question { whom: whom(ceremony), attempt: ceremony.attempt.clone() }
}

fn whom(ceremony: &Ceremony) -> String {
    let person = &ceremony.registration.person;
    let named = person.email.as_deref().or(person.phone_number.as_deref());
    named.map_or_else(|| "an account".to_owned(), shown)
}

fn token_view(token: &Judged) -> TokenView {
    let kind = match token.kind {
        Kind::Notice => "Notice",
        _ => "Assertion",
    };
    let about = token.claims.get("sub").and_then(Value::as_str).map(|sub| format!(" about {}", short(&shown(sub), 60)));
    let (class, verdict, outcome) = match &token.refused {
        None if token.kind == Kind::Notice => ("passed", "taken", "What it tells was done.".to_owned()),
        None => ("passed", "accepted", "A credential was given out for it.".to_owned()),
        Some((code, why)) => ("failed", *code, sentence(why)),
    };
    TokenView {
        n: token.n,
        time: time_of_day(token.at),
        class,
        verdict,
        what: format!("{kind}{}", about.unwrap_or_default()),
        outcome,
        endpoint: token.endpoint,
        checks: token.verdicts.iter().copied().map(check_view).collect(),
        parts: [("Header", members(&token.header, token.at)), ("Claims", members(&token.claims, token.at))],
    }
}

fn check_view((check, verdict): (Check, Verdict)) -> CheckView {
    let (class, sign, word) = match verdict {
        Verdict::Passed => ("passed", "✓", "passed"),
        Verdict::Failed => ("failed", "✗", "failed"),
        Verdict::NotReached => ("left", "·", "not reached"),
    };
    CheckView { class, sign, word, title: check.title(), question: check.question() }
}

/// The members of a header or of claims, times with what a clock would show, seen from when the token came.
fn members(map: &Map<String, Value>, now: Timestamp) -> Vec<Member> {
    const TIMES: [&str; 4] = ["exp", "iat", "nbf", "auth_time"];
    let one = |(name, value): (&String, &Value)| {
        let at = value.as_i64().filter(|_| TIMES.contains(&name.as_str())).map(Timestamp);
        let note =
            at.map(|at| format!("{}, {}", at.rfc3339().replace('T', " "), relative(at, now))).unwrap_or_default();
        let value = short(&shown(&value.to_string()), MAX_VALUE);
        Member { name: short(&shown(name), MAX_VALUE), value, note }
    };
    map.iter().take(MAX_MEMBERS).map(one).collect()
}

/// How far away a time is, as somebody would say it.
fn relative(at: Timestamp, now: Timestamp) -> String {
    let seconds = (at - now).0;
    let (number, unit) = match seconds.unsigned_abs() {
        0 => return "now".to_owned(),
        n @ 1..120 => (n, "s"),
        n @ 120..7200 => (n / 60, "min"),
        n @ 7200..172_800 => (n / 3600, "h"),
        n => (n / 86_400, "days"),
    };
    if seconds < 0 { format!("{number} {unit} ago") } else { format!("in {number} {unit}") }
}

/// By registration: what of it lives, and what ended the rest.
fn registrations(events: &[Event], alive: Vec<Given>) -> Vec<RegistrationView> {
    let mut found: BTreeMap<String, RegistrationView> = BTreeMap::new();
    let new = |id: &str, who: &str, iss: &str| RegistrationView {
        id: id.to_owned(),
        who: short(&shown(who), 120),
        iss: shown(iss),
        scopes: Vec::new(),
        credentials: Vec::new(),
        ended: None,
        at: Timestamp(0),
    };
    for event in events {
        let (id, sub, iss, ended) = match &event.what {
            What::Registered { registration_id, sub, iss, .. } => (registration_id, sub.as_str(), iss.as_str(), None),
            What::Begun { registration_id, registration_type } => (registration_id, *registration_type, "", None),
            What::Expired { registration_id } => {
                (registration_id, "", "", Some("nobody claimed it in time".to_owned()))
            }
            What::Revoked { registration_id, sub, iss, .. } => {
                (registration_id, sub.as_str(), iss.as_str(), Some(format!("withdrawn at {}", time_of_day(event.at))))
            }
            _ => continue,
        };
        // Whoever withdraws what nobody has, registers nobody.
        if ended.is_some() && !found.contains_key(id) {
            continue;
        }
        let one = found.entry(id.clone()).or_insert_with(|| new(id, sub, iss));
        (one.ended, one.at) = (ended, event.at);
    }
    for Given { what, registration, expires_at, .. } in alive {
        let id = registration.id;
        let sub = if registration.sub.is_empty() { "anonymous" } else { &registration.sub };
        let one = found.entry(id.clone()).or_insert_with(|| new(&id, sub, &registration.iss));
        let person = registration.person;
        if let Some(contact) = person.email.or(person.phone_number) {
            one.who = short(&shown(&contact), 120);
        }
        one.scopes = registration.scopes.iter().map(shown).collect();
        one.ended = None;
        let until =
            expires_at.map_or_else(|| "until it is withdrawn".to_owned(), |at| format!("until {}", time_of_day(at)));
        let what = match what {
            Credential::AccessToken => "access token",
            Credential::ApiKey => "API key",
            Credential::Assertion => "assertion of its own",
        };
        one.credentials.push(CredentialView { what, until });
    }
    let mut found: Vec<_> = found.into_values().collect();
    for one in &mut found {
        one.credentials.sort_by(|a, b| (a.what, &a.until).cmp(&(b.what, &b.until)));
        let all = one.credentials.len();
        if all > 5 {
            one.credentials.truncate(4);
            one.credentials.push(CredentialView { what: "more", until: format!("{} others", all - 4) });
        }
        if one.credentials.is_empty() && one.ended.is_none() {
            one.ended = Some("no credential".to_owned());
        }
    }
    found.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.id.cmp(&b.id)));
    found.truncate(MAX_ROWS);
    found
}

fn event_view(event: &Event) -> EventView {
    let (class, name, text, id) = match &event.what {
        What::Registered { registration_id, credential_type, sub, .. } => {
            ("yes", "registration.created", format!("{sub} has a new {credential_type}"), registration_id.as_str())
        }
        What::Begun { registration_id, registration_type } => (
            "",
            "registration.created",
            format!("{registration_type}, for somebody to claim"),
            registration_id.as_str(),
        ),
        What::CodeShown { registration_id } => {
            ("", "otp.generated", "a code was shown".to_owned(), registration_id.as_str())
        }
        What::Denied { registration_id } => {
            ("no", "claim.denied", "the user said no".to_owned(), registration_id.as_str())
        }
        What::Expired { registration_id } => {
            ("no", "registration.expired", "nobody claimed it in time".to_owned(), registration_id.as_str())
        }
        What::Asked { registration_id, email } => {
            let whom = email.as_deref().unwrap_or("the account's user");
            ("", "claim.requested", format!("{whom} is asked"), registration_id.as_str())
        }
        What::Confirmed { registration_id, claimed_by_user_id } => {
            ("yes", "claim.confirmed", format!("{claimed_by_user_id} said yes"), registration_id.as_str())
        }
        What::Issued { registration_id } => {
            ("yes", "token.issued", "an access token was given out".to_owned(), registration_id.as_str())
        }
        What::Revoked { registration_id, format, credentials, sub, .. } => {
            let plural = if *credentials == 1 { "" } else { "s" };
            let text = format!("{sub} withdrew ({format}): {credentials} credential{plural} ended");
            ("no", "registration.revoked", text, registration_id.as_str())
        }
        What::Served { registration_id } => {
            ("yes", "resource.served", "the API was used".to_owned(), registration_id.as_str())
        }
        What::Unauthorized => ("no", "resource.refused", "no live credential".to_owned(), ""),
        What::Refused { endpoint, code, why } => ("no", "refused", format!("{code} at {endpoint}: {why}"), ""),
    };
    let text = short(&shown(&text), MAX_VALUE);
    EventView { class, time: time_of_day(event.at), name, text, id: id.to_owned() }
}

fn time_of_day(at: Timestamp) -> String {
    at.rfc3339().get(11..19).unwrap_or_default().to_owned()
}

/// A sentence of a refusal, as it stands on a page. What begins with a claim's name keeps its letters.
fn sentence(text: &str) -> String {
    const NAMES: [&str; 9] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "typ", "cnf"];
    let first = text.split(' ').next().unwrap_or_default();
    let mut letters = text.chars();
    let begin = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    let named = first.contains('_') || NAMES.contains(&first);
    format!("{}.", shown(&if named { text.to_owned() } else { begin + letters.as_str() }))
}

fn short(text: &str, most: usize) -> String {
    let mut letters = text.chars();
    let begin: String = letters.by_ref().take(most).collect();
    if letters.next().is_some() { begin + "…" } else { begin }
}

/// Text from outside with nothing in it that a reader would not see: a letter that turns the line around is written out.
pub(super) fn shown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        let unseen = matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if c.is_control() || unseen {
            safe.extend(c.escape_unicode());
        } else {
            safe.push(c);
        }
    }
    safe
}

#[derive(Template)]
#[template(path = "sandbox_question.html")]
struct Asked {
    title: &'static str,
    problem: &'static str,
    state: State,
}

/// What a ceremony is at.
pub(super) enum State {
    Expired,
    /// The user reads it to the agent.
    Code(String),
    Done,
    Denied,
    /// A code may be had.
    Offer {
        attempt: String,
        whom: String,
    },
    Open {
        attempt: String,
        /// Who says so.
        asks: String,
        whom: String,
        types_code: bool,
    },
}

/// Asks a user whether an account is theirs.
pub(super) fn question(ceremony: Option<&Ceremony>, reveals: bool, problem: Option<&'static str>) -> String {
    let (title, state) = match ceremony.map(|ceremony| (ceremony, ceremony.answer)) {
        None => ("This question has expired", State::Expired),
        Some((ceremony, Some(true))) if reveals => {
            ("Read this code to your agent", State::Code(ceremony.user_code.clone()))
        }
        Some((_, Some(true))) => ("Done", State::Done),
        Some((_, Some(false))) => ("Nothing was linked", State::Denied),
        Some((ceremony, None)) => {
            let (attempt, asks) = (ceremony.attempt.clone(), shown(&ceremony.registration.iss));
            ("Is this you?", State::Open { attempt, asks, whom: whom(ceremony), types_code: !reveals })
        }
    };
    rendered(&Asked { title, problem: problem.unwrap_or_default(), state })
}

/// The same by its state.
pub(super) fn asked(state: State) -> String {
    let title = match state {
        State::Expired => "This link leads nowhere any more",
        State::Code(_) => "Read this code to your agent",
        State::Denied => "Nothing was linked",
        _ => "An agent wants to act for you",
    };
    rendered(&Asked { title, problem: "", state })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_reader_would_not_see_is_written_out() {
        assert_eq!(shown("a\u{202e}b\u{0}c"), r"a\u{202e}b\u{0}c");
        assert_eq!(short("abcd", 3), "abc…");
        assert_eq!(short("äöü", 3), "äöü");
        let many: Map<String, Value> = (0..100).map(|n| (n.to_string(), json!("x".repeat(1000)))).collect();
        let members = members(&many, Timestamp(0));
        assert_eq!(members.len(), MAX_MEMBERS);
        assert!(members.iter().all(|member| member.value.chars().count() == MAX_VALUE + 1));
    }

    #[test]
    fn times_are_as_people_say_them() {
        let now = Timestamp(1_000_000);
        for (seconds, said) in
            [(0, "now"), (-5, "5 s ago"), (300, "in 5 min"), (-7200, "2 h ago"), (864_000, "in 10 days")]
        {
            assert_eq!(relative(Timestamp(1_000_000 + seconds), now), said);
        }
    }
}
