//! What an answer means, and whether it is the right one. Pure.

use serde_json::Value;

use super::found::Verdict;
use super::talk::{Reply, Silence};
use crate::lab::flaws::{Answer, Class, Dialect, Flaw, Kind, Level};

/// What a service says to something that was presented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::lab) enum Heard {
    /// Yes.
    Taken,
    /// No.
    Refused {
        /// The status.
        status: u16,
        /// What kind of error.
        code: Option<String>,
        /// In words.
        why: Option<String>,
    },
    /// It believes it, and wants the user to confirm that the account is theirs.
    Asks,
    /// It does not work at the moment: 5xx.
    Failing {
        /// The status.
        status: u16,
        /// What kind of error.
        code: Option<String>,
    },
    /// Nothing that says anything.
    Nothing(String),
    /// Nothing at all for as long as one waits.
    Late,
}

/// What is listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::lab) enum At {
    /// Where credentials are given out.
    Door,
    /// Where notices are taken.
    Notices,
    /// The API.
    Api,
}

/// Understands an answer.
#[must_use]
pub(in crate::lab) fn hear(at: At, reply: &Result<Reply, Silence>) -> Heard {
    let reply = match reply {
        Ok(reply) => reply,
        Err(Silence::TimedOut) => return Heard::Late,
        Err(Silence::Failed(why)) => return Heard::Nothing(why.clone()),
    };
    let (status, code) = (reply.status, reply.code());
    if code.as_deref() == Some("interaction_required") {
        return Heard::Asks;
    }
    match status {
        200..=299 if code.is_some() && at != At::Api => Heard::Nothing(format!("{status} with an error in it")),
        200..=299 => match at {
            At::Notices | At::Api => Heard::Taken,
            At::Door if credential(&reply.json).is_some() || own_assertion(&reply.json).is_some() => Heard::Taken,
            At::Door if ["claim_token", "claim"].iter().any(|name| reply.json.get(name).is_some()) => Heard::Asks,
            At::Door => Heard::Nothing(format!("{status} with nothing in it that a credential could be")),
        },
        300..=399 => Heard::Nothing(format!("a redirect ({status}), which is no answer to a POST")),
        500..=599 => Heard::Failing { status, code },
        _ => {
            let words = ["error_description", "message", "description"];
            let why = words.iter().find_map(|name| reply.json.get(name)?.as_str()).map(str::to_owned);
            Heard::Refused { status, code, why }
        }
    }
}

/// What lets its bearer in.
#[must_use]
pub(in crate::lab) fn credential(json: &Value) -> Option<String> {
    let names = ["credential", "access_token", "api_key"];
    names.iter().find_map(|name| json.get(name)?.as_str()).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The service's own assertion, which gets credentials at its token endpoint.
#[must_use]
pub(in crate::lab) fn own_assertion(json: &Value) -> Option<String> {
    let nested = || json.get("identity")?.get("assertion")?.as_str();
    json.get("identity_assertion").and_then(Value::as_str).or_else(nested).map(str::to_owned)
}

/// Whether an answer to a flaw is the right one, and why.
#[must_use]
pub(in crate::lab) fn judge(flaw: &Flaw, dialect: Dialect, heard: &Heard) -> (Verdict, String) {
    let short = |why: String| (if flaw.level == Level::Must { Verdict::Fail } else { Verdict::Warning }, why);
    let answer = flaw.answer(dialect);
    let of_a_document = matches!(flaw.kind, Kind::Cimd | Kind::Jwks) && flaw.touches.contains(&"response");
    match (heard, answer) {
        (Heard::Nothing(why), _) => (Verdict::CouldNotRun, why.clone()),
        (Heard::Late, Answer::Refuse { .. }) if of_a_document => {
            short("it waits for the document for longer than 20 s".into())
        }
        (Heard::Late, _) => (Verdict::CouldNotRun, "no answer within 20 s".into()),
        (Heard::Failing { status, code }, Answer::Refuse { status: expected, codes })
            if expected >= 500
                || of_a_document && *status != 500
                || code.as_deref().is_some_and(|code| codes.contains(&code)) =>
        {
            (Verdict::Pass, format!("it says that it cannot decide ({status})"))
        }
        (Heard::Failing { status, .. }, _) => {
            (Verdict::CouldNotRun, format!("it answers {status}, which says nothing"))
        }
        (heard, Answer::Open) => (Verdict::Pass, format!("left to the service, which {}", heard.in_words())),
        (Heard::Taken, Answer::Accept { .. }) => (Verdict::Pass, "it is taken, as it should be".into()),
        (Heard::Taken, Answer::Refuse { .. }) => short("it is taken".into()),
        (Heard::Asks, Answer::Accept { .. }) => {
            (Verdict::Pass, "it is believed: the user is to confirm the account".into())
        }
        (Heard::Asks, Answer::Refuse { .. }) if flaw.class == Class::Interaction => {
            (Verdict::Pass, "the user is to confirm first that the account is theirs".into())
        }
        (Heard::Asks, Answer::Refuse { .. }) => {
            short("it is believed: the user is asked to confirm the account".into())
        }
        (Heard::Refused { .. }, Answer::Accept { .. }) => short(format!("it is refused: {}", heard.in_words())),
        (Heard::Refused { code, .. }, Answer::Refuse { codes, .. }) => {
            let usual = code.as_deref().is_some_and(|code| codes.contains(&code));
            let note = if usual || codes.is_empty() { String::new() } else { format!("; {} is usual", codes[0]) };
            (Verdict::Pass, format!("{}{note}", heard.in_words()))
        }
    }
}

impl Heard {
    /// As the end of a sentence that begins with the service.
    #[must_use]
    pub(in crate::lab) fn in_words(&self) -> String {
        match self {
            Self::Taken => "takes it".into(),
            Self::Asks => "asks the user to confirm the account".into(),
            Self::Refused { status, code, .. } => match code {
                Some(code) => format!("refused with {status} {code}"),
                None => format!("refused with {status} and no code"),
            },
            Self::Failing { status, .. } => format!("fails with {status}"),
            Self::Nothing(why) => why.clone(),
            Self::Late => "does not answer".into(),
        }
    }
}
