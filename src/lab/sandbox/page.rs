//! Pages for people. They work without JavaScript, and show no token.

use std::fmt::Write as _;

use super::event::{Event, What};
use super::metadata::places;
use super::state::Ceremony;
use crate::lab::flaws::Dialect;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
    color:#1c1c1e;background:#fff}table{border-collapse:collapse;width:100%}td,th{padding:.3rem .6rem;text-align:left;\
    vertical-align:top;border-bottom:1px solid #d0d0d5}code{overflow-wrap:anywhere}.no{color:#b00020}.yes{color:#0a6b2d}\
    .code{font-size:2rem;letter-spacing:.2em}button,input{font:inherit;padding:.4rem .8rem}\
    @media(prefers-color-scheme:dark){body{color:#eee;background:#161618}td,th{border-color:#3a3a3e}.no{color:#ff8a93}\
    .yes{color:#7fdc9a}}";

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

fn whole(title: &str, refresh: bool, body: &str) -> String {
    let refresh = if refresh { "<meta http-equiv=\"refresh\" content=\"5\">" } else { "" };
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\">{refresh}<title>{title}</title><style>{STYLE}</style></head><body>\n{body}</body></html>\n"
    )
}

/// What it is, and what has happened, the latest first.
pub(super) fn index(origin: &str, dialect: Dialect, flaws: &[&str], events: &[Event], waiting: &[Ceremony]) -> String {
    let mut body = format!(
        "<h1>Avouch Sandbox</h1>\n<p>A relying service at <code>{}</code> for tests: {}. It keeps everything in memory and \
         forgets it when it stops.</p>\n",
        escaped(origin),
        dialect.title()
    );
    if flaws.is_empty() {
        body += "<p>It keeps every rule.</p>\n";
    } else {
        let _ = writeln!(body, "<p class=\"no\">It does not keep: <code>{}</code>.</p>", flaws.join("</code>, <code>"));
    }
    for ceremony in waiting {
        let email = ceremony.registration.person.email.as_deref().unwrap_or("a phone number");
        let _ = writeln!(
            body,
            "<p>Somebody waits for the owner of {}: <a href=\"/claim/{}\">answer</a>.</p>",
            escaped(email),
            ceremony.attempt
        );
    }
    body += "<h2>What has happened</h2>\n<table><tr><th>When, UTC<th>What<th>Of whom</tr>\n";
    for event in events.iter().rev().take(50) {
        let (class, what, who) = line(&event.what);
        let at = event.at.rfc3339().get(11..19).unwrap_or_default().to_owned();
        let _ = writeln!(
            body,
            "<tr><td>{at}<td class=\"{class}\">{}<td><code>{}</code></tr>",
            escaped(&what),
            escaped(&who)
        );
    }
    body += "</table>\n<h2>What may be asked for</h2>\n<table>\n";
    for (method, path, meaning) in places(dialect) {
        let _ = writeln!(body, "<tr><td>{method}<td><code>{path}</code><td>{meaning}</tr>");
    }
    whole("Avouch Sandbox", true, &(body + "</table>\n"))
}

fn line(what: &What) -> (&'static str, String, String) {
    match what {
        What::Registered { registration_id, credential_type, sub, iss, .. } => (
            "yes",
            format!("registered, by an assertion of {iss}: {credential_type}"),
            format!("{registration_id} {sub}"),
        ),
        What::Asked { registration_id, email } => (
            "",
            format!("the owner of {} is asked", email.as_deref().unwrap_or("the account")),
            registration_id.clone(),
        ),
        What::Confirmed { registration_id, claimed_by_user_id } => {
            ("yes", format!("{claimed_by_user_id} said yes"), registration_id.clone())
        }
        What::Issued { registration_id } => ("yes", "an access token was given out".into(), registration_id.clone()),
        What::Revoked { registration_id, format, credentials, sub, .. } => (
            "no",
            format!("withdrawn by a notice ({format}): {credentials} credentials ended"),
            format!("{registration_id} {sub}"),
        ),
        What::Served { registration_id } => ("yes", "the API was used".into(), registration_id.clone()),
        What::Unauthorized => ("no", "the API was asked without a live credential".into(), String::new()),
        What::Refused { endpoint, code, why } => ("no", format!("{endpoint} refused: {code}"), why.clone()),
    }
}

/// Asks a user whether an account is theirs.
pub(super) fn question(ceremony: Option<&Ceremony>, reveals: bool, problem: Option<&str>) -> String {
    let title = "Is this you?";
    let Some(ceremony) = ceremony else {
        return whole(title, false, "<h1>This question has expired</h1><p>Your agent may ask again.</p>\n");
    };
    let problem = problem.map(|problem| format!("<p class=\"no\">{}</p>\n", escaped(problem))).unwrap_or_default();
    let body = match ceremony.answer {
        Some(true) if reveals => format!(
            "<h1>Read this code to your agent</h1><p class=\"code\">{}</p><p>It is good for ten minutes.</p>\n",
            escaped(&ceremony.user_code)
        ),
        Some(true) => "<h1>Done</h1><p>Your agent goes on by itself. You may close this page.</p>\n".to_owned(),
        Some(false) => "<h1>Nothing was linked</h1><p>Your agent is told that you said no.</p>\n".to_owned(),
        None => {
            let email = ceremony.registration.person.email.as_deref().unwrap_or("your phone number");
            let code = if reveals {
                ""
            } else {
                "<p><label>The code that your agent shows <input name=\"user_code\" inputmode=\"numeric\" \
                 autocomplete=\"one-time-code\" maxlength=\"6\"></label></p>"
            };
            format!(
                "<h1>{title}</h1><p><code>{}</code> says that the user of an agent has the address <strong>{}</strong>. A real \
                 service would have you sign in here first.</p><form method=\"post\" action=\"/claim/{}\">{code}<p><button \
                 name=\"decision\" value=\"yes\">Yes, let it in</button> <button name=\"decision\" value=\"no\">No</button></p></form>\n",
                escaped(&ceremony.registration.iss),
                escaped(email),
                ceremony.attempt
            )
        }
    };
    whole(title, false, &(problem + &body))
}
