//! Plain words for pages: times with their zone, scopes, claims, delivery steps.

use chrono::DateTime;
use url::Url;

use crate::domain::consent::{Consent, Mode};
use crate::domain::ids::authority;
use crate::domain::notice::{Attempt, Delivery, DeliveryState, Round};
use crate::domain::service_policy::Claim;
use crate::domain::session::Stays;
use crate::domain::time::{Seconds, Timestamp};

/// A time in words. UTC, since a page without JavaScript cannot know the reader's zone.
pub(super) fn time(at: Timestamp) -> String {
    DateTime::from_timestamp(at.0, 0).map_or_else(|| at.to_string(), |t| t.format("%-d %b %Y, %H:%M UTC").to_string())
}

/// A time that is past: how long ago, and when exactly.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> String {
    relative(at, now).map_or_else(|| time(at), |relative| format!("{relative} ({})", time(at)))
}

/// A time in a sentence that needs the exact one: that, and how far away it is.
pub(super) fn near(at: Timestamp, now: Timestamp) -> String {
    beside(&time(at), at, now)
}

/// The same to the second.
pub(super) fn to_the_second(at: Timestamp, now: Timestamp) -> String {
    let exact = DateTime::from_timestamp(at.0, 0)
        .map_or_else(|| at.to_string(), |t| t.format("%-d %b %Y, %H:%M:%S UTC").to_string());
    beside(&exact, at, now)
}

fn beside(exact: &str, at: Timestamp, now: Timestamp) -> String {
    relative(at, now).map_or_else(|| exact.to_owned(), |relative| format!("{exact} ({relative})"))
}

/// How far away a time is, as long as that says more than a date.
fn relative(at: Timestamp, now: Timestamp) -> Option<String> {
    let Seconds(seconds) = now - at;
    let (n, unit) = match seconds.abs() {
        ..60 => return Some(if seconds < 0 { "in less than a minute" } else { "just now" }.to_owned()),
        far @ 60..3600 => (far / 60, "minute"),
        far @ 3600..86_400 => (far / 3600, "hour"),
        // The longest that one can agree for.
        far @ 86_400..=2_592_000 => (far / 86_400, "day"),
        _ => return None,
    };
    let plural = if n == 1 { "" } else { "s" };
    Some(if seconds < 0 { format!("in {n} {unit}{plural}") } else { format!("{n} {unit}{plural} ago") })
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

/// How long an agent would stay signed in.
pub(super) fn asked_to_stay(offline: bool) -> &'static str {
    if offline { "While you are away, until you end it under Connections" } else { "Until you sign out" }
}

/// How long an agent's sign-in lasts.
pub(super) fn stays(stays: Stays) -> &'static str {
    match stays {
        Stays::Out => "not signed in now; may sign you in again without asking",
        Stays::UntilSignOut => "until you sign out",
        Stays::WhileAway => "while you are away, until you end it here",
    }
}

/// What a claim is, and what a service does with it.
pub(super) fn claim(claim: Claim) -> (&'static str, &'static str) {
    match claim {
        Claim::Email | Claim::EmailVerified => ("Your e-mail address", "to find your account there"),
        Claim::Name => ("Your name", "to show on your account"),
        Claim::PhoneNumber | Claim::PhoneNumberVerified => ("Your phone number", "to find your account there"),
        Claim::Amr => sign_in(true),
    }
}

/// What every assertion says about the sign-in, and what a service does with it.
pub(super) fn sign_in(method: bool) -> (&'static str, &'static str) {
    let what = if method { "When and how you last signed in" } else { "When you last signed in" };
    (what, "so that an old sign-in doesn't count")
}

/// How far a decision goes.
pub(super) fn mode(mode: Mode, now: Timestamp) -> String {
    match mode {
        Mode::Once => "This once".into(),
        Mode::Until(at) => format!("Until {}", near(at, now)),
        Mode::Always => "Until you stop it".into(),
        Mode::Denied => "Denied".into(),
    }
}

/// Where a decision stands now.
pub(super) fn standing(consent: &Consent, now: Timestamp) -> String {
    match (consent.mode, consent.ended_at, consent.last_used_at) {
        (Mode::Once, Some(_), Some(used)) => format!("This once, used {}", ago(used, now)),
        (_, Some(ended), _) => format!("{}; ended {}", mode(consent.mode, now), ago(ended, now)),
        _ => mode(consent.mode, now),
    }
}

