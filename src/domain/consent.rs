//! Consent: one decision of a user, for one (service, client), never changed once made.

use serde::{Deserialize, Serialize};

use super::disclosure::ClaimSet;
use super::ids::ClientKey;
use super::refusal::Refusal;
use super::scope::Scope;
use super::time::{Seconds, Timestamp};

/// Seconds a question stays open.
pub const TICKET_LIFETIME: Seconds = Seconds(600);
/// Seconds an agent waits between two requests while a question is open.
pub const POLL_INTERVAL: Seconds = Seconds(5);
/// Most open questions per (user, client).
pub const MAX_OPEN_TICKETS: i64 = 5;
/// How long a client does not ask a user about a service again at which they have just denied it something.
pub const DENIAL_PAUSE: Seconds = Seconds(3600);
/// What "until" may be, from the decision on, with the words for it.
pub const UNTIL_CHOICES: [(Seconds, &str); 3] =
    [(Seconds(3600), "For one hour"), (Seconds(86_400), "For one day"), (Seconds(2_592_000), "For 30 days")];

/// How far a decision goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", content = "until", rename_all = "lowercase")]
pub enum Mode {
    /// One assertion, for the question it was given on.
    Once,
    /// Until a time.
    Until(Timestamp),
    /// Until the user stops it.
    Always,
    /// No.
    Denied,
}

impl Mode {
    /// The stored and published name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Until(_) => "until",
            Self::Always => "always",
            Self::Denied => "denied",
        }
    }

    /// Reads the stored columns. An unknown word denies.
    #[must_use]
    pub fn stored(name: &str, until: Option<Timestamp>) -> Self {
        match (name, until) {
            ("once", _) => Self::Once,
            ("until", Some(at)) => Self::Until(at),
            ("always", _) => Self::Always,
            _ => Self::Denied,
        }
    }

    /// Reads what the form of the consent page posts: `once`, `until:SECONDS` (one of [`UNTIL_CHOICES`]) or `always`.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] for anything else.
    pub fn posted(text: &str, now: Timestamp) -> Result<Self, Refusal> {
        match text {
            "once" => Ok(Self::Once),
            "always" => Ok(Self::Always),
            _ => text
                .strip_prefix("until:")
                .and_then(|seconds| UNTIL_CHOICES.iter().find(|(s, _)| s.to_string() == seconds))
                .map(|(seconds, _)| Self::Until(now + *seconds))
                .ok_or(Refusal::Malformed("mode", "must be once, always or one of the offered durations")),
        }
    }
}

/// A decision that stands.
#[derive(Clone, Debug)]
pub struct Consent {
    /// Names it.
    pub id: String,
    /// The record it belongs to; a denial has none.
    pub delegation_id: Option<String>,
    /// The client it was given to.
    pub client_key: ClientKey,
    /// How far it goes.
    pub mode: Mode,
    /// What was asked for.
    pub asked_scope: Scope,
    /// What was given of it.
    pub scope: Scope,
    /// The resources it was asked and given for.
    pub resources: Vec<String>,
    /// What of the user it was shown that the service would learn.
    pub claims: ClaimSet,
    /// What it was shown of a service that says by itself what it is.
    pub shown: Option<String>,
    /// The request it answers.
    pub request_key: String,
    /// Its place among all decisions of its user: the order in which they were made, which no clock knows.
    pub number: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// What a request needs a consent for.
#[derive(Clone, Copy, Debug)]
pub struct ConsentQuery<'a> {
    /// The question this request would ask; see [`super::exchange::Request::key`].
    pub request_key: &'a str,
    /// What was asked for; `None` when the request had no `scope`.
    pub scope: Option<&'a Scope>,
    /// Sorted.
    pub resources: &'a [String],
    /// What of the user would leave.
    pub claims: ClaimSet,
    /// What the user would be shown of the service now; `None` where an operator answers for it.
    pub shown: Option<&'a str>,
}

