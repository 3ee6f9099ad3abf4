//! Every check there is: one for each flaw, and those of what really happens.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use crate::domain::spelling::probable;
use crate::lab::flaws::{self, Answer, Class, Dialect, Flaw, Kind, Level, Section, Spec};

use super::report::link::link;
use super::report::matters::{matters, matters_of_effect};
use super::report::{Checked, Group, Verdict};

/// A check.
#[derive(Clone, Copy, Debug)]
pub enum Check {
    /// Something with a flaw is sent.
    Flaw(&'static Flaw),
    /// Something is looked at.
    Effect(&'static Effect),
}

/// A check that sends nothing bad.
#[derive(Debug)]
pub struct Effect {
    /// Its name for good, in kebab case.
    pub name: &'static str,
    /// What it belongs to.
    pub group: Group,
    /// What is looked for, in a sentence.
    pub meaning: &'static str,
    /// The rule.
    pub section: Section,
    /// How binding that is.
    pub level: Level,
    /// The flaws of the sandbox that it shows, by name.
    pub counterparts: &'static [&'static str],
}

macro_rules! effects {
    ($($constant:ident $name:literal $group:ident $meaning:literal $spec:ident $at:literal, $level:ident
        [$($counterpart:literal)*];)*) => {
        $(pub(super) static $constant: Effect = Effect {
            name: $name,
            group: Group::$group,
            meaning: $meaning,
            section: Section { spec: Spec::$spec, at: $at },
            level: Level::$level,
            counterparts: &[$($counterpart),*],
        };)*
        static EFFECTS: &[&Effect] = &[$(&$constant),*];
    };
}

effects! {
    PROVES_ITSELF "metadata-name-their-issuer" Metadata
        "A metadata document is where it has to be and says whose it is."
        Rfc8414 "3.3", Must [];
    SAYS_WHERE "metadata-say-where-assertions-go" Metadata
        "The metadata say where an assertion goes."
        Rfc8414 "2", Should [];
    SAYS_ID_JAG "metadata-say-that-id-jags-are-taken" Metadata
        "The metadata say that ID-JAGs are taken."
        IdJag "7.2", Should [];
    SAYS_NOTICES "metadata-say-where-notices-go" Metadata
        "The metadata say where the service is told of withdrawals."
        AuthMd "Discovery", Should [];
    CHALLENGE "challenge-names-the-metadata" Metadata
        "Whoever comes to the API without a credential is told where to begin."
        Rfc9728 "5.1", Should [];
    NO_STORE "credentials-are-not-stored" Effects
        "The answer with an access token says that nobody may keep it."
        Rfc6749 "5.1", Must [];
    NO_REFRESH "no-refresh-token" Effects
        "No refresh token comes for an assertion: what the issuer takes back would live on by it."
        IdJag "4.4.3", Should [];
    NO_MORE "grants-no-more-than-was-asked" Effects
        "The scope that is granted is within the scope that the assertion asks for."
        IdJag "4.4.1", Should [];
    ONCE "one-assertion-one-credential" Effects
        "Of one assertion that comes four times at once, one is answered with a credential."
        AuthMd "Replay protection", Must ["no-jti-memory"];
    ANSWERS "a-bad-request-is-answered" Effects
        "A request that cannot be read is refused with a 4xx."
        Rfc9110 "15.5", Should [];
    NO_CREDENTIAL "a-refusal-gives-no-credential" Effects
        "No refusal holds a credential."
        Rfc6749 "5.2", Must [];
    FEW_FETCHES "does-not-fetch-for-each-assertion" Effects
        "The issuer's key set is kept for a while and not fetched for each assertion."
        AuthMd "JWKS fetching", Should ["refetch-on-every-request"];
    REFETCHES "refetches-for-an-unknown-key" Effects
        "For an assertion by a key that the service has not seen it fetches the issuer's key set again."
        AuthMd "JWKS fetching", Must ["never-refetch-jwks" "ignore-kid"];
    SURVIVES "consents-survive-a-new-key" Effects
        "A credential lives on when the issuer has another key."
        Cimd "8.2", Policy ["drop-consents-when-keys-change"];
    ENDS "revocation-ends-the-credential" Effects
        "A notice of withdrawal ends the user's credential."
        AuthMd "Revocation", Must ["ignore-revocation"];
    SPARES "revocation-spares-other-users" Effects
        "A notice about one user leaves another user's credential alone."
        AuthMd "Revocation", Must ["revoke-every-user"];
}

/// All of them, in the order of a report.
#[must_use]
pub fn all() -> &'static [Check] {
    static ALL: LazyLock<Vec<Check>> = LazyLock::new(|| {
        let flaws = flaws::all().iter().copied().filter(|flaw| flaw.kind != Kind::Sandbox).map(Check::Flaw);
        let mut all: Vec<Check> = EFFECTS.iter().copied().map(Check::Effect).chain(flaws).collect();
        all.sort_by_cached_key(|check| (check.group(), check.id()));
        all
    });
    &ALL
}