/// Name and system of a browser, from what it calls itself: "Firefox on Linux". `None` for what no browser says.
pub(super) fn browser(user_agent: &str) -> Option<String> {
    // Most browsers claim to be others as well, so the pickier names come first.
    const BROWSERS: [(&str, &str); 6] = [
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("FxiOS/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ];
    const SYSTEMS: [(&str, &str); 7] = [
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("CrOS", "ChromeOS"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ];
    let named = |names: &[(&str, &'static str)]| names.iter().find(|(t, _)| user_agent.contains(t)).map(|(_, n)| *n);
    let browser = named(&BROWSERS)?;
    Some(named(&SYSTEMS).map_or_else(|| browser.to_owned(), |system| format!("{browser} on {system}")))
}

/// Of a 2xx of an endpoint that may be for something else.
const PROVES_NOTHING: &str = "which does not show that it understood";

/// Most attempts that are listed one by one.
const MAX_LISTED: usize = 8;

/// What became of telling a service, in order: when, and what.
pub(super) fn delivery_timeline(
    ended_at: Timestamp,
    host: &str,
    deliveries: &[Delivery],
    attempts: &[(Timestamp, Attempt)],
    now: Timestamp,
) -> Vec<(String, String)> {
    let to_the_second = |at| to_the_second(at, now);
    let mut lines = vec![(to_the_second(ended_at), "stopped here: no agent can use it from now on".to_owned())];
    let of = |attempt: &Attempt| deliveries.iter().find(|d| d.id == attempt.delivery_id);
    let known: Vec<_> = attempts.iter().filter_map(|(at, attempt)| Some((*at, attempt, of(attempt)?.round))).collect();
    // The first ones say how it began, the last ones how it stands.
    let left_out = if known.len() > MAX_LISTED { 2..known.len() - 4 } else { 0..0 };
    for (n, (at, attempt, round)) in known.iter().enumerate() {
        if n == left_out.start && !left_out.is_empty() {
            lines.push((
                format!("until {}", to_the_second(known[left_out.end - 1].0)),
                format!("{} more tries", left_out.len()),
            ));
        }
        if left_out.contains(&n) {
            continue;
        }
        let again = if *round == Round::Second { " the second time" } else { "" };
        let what = match attempt.status {
            Some(200..=299) if attempt.state == DeliveryState::Unproven => {
                format!("told {host}{again}: {}, {PROVES_NOTHING}", answer(attempt.status, None))
            }
            Some(200..=299) => format!("{host} confirmed{again}"),
            _ => format!("tried to tell {host}{again}: {}", answer(attempt.status, attempt.error.as_deref())),
        };
        lines.push((to_the_second(*at), what));
    }
    lines.extend(deliveries.iter().filter_map(|delivery| current(host, delivery, now)));
    lines
}

/// That a service which the user has agreed to again has yet to hear that they had stopped it.
pub(super) fn still_told(host: &str) -> String {
    format!(
        "You stopped this before, and {host} has yet to hear of it. When it does, it may end what agents got since; they then connect again by \
         themselves."
    )
}

/// Where a notice stands that was not delivered.
fn current(host: &str, delivery: &Delivery, now: Timestamp) -> Option<(String, String)> {
    let to_the_second = |at| to_the_second(at, now);
    Some(match (delivery.state, delivery.round) {
        (DeliveryState::Delivered | DeliveryState::Unproven | DeliveryState::Cancelled, _) => return None,
        (DeliveryState::Queued, Round::First) if delivery.attempts == 0 => {
            (to_the_second(delivery.due_at), format!("{host} is being told{}", at(host, delivery)))
        }
        (DeliveryState::Queued, Round::Second) if delivery.attempts == 0 => {
            let why = "what an agent got just before the stop could be used until then";
            (to_the_second(delivery.due_at), format!("{host} is told a second time{}: {why}", at(host, delivery)))
        }
        (DeliveryState::Queued, _) => {
            let until = near(delivery.give_up_at, now);
            (to_the_second(delivery.due_at), format!("next try{}; we go on until {until}", at(host, delivery)))
        }
        (DeliveryState::Refused | DeliveryState::GivenUp, round) => {
            let tries = if delivery.attempts == 1 { "try" } else { "tries" };
            let last = answer(delivery.last_status, delivery.last_error.as_deref());
            let what = if round == Round::Second { "gave up on the second time" } else { "gave up" };
            let ended = to_the_second(delivery.ended_at.unwrap_or(delivery.due_at));
            (ended, format!("{what}, after {} {tries}: {last}", delivery.attempts))
        }
    })
}

/// Where a notice goes, if that is not at the service's own host.
fn at(host: &str, delivery: &Delivery) -> String {
    let there = Url::parse(&delivery.endpoint).map_or_else(|_| delivery.endpoint.clone(), |url| authority(&url));
    if there == host { String::new() } else { format!(", at {there}") }
}

fn answer(status: Option<i64>, error: Option<&str>) -> String {
    status.map_or_else(|| error.unwrap_or("no answer").to_owned(), |status| format!("it answered {status}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{Jti, Subject};
    use crate::domain::notice::{Format, LIFETIME};

    #[test]
    fn how_long_ago() {
        let at = Timestamp(1_800_000_000);
        for (seconds, words) in [
            (-2_592_001, "15 Jan 2027, 08:00 UTC"),
            (-2_592_000, "in 30 days ("),
            (-86_399, "in 23 hours ("),
            (-60, "in 1 minute ("),
            (-5, "in less than a minute ("),
            (0, "just now ("),
            (59, "just now ("),
            (60, "1 minute ago ("),
            (3599, "59 minutes ago ("),
            (7200, "2 hours ago ("),
            (86_400, "1 day ago ("),
            (2_592_000, "30 days ago ("),
            (2_592_001, "15 Jan 2027, 08:00 UTC"),
        ] {
            assert!(ago(at, at + Seconds(seconds)).starts_with(words), "{seconds}");
        }
        assert_eq!(ago(at, at + Seconds(120)), "2 minutes ago (15 Jan 2027, 08:00 UTC)");
        assert_eq!(near(at, at - Seconds(120)), "15 Jan 2027, 08:00 UTC (in 2 minutes)");
        assert_eq!(near(at, at + Seconds(5_000_000)), "15 Jan 2027, 08:00 UTC");
    }

    #[test]
    fn browsers() {
        let cases = [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", Some("Firefox on Linux")),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36 Edg/140.0",
                Some("Edge on Windows"),
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/604.1",
                Some("Safari on iPhone"),
            ),
            (
                "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Mobile Safari/537.36",
                Some("Chrome on Android"),
            ),
            ("Chrome/1", Some("Chrome")),
            ("curl/8.5.0", None),
            ("<script>", None),
        ];
        for (user_agent, expected) in cases {
            assert_eq!(browser(user_agent).as_deref(), expected, "{user_agent}");
        }
    }

    fn delivery(id: &str, round: Round, state: DeliveryState, attempts: i64, due_at: i64) -> Delivery {
        let due_at = Timestamp(due_at);
        Delivery {
            id: id.into(),
            issuer_id: String::new(),
            delegation_id: Some("d".into()),
            sid: None,
            format: Format::LogoutJwt,
            round,
            endpoint: "https://s.example/revoke".into(),
            host: "s.example".into(),
            iss: String::new(),
            sub: Subject::parse("u").unwrap(),
            aud: String::new(),
            state,
            attempts,
            due_at,
            created_at: Timestamp(0),
            give_up_at: Timestamp::EPOCH + LIFETIME,
            ended_at: Some(due_at).filter(|_| state != DeliveryState::Queued),
            last_status: Some(410),
            last_error: None,
        }
    }

    fn attempt(delivery_id: &str, at: i64, status: Option<i64>, error: Option<&str>) -> (Timestamp, Attempt) {
        let attempt = Attempt {
            delivery_id: delivery_id.into(),
            number: 1,
            jti: Jti::parse("j").unwrap(),
            kid: "k".into(),
            endpoint: String::new(),
            status,
            error: error.map(str::to_owned),
            latency: 5,
            answer: String::new(),
            state: DeliveryState::Queued,
            due_at: Timestamp(0),
            held: true,
        };
        (Timestamp(at), attempt)
    }

    #[test]
    fn what_became_of_a_notice() {
        use DeliveryState::{Delivered, Queued, Refused};
        use Round::{First, Second};
        let texts = |deliveries: &[Delivery], attempts: &[(Timestamp, Attempt)]| -> Vec<String> {
            delivery_timeline(Timestamp(0), "s.example", deliveries, attempts, Timestamp(6))
                .into_iter()
                .map(|(_, text)| text)
                .skip(1)
                .collect()
        };
        let waiting = [delivery("a", First, Queued, 0, 0), delivery("b", Second, Queued, 0, 420)];
        let because =
            "s.example is told a second time: what an agent got just before the stop could be used until then";
        assert_eq!(texts(&waiting, &[]), ["s.example is being told", because]);

        let tries = [attempt("a", 1, Some(503), None), attempt("a", 6, None, Some("no answer in time"))];
        let under_way = [delivery("a", First, Queued, 2, 25), delivery("b", Second, Queued, 0, 420)];
        let tried = ["tried to tell s.example: it answered 503", "tried to tell s.example: no answer in time"];
        assert_eq!(
            texts(&under_way, &tries),
            [&tried[..], &["next try; we go on until 8 Jan 1970, 00:00 UTC (in 6 days)", because]].concat()
        );

        let mut moved = waiting.clone();
        moved[0].endpoint = "https://push.example:8443/revoke".into();
        assert_eq!(texts(&moved, &[])[0], "s.example is being told, at push.example:8443");

        let through = [delivery("a", First, Delivered, 1, 1), delivery("b", Second, Delivered, 1, 420)];
        let confirmed = [attempt("a", 1, Some(202), None), attempt("b", 420, Some(200), None)];
        assert_eq!(texts(&through, &confirmed), ["s.example confirmed", "s.example confirmed the second time"]);

        let mut unsure = [attempt("a", 1, Some(200), None)];
        unsure[0].1.state = DeliveryState::Unproven;
        let lines = texts(&[delivery("a", First, DeliveryState::Unproven, 1, 1)], &unsure);
        assert_eq!(lines, ["told s.example: it answered 200, which does not show that it understood"]);

        let many: Vec<_> = (1..=43).map(|n| attempt("a", n, Some(410), None)).collect();
        let lines = texts(&[delivery("a", First, Refused, 43, 43)], &many);
        assert_eq!(lines.len(), 2 + 1 + 4 + 1);
        assert_eq!(lines[2], "37 more tries");
        assert_eq!(lines[7], "gave up, after 43 tries: it answered 410");
        let second = texts(&[delivery("b", Second, Refused, 1, 43)], &[]);
        assert_eq!(second, ["gave up on the second time, after 1 try: it answered 410"]);
    }
}