impl Consent {
    /// Whether it covers a query. A `once` covers only the question it was given on; a denial only what it denied, whatever
    /// session or chat asks again; the others anything within what the user was shown. Nothing covers a claim that was not shown, nor a
    /// service that was shown otherwise.
    #[must_use]
    pub fn covers(&self, query: ConsentQuery<'_>, now: Timestamp) -> bool {
        if self.ended_at.is_some() {
            return false;
        }
        let within =
            query.scope.is_none_or(|s| s.within(&self.asked_scope) && (s.is_empty() || !s.and(&self.scope).is_empty()))
                && query.resources.iter().all(|r| self.resources.contains(r));
        let shown = query.claims.within(self.claims) && query.shown.is_none_or(|s| self.shown.as_deref() == Some(s));
        match self.mode {
            Mode::Once => self.request_key == query.request_key && shown,
            Mode::Until(at) => at > now && within && shown,
            Mode::Always => within && shown,
            Mode::Denied => {
                query.scope.map_or_else(|| self.asked_scope.is_empty(), |s| *s == self.asked_scope)
                    && query.resources == self.resources
            }
        }
    }
}

/// The decision that stands for a query: the user's last word if that was no; else a consent, a standing one before a `once`.
#[must_use]
pub fn applicable_consent<'a>(
    consents: &(impl Iterator<Item = &'a Consent> + Clone),
    query: ConsentQuery<'_>,
    now: Timestamp,
) -> Option<&'a Consent> {
    let covering = || consents.clone().filter(move |c| c.covers(query, now));
    let denial = covering().filter(|c| c.mode == Mode::Denied).max_by_key(|c| c.number);
    let later = |c: &Consent| denial.is_none_or(|d| c.number > d.number);
    let given = covering().filter(|c| c.mode != Mode::Denied && later(c)).max_by_key(|c| match c.mode {
        Mode::Always => (2, Timestamp::MAX),
        Mode::Until(at) => (1, at),
        Mode::Once | Mode::Denied => (0, Timestamp::EPOCH),
    });
    given.or(denial)
}