impl Check {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Flaw(flaw) => flaw.name,
            Self::Effect(effect) => effect.name,
        }
    }

    /// Its id: the section, then its name, as h2spec has it.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::Flaw(flaw) => flaw.check(),
            Self::Effect(effect) => effect.section.check(effect.name),
        }
    }

    /// What is done or looked for.
    #[must_use]
    pub fn meaning(&self) -> &'static str {
        match self {
            Self::Flaw(flaw) => flaw.meaning,
            Self::Effect(effect) => effect.meaning,
        }
    }

    /// Where the rule stands.
    #[must_use]
    pub fn section(&self) -> Section {
        match self {
            Self::Flaw(flaw) => flaw.section,
            Self::Effect(effect) => effect.section,
        }
    }

    /// How binding it is.
    #[must_use]
    pub fn level(&self) -> Level {
        match self {
            Self::Flaw(flaw) => flaw.level,
            Self::Effect(effect) => effect.level,
        }
    }

    /// The flaws of the sandbox that it shows, by name.
    #[must_use]
    pub fn counterparts(&self) -> &'static [&'static str] {
        match self {
            Self::Flaw(flaw) => flaw.counterparts,
            Self::Effect(effect) => effect.counterparts,
        }
    }

    /// What it belongs to.
    #[must_use]
    pub fn group(&self) -> Group {
        match self {
            Self::Flaw(flaw) => group(flaw),
            Self::Effect(effect) => effect.group,
        }
    }

    /// What is expected, in words.
    #[must_use]
    pub fn expected(&self, dialect: Option<Dialect>) -> String {
        match (self, dialect) {
            (Self::Flaw(flaw), Some(dialect)) => in_words(flaw.answer(dialect)),
            (Self::Flaw(_), None) => "it is refused".into(),
            (Self::Effect(effect), _) => effect.meaning.to_owned(),
        }
    }

    /// What somebody could do where it is not kept.
    #[must_use]
    pub fn matters(&self) -> &'static str {
        match self {
            Self::Flaw(flaw) => matters(flaw),
            Self::Effect(effect) => matters_of_effect(effect.name).unwrap_or_default(),
        }
    }

    /// It, with what came of it.
    #[must_use]
    pub fn checked(&self, dialect: Option<Dialect>, verdict: Verdict, reason: impl Into<String>) -> Checked {
        Checked {
            id: self.id(),
            name: self.name().to_owned(),
            group: self.group(),
            meaning: self.meaning().to_owned(),
            section: self.section().to_string(),
            link: link(self.section()),
            level: self.level().as_str().to_owned(),
            matters: self.matters().to_owned(),
            expected: self.expected(dialect),
            verdict,
            reason: reason.into(),
            evidence: Vec::new(),
        }
    }
}

fn in_words(answer: Answer) -> String {
    match answer {
        Answer::Refuse { status, codes: [first, others @ ..] } => {
            let codes = std::iter::once(first).chain(others).copied().collect::<Vec<_>>().join(" or ");
            format!("it is refused, as by {status} {codes}")
        }
        Answer::Refuse { status, codes: [] } => format!("it is refused, as by {status}"),
        Answer::Accept { status } => format!("it is taken, as by {status}"),
        Answer::Open => "the service decides".into(),
    }
}

