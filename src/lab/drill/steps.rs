//! Every step of each drill, in order.

use std::time::Duration;

use super::report::{self, Kind, Schedule};
use crate::lab::examine::found::Verdict;
use crate::lab::flaws::{self, Flaw, Level, Section, Spec};

/// A step.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Its name for good, in kebab case; that of the flaw where one is published.
    pub name: &'static str,
    /// What is done or looked for, in a sentence.
    pub meaning: &'static str,
    /// The rule.
    pub section: Section,
    /// How binding that is.
    pub level: Level,
    /// The flaws of the sandbox that it shows, by name.
    pub counterparts: &'static [&'static str],
    /// What has to be waited for.
    pub waits: Waits,
    /// What is wrong with the key set in it.
    pub flaw: Option<&'static Flaw>,
}

/// What has to be waited for before a step can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Nothing.
    No,
    /// The service fetches a key set again only once in a while.
    Fetch,
    /// Its copy of the key set becomes too old.
    Cache,
    /// Its copy of a client's document becomes too old.
    Document,
}

macro_rules! steps {
    ($($constant:ident $name:literal $meaning:literal $spec:ident $at:literal, $level:ident $waits:ident [$($counterpart:literal)*];)*) => {
        $(pub(super) const $constant: Step = Step {
            name: $name,
            meaning: $meaning,
            section: Section { spec: Spec::$spec, at: $at },
            level: Level::$level,
            counterparts: &[$($counterpart),*],
            waits: Waits::$waits,
            flaw: None,
        };)*
    };
}

steps! {
    CONTROL "good-assertion-is-taken"
        "A good assertion by the key that the issuer has published for a while is taken."
        AuthMd "Verifying ID-JAGs", Must No [];
    NEW_KEY "new-key-is-fetched-and-taken"
        "For an assertion by a key that was published this moment the service fetches the key set again, and takes it."
        AuthMd "JWKS fetching", Must No ["never-refetch-jwks" "ignore-kid"];
    OVERLAP "both-keys-are-taken-in-the-overlap"
        "While both are published, assertions by the old key and by the new one are taken."
        AuthMd "JWKS fetching", Must No [];
    SURVIVES "consents-survive-a-new-key"
        "A credential of before lives on when the issuer has another key."
        Cimd "8.2", Policy No ["drop-consents-when-keys-change"];
    NOTICE_OF_BEFORE "notice-of-before-counts"
        "A notice of withdrawal that was signed before the rotation and delivered after it ends the user's credential."
        AuthMd "Revocation", Must No ["ignore-revocation"];
    SELDOM "key-set-is-kept"
        "The key set is kept for a while and not fetched for each assertion."
        AuthMd "JWKS fetching", Should No ["refetch-on-every-request"];
    RESTS "unknown-keys-are-no-reason-to-fetch-each-time"
        "Assertions by keys that nobody published, one after the other, make the service fetch the key set once at most."
        AuthMd "JWKS fetching", Should No ["refetch-on-every-request"];
    REMOVED "removed-key-is-refused"
        "Once the service has seen a key set without the old key, it takes nothing more by that."
        Rfc7517 "4.5", Must Fetch [];
    CACHED "removed-key-ends-by-itself"
        "A key that is removed is taken no longer than the service's copy of the key set lives, though no other key comes."
        AuthMd "JWKS fetching", Should Cache [];
    UNCHANGED "unchanged-key-set-is-no-failure"
        "Where the service asks whether the key set has changed and hears that it has not (304), its copy stays good."
        Rfc9110 "15.4.5", Must Fetch [];
    DOCUMENT "cimd-with-changed-keys"
        "The document that names the client leads to its keys by another address; what users agreed to stands."
        Cimd "8.2", Policy Document [];
    LAST "good-assertion-is-taken-at-the-end"
        "After all that a good assertion is taken."
        AuthMd "Verifying ID-JAGs", Must No [];
    REVOKED "revoked-key-is-refused"
        "Once the service has seen a key set without the revoked key, it takes nothing more by that."
        Rfc7517 "4.5", Must No ["never-refetch-jwks"];
    NOTICE_BY_NEW "notice-by-the-new-key-counts"
        "A notice of withdrawal by the new key ends a credential that an assertion by the revoked one gave."
        AuthMd "Revocation", Must No ["ignore-revocation"];
    NOTICE_BY_REVOKED "notice-by-the-revoked-key-is-refused"
        "A notice by the revoked key ends nothing: whoever has that key could end everybody's."
        AuthMd "Revocation", Must No [];
}

