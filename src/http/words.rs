//! Plain words for pages: times with their zone, scopes, claims, delivery steps.

use chrono::DateTime;

use crate::domain::consent::{Consent, Mode};
use crate::domain::service::Claim;
use crate::flow::connections::Delivery;

/// A time in words. UTC, since a page without JavaScript cannot know the reader's zone.
pub(super) fn time(at: i64) -> String {
    DateTime::from_timestamp(at, 0).map_or_else(|| at.to_string(), |t| t.format("%-d %b %Y, %H:%M UTC").to_string())
}

/// A time to the second.
pub(super) fn exact(at: i64) -> String {
    DateTime::from_timestamp(at, 0).map_or_else(|| at.to_string(), |t| t.format("%-d %b %Y, %H:%M:%S UTC").to_string())
}

/// RFC 3339, for the API.
pub(super) fn rfc3339(at: i64) -> String {
    DateTime::from_timestamp(at, 0).map_or_else(|| at.to_string(), |t| t.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// What a sign-in scope lets a client know or do.
pub(super) fn scope(token: &str) -> &'static str {
    match token {
        "openid" => "Know that it is you who signs in",
        "email" => "See your e-mail address",
        "profile" => "See your name",
        "phone" => "See your phone number",
        "offline_access" => "Stay signed in for you while you are away",
        "delegations" => "See and stop your connections",
        _ => "Something this page has no words for",
    }
}

/// What a claim is, and what a service does with it.
pub(super) fn claim(claim: Claim) -> (&'static str, &'static str) {
    match claim {
        Claim::Email => ("Your e-mail", "to find your account there"),
        Claim::EmailVerified => ("Whether we checked that e-mail", "so that nobody else can use it"),
        Claim::Name => ("Your name", "shown on your account"),
        Claim::PhoneNumber => ("Your phone number", "to find your account there"),
        Claim::PhoneNumberVerified => ("Whether we checked that number", "so that nobody else can use it"),
        Claim::Amr => ("How you signed in", "so that it can ask for more"),
    }
}

/// How far a decision goes.
pub(super) fn mode(mode: Mode) -> String {
    match mode {
        Mode::Once => "This once".into(),
        Mode::Until(at) => format!("Until {}", time(at)),
        Mode::Always => "Until you stop it".into(),
        Mode::Denied => "Denied".into(),
    }
}

/// Where a decision stands now.
pub(super) fn standing(consent: &Consent) -> String {
    match (consent.mode, consent.ended_at, consent.last_used_at) {
        (Mode::Once, Some(_), Some(used)) => format!("This once, used {}", time(used)),
        (_, Some(ended), _) => format!("{}; ended {}", mode(consent.mode), time(ended)),
        _ => mode(consent.mode),
    }
}

/// What became of telling a service, in order: when, and what.
pub(super) fn way(ended_at: i64, host: &str, deliveries: &[Delivery]) -> Vec<(String, String)> {
    let mut lines = vec![(exact(ended_at), "stopped here: no agent can use it from now on".to_owned())];
    for delivery in deliveries {
        let answer = match (delivery.last_status, &delivery.last_error) {
            (Some(status), _) => format!("it answered {status}"),
            (None, Some(error)) => error.clone(),
            (None, None) => "not tried yet".to_owned(),
        };
        let times = if delivery.attempts == 1 { "once".to_owned() } else { format!("{} times", delivery.attempts) };
        lines.push(match delivery.state.as_str() {
            "delivered" => (exact(delivery.ended_at.unwrap_or(delivery.due_at)), format!("{host} confirmed")),
            "queued" if delivery.attempts == 0 => {
                (exact(delivery.due_at), format!("{host} is told then, when the last assertion can no longer be used"))
            }
            "queued" => (exact(delivery.due_at), format!("next try; told {times} so far: {answer}")),
            "refused" => (
                exact(delivery.ended_at.unwrap_or(delivery.due_at)),
                format!("{host} refused, after {times}: {answer}"),
            ),
            _ => (exact(delivery.ended_at.unwrap_or(delivery.due_at)), format!("given up, after {times}: {answer}")),
        });
    }
    lines
}