/// How long after a denial that stands its client has to leave the user alone about that service.
#[must_use]
pub fn denied_lately(consents: &[Consent], now: Timestamp) -> Option<Seconds> {
    let denials = consents.iter().filter(|c| c.mode == Mode::Denied && c.ended_at.is_none());
    let left = denials.map(|denial| denial.created_at + DENIAL_PAUSE - now).max()?;
    // A clock that was set back makes no denial last longer.
    (left > Seconds(0)).then(|| left.min(DENIAL_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consent(id: &str, mode: Mode, asked: &str, given: &str) -> Consent {
        Consent {
            id: id.into(),
            delegation_id: None,
            client_key: "c".into(),
            mode,
            asked_scope: Scope::stored(asked),
            scope: Scope::stored(given),
            resources: vec!["https://r.example/".into()],
            claims: ClaimSet::stored("email"),
            shown: None,
            request_key: "key".into(),
            number: id.parse().unwrap(),
            created_at: Timestamp(100 - id.parse::<i64>().unwrap()),
            last_used_at: None,
            ended_at: None,
        }
    }

    type Case<'a> = (&'a str, Mode, &'a str, &'a str, Option<&'a str>, &'a [String], bool);

    #[test]
    fn how_long_a_denial_keeps_its_client_away() {
        let denied = [consent("1", Mode::Denied, "api.read", "")];
        for (now, left) in [(99, Some(3600)), (3698, Some(1)), (3699, None), (-7101, Some(3600))] {
            assert_eq!(denied_lately(&denied, Timestamp(now)), left.map(Seconds), "at {now}");
        }
        let mut over = denied;
        over[0].ended_at = Some(Timestamp(99));
        assert_eq!(denied_lately(&over, Timestamp(99)), None, "the user lets it ask again");
        assert_eq!(denied_lately(&[consent("1", Mode::Always, "api.read", "api.read")], Timestamp(99)), None);
    }

    #[test]
    fn what_covers_what() {
        let r = vec!["https://r.example/".to_owned()];
        let other = vec!["https://s.example/".to_owned()];
        let cases: &[Case<'_>] = &[
            ("once for its question", Mode::Once, "a", "key", Some("a"), &r, true),
            ("once for another question", Mode::Once, "a", "other", Some("a"), &r, false),
            ("always, less", Mode::Always, "a b", "other", Some("a"), &r, true),
            ("always, more", Mode::Always, "a", "other", Some("a b"), &r, false),
            ("always, no scope asked", Mode::Always, "a", "other", None, &r, true),
            ("always, another resource", Mode::Always, "a", "other", Some("a"), &other, false),
            ("until, before", Mode::Until(Timestamp(101)), "a", "other", Some("a"), &r, true),
            ("until, at the second", Mode::Until(Timestamp(100)), "a", "other", Some("a"), &r, false),
            ("denied, the same again", Mode::Denied, "a", "other", Some("a"), &r, true),
            ("denied, something else", Mode::Denied, "a b", "other", Some("a"), &r, false),
        ];
        for (name, mode, asked, key, scope, resources, expected) in cases {
            let scope = scope.map(Scope::stored);
            let query = ConsentQuery {
                request_key: key,
                scope: scope.as_ref(),
                resources,
                claims: ClaimSet::default(),
                shown: None,
            };
            assert_eq!(consent("1", *mode, asked, asked).covers(query, Timestamp(100)), *expected, "{name}");
        }
    }

    #[test]
    fn no_consent_covers_a_claim_that_was_not_shown() {
        for mode in [Mode::Once, Mode::Until(Timestamp(200)), Mode::Always] {
            let consent = consent("1", mode, "a", "a");
            for (claims, covered) in [("", true), ("email", true), ("email name", false)] {
                let claims = ClaimSet::stored(claims);
                let query = ConsentQuery { request_key: "key", scope: None, resources: &[], claims, shown: None };
                assert_eq!(consent.covers(query, Timestamp(100)), covered, "{mode:?} {claims}");
            }
        }
    }

    #[test]
    fn no_consent_covers_a_service_that_was_shown_otherwise() {
        let (v01, plain) = (Some("auth.md v0.1"), Some("none"));
        for (was, is, covered) in
            [(v01, v01, true), (v01, plain, false), (None, v01, false), (v01, None, true), (None, None, true)]
        {
            for mode in [Mode::Once, Mode::Until(Timestamp(200)), Mode::Always] {
                let consent = Consent { shown: was.map(str::to_owned), ..consent("1", mode, "a", "a") };
                let query = ConsentQuery {
                    request_key: "key",
                    scope: None,
                    resources: &[],
                    claims: ClaimSet::default(),
                    shown: is,
                };
                assert_eq!(consent.covers(query, Timestamp(100)), covered, "{mode:?}: {was:?}, now {is:?}");
            }
        }
    }

    #[test]
    fn a_narrowed_consent_answers_the_same_request_with_less() {
        let narrowed = consent("1", Mode::Always, "a b", "a");
        let (ab, b) = (Scope::stored("a b"), Scope::stored("b"));
        let query = |s| ConsentQuery {
            request_key: "x",
            scope: Some(s),
            resources: &[],
            claims: ClaimSet::default(),
            shown: None,
        };
        assert!(narrowed.covers(query(&ab), Timestamp(0)));
        assert!(!narrowed.covers(query(&b), Timestamp(0)), "nothing of it was given");
    }

    #[test]
    fn the_last_word_counts_and_a_once_is_kept() {
        let scope = Scope::stored("a");
        let query = ConsentQuery {
            request_key: "key",
            scope: Some(&scope),
            resources: &["https://r.example/".to_owned()],
            claims: ClaimSet::default(),
            shown: None,
        };
        let once = consent("1", Mode::Once, "a", "a");
        let always = consent("2", Mode::Always, "a", "a");
        let no = consent("3", Mode::Denied, "a", "a");
        let later = consent("4", Mode::Until(Timestamp(200)), "a", "a");
        let pick = |all: &[Consent]| applicable_consent(&all.iter(), query, Timestamp(100)).map(|c| c.id.clone());
        assert_eq!(pick(&[once.clone(), always.clone()]), Some("2".into()));
        assert_eq!(pick(&[once.clone(), always.clone(), no.clone()]), Some("3".into()));
        assert_eq!(pick(&[once, always, no, later]), Some("4".into()));
        assert_eq!(pick(&[]), None);
    }
}