fn group(flaw: &Flaw) -> Group {
    let touches = |names: &[&str]| flaw.touches.iter().any(|touched| names.contains(touched));
    match (flaw.kind, flaw.class) {
        (Kind::Notice, _) => Group::Notices,
        (Kind::Jwks, _) => Group::KeySet,
        (Kind::Cimd, _) => Group::Client,
        (_, Class::Signature) => Group::Signature,
        (_, Class::Issuer | Class::Audience | Class::Client | Class::ClientAuthentication) => Group::Parties,
        (_, Class::Expiry | Class::Replay) => Group::Times,
        (_, Class::Contact | Class::Authentication | Class::Interaction | Class::Access) => Group::Person,
        (_, Class::Possession) => Group::Possession,
        (_, Class::Target | Class::Scope) => Group::Target,
        _ if touches(&["claims.exp", "claims.iat", "claims.nbf", "claims.jti"]) => Group::Times,
        _ if touches(&[
            "claims.sub",
            "claims.sub_id",
            "claims.email",
            "claims.phone_number",
            "claims.name",
            "claims.amr",
        ]) =>
        {
            Group::Person
        }
        _ if touches(&["claims.authorization_details"]) => Group::Target,
        _ => Group::Form,
    }
}

/// Which checks are wanted.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// By name; no two checks have the same.
    unwanted: BTreeSet<&'static str>,
}

impl Selection {
    /// By ids, by their beginnings (`rfc7515`, `rfc7515/5.2`), or by names.
    ///
    /// # Errors
    /// The one that names no check, and what was perhaps meant.
    pub fn new(only: &[String], skip: &[String]) -> Result<Self, String> {
        let all = all();
        for wanted in only.iter().chain(skip) {
            if !all.iter().any(|check| names(wanted, check)) {
                let ids: Vec<String> = all.iter().map(Check::id).collect();
                let known = ids.iter().map(String::as_str).chain(all.iter().map(|check| -> &str { check.name() }));
                let hint = probable(wanted, known).map(|near| format!("; {near} was perhaps meant"));
                return Err(format!("there is no check {wanted}{}", hint.unwrap_or_default()));
            }
        }
        let named = |list: &[String], check: &Check| list.iter().any(|wanted| names(wanted, check));
        let is_wanted = |check: &&Check| (only.is_empty() || named(only, check)) && !named(skip, check);
        Ok(Self { unwanted: all.iter().filter(|check| !is_wanted(check)).map(Check::name).collect() })
    }

    /// Whether a check is among them.
    #[must_use]
    pub fn has(&self, check: &Check) -> bool {
        !self.unwanted.contains(check.name())
    }
}

fn names(wanted: &str, check: &Check) -> bool {
    let id = check.id();
    let begins = id.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    begins || wanted == check.name()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_an_id_and_a_name_of_its_own() {
        let ids: BTreeSet<String> = all().iter().map(Check::id).collect();
        let names: BTreeSet<&str> = all().iter().map(Check::name).collect();
        assert_eq!((ids.len(), names.len()), (all().len(), all().len()));
    }

    #[test]
    fn wanted_by_id_by_its_beginning_and_by_name() {
        let find = |name: &str| *all().iter().find(|check| check.name() == name).unwrap();
        let stranger = find("signed-by-a-stranger");
        for wanted in ["rfc7515", "rfc7515/5.2", "rfc7515/5.2/signed-by-a-stranger", "signed-by-a-stranger"] {
            let only = Selection::new(&[wanted.into()], &[]).unwrap();
            assert!(only.has(&stranger) && !only.has(&find("alg-none")), "{wanted}");
            let skip = Selection::new(&[], &[wanted.into()]).unwrap();
            assert!(!skip.has(&stranger) && skip.has(&find("alg-none")), "{wanted}");
        }
        let wrong = Selection::new(&["signed-by-a-strangr".into()], &[]).unwrap_err();
        assert!(wrong.contains("signed-by-a-stranger was perhaps meant"), "{wrong}");
        assert!(Selection::new(&["rfc75".into()], &[]).is_err());
    }
}
