//! What the demo prints: titles, and what went over the wire, in lines that fit a terminal. Whatever would let somebody in is cut short.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::lab::agent::Exchange;
use crate::net::Method;

/// Longest line.
const WIDTH: usize = 100;
/// Longest value of a parameter.
const VALUE: usize = 60;
/// Before everything but titles.
const INDENT: &str = "   ";
/// Parameters and members that let somebody in.
const SECRET: [&str; 13] = [
    "access_token",
    "assertion",
    "client_secret",
    "code",
    "code_verifier",
    "credential",
    "csrf",
    "digest",
    "id_token",
    "identity_assertion",
    "password",
    "refresh_token",
    "subject_token",
];

/// The story as it is told.
pub(super) struct Transcript {
    pub(super) step: bool,
    steps: usize,
}

impl Transcript {
    pub(super) fn new(step: bool) -> Self {
        Self { step, steps: 0 }
    }

    /// The title of the next step; waits for Enter before it, if that is wanted.
    pub(super) fn title(&mut self, title: &str) {
        if self.step && self.steps > 0 {
            out!("");
            let _ = write!(std::io::stdout(), "{INDENT}(Enter) ");
            let _ = std::io::stdout().flush();
            // At the end of the input there is nobody to wait for.
            let _ = std::io::stdin().lock().read_line(&mut String::new());
        }
        self.steps += 1;
        out!("");
        bold(&format!("{}. {title}", self.steps));
    }
}

/// A request as a line for curl, and the answer; of the members of that only those named, or all.
pub(super) fn shown(exchange: &Exchange, members: &[&str]) {
    for line in request(exchange).into_iter().chain(answer(exchange, members)) {
        out!("{line}");
    }
}

/// A sentence.
pub(super) fn said(sentence: &str) {
    for line in wrap(sentence, INDENT) {
        out!("{line}");
    }
}

/// A JSON document.
pub(super) fn json(value: &Value) {
    for line in pretty(value) {
        out!("{line}");
    }
}

/// The end of the story.
pub(super) fn boxed(words: &str) {
    let rule = "─".repeat(words.chars().count() + 4);
    out!("");
    bold(&format!("┌{rule}┐"));
    bold(&format!("│  {words}  │"));
    bold(&format!("└{rule}┘"));
}

/// Bold on a terminal, and nowhere else.
fn bold(text: &str) {
    if std::io::stdout().is_terminal() {
        out!("\x1b[1m{text}\x1b[0m");
    } else {
        out!("{text}");
    }
}

fn request(exchange: &Exchange) -> Vec<String> {
    let mut words = vec!["$ curl -s".to_owned(), quoted(exchange.url.as_str())];
    let mut is_json = false;
    for (name, value) in &exchange.headers {
        match *name {
            "authorization" => words.push(credential(value)),
            "cookie" => {
                let cookies = value.split("; ").filter_map(|cookie| cookie.split_once('='));
                words.extend(cookies.map(|(name, value)| format!("-b {}", quoted(&format!("{name}={}", cut(value))))));
            }
            "content-type" => {
                is_json = value == "application/json";
                // A form is what curl makes of -d by itself.
                words.extend(is_json.then(|| format!("-H {}", quoted(&format!("content-type: {value}")))));
            }
            name => words.push(format!("-H {}", quoted(&format!("{name}: {value}")))),
        }
    }
    match serde_json::from_str::<Value>(&exchange.sent) {
        Ok(Value::Object(members)) if is_json => {
            let pairs = members.iter().map(|(name, value)| format!("\"{name}\":{}", discreet(name, value)));
            let pairs: Vec<_> = pairs.collect();
            let last = pairs.len() - 1;
            for (n, pair) in pairs.iter().enumerate() {
                let (open, close) = (if n == 0 { "-d '{" } else { "" }, if n == last { "}'" } else { "," });
                words.push(format!("{open}{pair}{close}"));
            }
        }
        _ => {
            for (name, value) in url::form_urlencoded::parse(exchange.sent.as_bytes()) {
                let value = if SECRET.contains(&&*name) { cut(&value) } else { clip(&value, VALUE) };
                let flag = if value.contains([' ', '&', '+', '%']) { "--data-urlencode" } else { "-d" };
                words.push(format!("{flag} {}", quoted(&format!("{name}={value}"))));
            }
            if exchange.method == Method::Post && exchange.sent.is_empty() {
                words.push("-X POST".to_owned());
            }
        }
    }
    continued(&words)
}

/// The words of a command, over as many lines as it takes.
fn continued(words: &[String]) -> Vec<String> {
    let mut lines = vec![format!("{INDENT}{}", words[0])];
    for word in &words[1..] {
        let line = lines.last_mut().expect("there is a first line");
        // A part of a quoted text goes on without a backslash, and nothing stands between it and what is before.
        let (joint, end) = if line.ends_with(',') { ("", "") } else { (" ", " \\") };
        if line.chars().count() + joint.len() + word.chars().count() + end.len() <= WIDTH {
            line.push_str(joint);
            line.push_str(word);
        } else {
            line.push_str(end);
            // With room for the backslash.
            lines.push(clip(&format!("{INDENT}    {word}"), WIDTH - 2));
        }
    }
    lines
}