/// What is looked for at an issuer at work, where services are sent nothing.
pub const FETCHED_AHEAD: Step = Step {
    name: "new-key-is-fetched-before-it-signs",
    meaning: "The service fetches the new key while it is published and does not sign yet, so that no assertion waits for a fetch.",
    section: Section { spec: Spec::AuthMd, at: "JWKS fetching" },
    level: Level::Should,
    counterparts: &[],
    waits: Waits::No,
    flaw: None,
};

/// All steps of a drill, in order.
#[must_use]
pub fn all(kind: Kind) -> Vec<Step> {
    match kind {
        Kind::Rotation => {
            let first =
                [CONTROL, NEW_KEY, OVERLAP, SURVIVES, NOTICE_OF_BEFORE, SELDOM, RESTS, REMOVED, CACHED, UNCHANGED];
            let flaws = flaws::all().iter().copied().filter(|flaw| flaw.kind == flaws::Kind::Jwks);
            first.into_iter().chain(flaws.map(of_flaw)).chain([DOCUMENT, LAST]).collect()
        }
        Kind::Compromise => vec![CONTROL, NEW_KEY, REVOKED, NOTICE_BY_NEW, NOTICE_BY_REVOKED, CACHED],
    }
}

/// The step that publishes a key set with a flaw.
fn of_flaw(flaw: &'static Flaw) -> Step {
    Step {
        name: flaw.name,
        meaning: flaw.meaning,
        section: flaw.section,
        level: flaw.level,
        counterparts: flaw.counterparts,
        waits: Waits::Fetch,
        flaw: Some(flaw),
    }
}

/// How long things are waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Between two fetches of a key set by the same service.
    pub cooldown: Duration,
    /// Until a service's copy of a key set is too old.
    pub cache: Duration,
    /// Until its copy of a client's document is.
    pub document: Duration,
    /// Until a credential ends after a notice.
    pub kill: Duration,
}

/// About how long a service's part takes, waiting alone.
#[must_use]
pub fn estimate(steps: &[Step], schedule: Schedule, patience: &Patience) -> Duration {
    if schedule == Schedule::Fast {
        return Duration::ZERO;
    }
    steps.iter().map(|step| step.lasts(patience)).sum()
}

impl Step {
    /// Its id: the section, then its name.
    #[must_use]
    pub fn id(&self) -> String {
        self.section.check(self.name)
    }

    fn lasts(&self, patience: &Patience) -> Duration {
        match self.waits {
            Waits::No => Duration::ZERO,
            Waits::Fetch => patience.cooldown,
            Waits::Cache => patience.cache,
            Waits::Document => patience.document,
        }
    }

    /// What it is where the rule is not kept.
    pub(super) fn short(&self) -> Verdict {
        if self.level == Level::Must { Verdict::Fail } else { Verdict::Warning }
    }

    /// It, with what came of it; not reached yet.
    #[must_use]
    pub fn with(&self, verdict: Verdict, reason: impl Into<String>) -> report::Step {
        report::Step {
            id: self.id(),
            name: self.name.to_owned(),
            meaning: self.meaning.to_owned(),
            section: self.section.to_string(),
            level: self.level.as_str().to_owned(),
            verdict,
            reason: reason.into(),
            at_ms: None,
            measured_ms: None,
            evidence: Vec::new(),
        }
    }
}
