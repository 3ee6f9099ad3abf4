//! What a flaw is: one rule broken, in one place, and the answer that it should get.

use serde::{Serialize, Serializer};

use super::answer::{Answer, Dialect, Kind, Level, Sight};
use super::class::Class;
use super::document::Document;
use super::draft::{Cast, Draft};
use super::section::Section;

/// What is done to a good one.
#[derive(Clone, Copy)]
pub enum Mutation {
    /// To a token, or to how it is presented.
    Token(fn(&mut Draft, &Cast)),
    /// To a document that an issuer or client serves.
    Document(fn(&mut Document, &Cast)),
    /// None: a service that does not keep a rule.
    Service,
}

/// One deliberate flaw.
#[derive(Clone, Copy)]
pub struct Flaw {
    /// What has it.
    pub kind: Kind,
    /// Its name for good, in kebab case.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub meaning: &'static str,
    /// The rule that whoever takes it breaks.
    pub section: Section,
    /// How binding that rule is.
    pub level: Level,
    /// What kind of refusal it should get.
    pub class: Class,
    /// What of a good one it touches, and nothing else: `header.…`, `claims.…`, `key`, `signature`, `token`, `request`; `members.…`, `keys`,
    /// `response` of a document.
    pub touches: &'static [&'static str],
    /// Who can see it.
    pub sight: Sight,
    /// The flaws of the sandbox that let it pass, by name; any of them does.
    pub counterparts: &'static [&'static str],
    /// Where a dialect answers otherwise than its class says.
    pub exceptions: &'static [(Dialect, Answer)],
    /// What makes it.
    pub mutation: Mutation,
}

impl Flaw {
    /// One of the sandbox: a rule that it does not keep. `class` is that of the refusals it then leaves out.
    #[must_use]
    pub const fn of_sandbox(
        name: &'static str,
        meaning: &'static str,
        section: Section,
        level: Level,
        class: Class,
    ) -> Self {
        Self {
            kind: Kind::Sandbox,
            name,
            meaning,
            section,
            level,
            class,
            touches: &[],
            sight: Sight::Service,
            counterparts: &[],
            exceptions: &[],
            mutation: Mutation::Service,
        }
    }

    /// What a service of a dialect should say.
    #[must_use]
    pub fn answer(&self, dialect: Dialect) -> Answer {
        let exception = self.exceptions.iter().find(|(of, _)| *of == dialect);
        exception.map_or_else(|| self.class.answer(self.kind, dialect), |(_, answer)| *answer)
    }

    /// The check of the probe that sends it.
    #[must_use]
    pub fn check(&self) -> String {
        self.section.check(self.name)
    }

    /// A good token with this flaw and no other; nothing where it is none of a token.
    #[must_use]
    pub fn apply(&self, good: &Draft, cast: &Cast) -> Option<Draft> {
        let Mutation::Token(mutate) = self.mutation else { return None };
        let mut draft = good.clone();
        mutate(&mut draft, cast);
        Some(draft)
    }

    /// A good document with this flaw and no other; nothing where it is none of a document.
    #[must_use]
    pub fn spoil(&self, good: &Document, cast: &Cast) -> Option<Document> {
        let Mutation::Document(mutate) = self.mutation else { return None };
        let mut document = good.clone();
        mutate(&mut document, cast);
        Some(document)
    }
}

/// As `avouch flaws --json` and `GET /harness/flaws` show it.
impl Serialize for Flaw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            kind: Kind,
            name: &'a str,
            meaning: &'a str,
            section: String,
            level: Level,
            class: Class,
            touches: &'a [&'a str],
            seen_by: Sight,
            answers: std::collections::BTreeMap<&'a str, Answer>,
            check: String,
            sandbox_flaws: &'a [&'a str],
        }
        let shown = Shown {
            kind: self.kind,
            name: self.name,
            meaning: self.meaning,
            section: self.section.to_string(),
            level: self.level,
            class: self.class,
            touches: self.touches,
            seen_by: self.sight,
            answers: Dialect::ALL.map(|dialect| (dialect.as_str(), self.answer(dialect))).into(),
            check: self.check(),
            sandbox_flaws: self.counterparts,
        };
        shown.serialize(serializer)
    }
}

impl std::fmt::Debug for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.name)
    }
}