fn credential(header: &str) -> String {
    if let Some(basic) = header.strip_prefix("Basic ") {
        let decoded = STANDARD.decode(basic).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        let (id, secret) = decoded.split_once(':').unwrap_or_default();
        return format!("-u {id}:{}", cut(secret));
    }
    let (scheme, token) = header.split_once(' ').unwrap_or((header, ""));
    format!("-H {}", quoted(&format!("authorization: {scheme} {}", cut(token))))
}

fn answer(exchange: &Exchange, members: &[&str]) -> Vec<String> {
    let answer = &exchange.answer;
    let header = ["www-authenticate", "location"].into_iter().find_map(|name| {
        let value = answer.headers.get(name)?;
        Some(format!(" {name}: {}", located(value)))
    });
    let mut lines = wrap(&format!("→ {}{}", answer.status, header.unwrap_or_default()), INDENT);
    if let Ok(Value::Object(mut body)) = serde_json::from_str(&answer.body) {
        body.retain(|name, _| members.is_empty() || members.contains(&name.as_str()));
        lines.extend(pretty(&Value::Object(body)));
    }
    lines
}

/// An address without what lets somebody in.
fn located(value: &str) -> String {
    let Some((before, query)) = value.split_once('?') else { return value.to_owned() };
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, value)) if SECRET.contains(&name) || name == "state" => format!("{name}={}", cut(value)),
        _ => pair.to_owned(),
    });
    format!("{before}?{}", pairs.collect::<Vec<_>>().join("&"))
}

fn pretty(value: &Value) -> Vec<String> {
    let text = serde_json::to_string_pretty(&shortened(value)).unwrap_or_default();
    text.lines().map(|line| clip(&format!("{INDENT}  {line}"), WIDTH)).collect()
}

/// The same without what lets somebody in, however deep it is.
fn shortened(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let discreet = |(name, value): (&String, &Value)| match value {
                Value::String(text) if SECRET.contains(&name.as_str()) => (name.clone(), cut(text).into()),
                other => (name.clone(), shortened(other)),
            };
            Value::Object(members.iter().map(discreet).collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(shortened).collect()),
        other => other.clone(),
    }
}

fn discreet(name: &str, value: &Value) -> String {
    match value {
        Value::String(text) if SECRET.contains(&name) => format!("\"{}\"", cut(text)),
        other => other.to_string(),
    }
}

/// The first few characters of a secret, and that there were more.
fn cut(secret: &str) -> String {
    let kept = if secret.len() > 24 { 6 } else { 0 };
    format!("{}…", secret.chars().take(kept).collect::<String>())
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:@=,+…".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{word}'") }
}

/// Lines of a text, broken between its words.
fn wrap(text: &str, indent: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) => lines.push(clip(&format!("{indent}  {word}"), WIDTH)),
            None => lines.push(clip(&format!("{indent}{word}"), WIDTH)),
        }
    }
    lines
}

fn clip(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    line.chars().take(width - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_and_break_between_words() {
        let words: Vec<String> = ["$ curl -s", "http://localhost:1/token", "-u a:…"].map(str::to_owned).into();
        assert_eq!(continued(&words), ["   $ curl -s http://localhost:1/token -u a:…"]);
        let long = vec!["$ curl -s".to_owned(), "u".repeat(60), "-d a=b".to_owned(), "x".repeat(40), "y".repeat(200)];
        let lines = continued(&long);
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{lines:#?}");
        assert!(lines[0].ends_with(" -d a=b \\") && lines[1].ends_with(" \\") && lines[2].ends_with('…'), "{lines:#?}");
        assert!(wrap(&"word ".repeat(60), INDENT).iter().all(|line| line.chars().count() <= WIDTH));
    }

    #[test]
    fn what_lets_somebody_in_is_cut_short() {
        let secret = "s3cr3t-s3cr3t-s3cr3t-s3cr3t-s3cr3t";
        assert_eq!(cut(secret), "s3cr3t…");
        assert_eq!(cut("hunter2"), "…", "of a short one nothing is left");
        let basic = format!("Basic {}", STANDARD.encode(format!("agent:{secret}")));
        assert_eq!(credential(&basic), "-u agent:s3cr3t…");
        assert_eq!(credential(&format!("Bearer {secret}")), "-H 'authorization: Bearer s3cr3t…'");
        assert_eq!(
            located(&format!("http://127.0.0.1/cb?code={secret}&state=x")),
            "http://127.0.0.1/cb?code=s3cr3t…&state=…"
        );
        for line in pretty(&serde_json::json!({"access_token": secret, "token_type": "Bearer"})) {
            assert!(!line.contains(secret), "{line}");
        }
    }
}
