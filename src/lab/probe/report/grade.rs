//! The grade, and how dangerous each finding is. A letter is worth something only where it is capped by the worst that was shown, and is left
//! out where too little was.

use super::{Checked, Ending, Grade, Verdict};
use crate::lab::flaws::{self, Class, Kind, Level};

/// So many MUSTs that are not kept are worse than a few.
const MANY: usize = 8;
/// More than one in so many that came to nothing, and the rest says too little.
const UNKNOWN: usize = 5;
/// What has to be known of a service that gets a grade: each with at least half of its MUSTs.
const ESSENTIAL: [Class; 6] =
    [Class::Signature, Class::Issuer, Class::Audience, Class::Type, Class::Expiry, Class::Replay];

/// How bad it is that a check failed, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Danger {
    /// Somebody gets in, or ends what others have, by what nobody who is trusted has said.
    Stranger,
    /// What was used up, ended or taken back still works, or what nobody took back does not; or it works for somebody else than it was for.
    Lasting,
    /// A rule is not kept.
    Rule,
}

/// How bad it is if this check fails.
#[must_use]
pub fn danger(check: &Checked) -> Danger {
    match check.name.as_str() {
        // Refused in words alone.
        "a-refusal-gives-no-credential" => return Danger::Stranger,
        "revocation-ends-the-credential"
        | "revocation-spares-other-users"
        | "one-assertion-one-credential"
        | "notice-sub-of-another-user"
        | "notice-event-unknown"
        // The key is not, or no longer, the issuer's.
        | "jwks-stale"
        | "jwks-empty"
        | "jwks-without-keys"
        | "jwks-without-the-key"
        | "cimd-of-another-client"
        | "cimd-with-other-keys"
        // The issuer did say it to the service, and to somebody else as well.
        | "aud-with-a-foreign-one"
        // An address that is not proven leads to somebody else's account as silently as a subject that is not known.
        | "email-unverified"
        | "email-verified-in-text"
        | "email-verified-missing" => return Danger::Lasting,
        // Against the rule, and yet nobody else has the name that it is taken for.
        "aud-with-a-slash" | "iss-with-a-slash" => return Danger::Rule,
        _ => {}
    }
    let Ok(flaw) = flaws::find(&check.name) else { return Danger::Rule };
    match (flaw.kind, flaw.class) {
        (
            Kind::Assertion | Kind::Notice | Kind::Sandbox,
            Class::Signature | Class::Issuer | Class::Audience | Class::Type | Class::Bearer,
        ) => Danger::Stranger,
        (
            Kind::Assertion | Kind::Notice | Kind::Sandbox,
            Class::Expiry | Class::Replay | Class::Client | Class::ClientAuthentication | Class::Interaction,
        ) => Danger::Lasting,
        _ => Danger::Rule,
    }
}

/// The grade; nothing where too little was found out. What lets strangers in is an F however little else is known.
#[must_use]
pub fn grade(checks: &[Checked], ending: Ending) -> Option<Grade> {
    let failed = failures(checks);
    let worst = failed.iter().map(|check| danger(check)).min();
    if worst == Some(Danger::Stranger) {
        return Some(Grade::F);
    }
    if ending != Ending::Complete || gap(checks).is_some() {
        return None;
    }
    Some(match worst {
        Some(Danger::Stranger | Danger::Lasting) => Grade::D,
        Some(Danger::Rule) if failed.len() >= MANY => Grade::D,
        Some(Danger::Rule) => Grade::C,
        // The best grade says that everything was seen.
        None if counted(checks).any(|check| check.verdict == Verdict::Warning || is_undecided(check)) => Grade::B,
        None => Grade::A,
    })
}

/// What counts.
pub(super) fn counted(checks: &[Checked]) -> impl Iterator<Item = &Checked> {
    checks.iter().filter(|check| check.is_counted())
}

/// What counts and is not kept.
pub(super) fn failures(checks: &[Checked]) -> Vec<&Checked> {
    counted(checks).filter(|check| check.verdict == Verdict::Fail).collect()
}

/// Why the checks that ran say too little for a grade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// So many of so many came to nothing.
    Undecided(usize, usize),
    /// Most of what a grade needs was not tried.
    Untried(Class),
}

pub(super) fn gap(checks: &[Checked]) -> Option<Gap> {
    let undecided = counted(checks).filter(|check| is_undecided(check)).count();
    let decided = counted(checks).filter(|check| is_decided(check)).count();
    if undecided * UNKNOWN > undecided + decided {
        return Some(Gap::Undecided(undecided, undecided + decided));
    }
    ESSENTIAL.into_iter().find(|class| !is_known(checks, *class)).map(Gap::Untried)
}

/// By the names of the list, not by how many checks a report happens to hold.
fn is_known(checks: &[Checked], class: Class) -> bool {
    let needed = flaws::all()
        .iter()
        .filter(|flaw| flaw.kind == Kind::Assertion && flaw.class == class && flaw.level == Level::Must);
    let names: Vec<&str> = needed.map(|flaw| flaw.name).collect();
    let decided = checks.iter().filter(|check| is_decided(check) && names.contains(&check.name.as_str())).count();
    decided * 2 >= names.len()
}

fn is_decided(check: &Checked) -> bool {
    matches!(check.verdict, Verdict::Pass | Verdict::Warning | Verdict::Fail)
}

fn is_undecided(check: &Checked) -> bool {
    matches!(check.verdict, Verdict::Void | Verdict::CouldNotRun)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{good, set};
    use super::*;

    /// The grade of a good report in which these came to another verdict.
    fn with(changes: &[(&str, Verdict)]) -> Option<Grade> {
        let mut report = good();
        for (name, verdict) in changes {
            set(&mut report, name, *verdict);
        }
        grade(&report.checks, Ending::Complete)
    }

    #[test]
    fn the_worst_finding_caps_it() {
        use Verdict::{Fail, Warning};
        for (name, expected) in [
            ("signed-by-a-stranger", Grade::F),
            ("iss-untrusted", Grade::F),
            ("aud-that-begins-alike", Grade::F),
            ("id-token", Grade::F),
            ("as-a-credential", Grade::F),
            ("notice-unsigned", Grade::F),
            ("a-refusal-gives-no-credential", Grade::F),
            ("aud-with-a-foreign-one", Grade::D),
            ("jti-replayed", Grade::D),
            ("expired", Grade::D),
            ("revocation-ends-the-credential", Grade::D),
            ("revocation-spares-other-users", Grade::D),
            ("notice-sub-of-another-user", Grade::D),
            ("client-id-of-another", Grade::D),
            ("sub-new-with-known-email", Grade::D),
            ("email-unverified", Grade::D),
            ("jwks-without-the-key", Grade::D),
            ("exp-in-text", Grade::C),
            ("aud-with-a-slash", Grade::C),
            ("iss-with-a-slash", Grade::C),
            ("jwks-key-for-encryption", Grade::C),
            ("cnf-without-proof", Grade::C),
        ] {
            assert_eq!(with(&[(name, Fail)]), Some(expected), "{name}");
        }
        assert_eq!(with(&[("too-long", Warning)]), Some(Grade::B));
        assert_eq!(with(&[]), Some(Grade::A));
        // What each service decides is told and never counted.
        assert_eq!(with(&[("sub-unknown", Fail), ("scope-of-an-administrator", Warning)]), Some(Grade::A));
        let many =
            ["exp-in-text", "iat-in-text", "sub-missing", "sub-empty", "crit-unknown", "crit-empty", "b64-false"];
        let many: Vec<_> = many.into_iter().map(|name| (name, Fail)).collect();
        assert_eq!(with(&many), Some(Grade::C));
        assert_eq!(with(&[&many[..], &[("encrypted", Fail)]].concat()), Some(Grade::D));
    }

    #[test]
    fn too_little_gives_no_grade() {
        let mut report = good();
        let endings = [Ending::NoControl, Ending::Interrupted, Ending::Passive];
        assert!(endings.into_iter().all(|ending| grade(&report.checks, ending).is_none()));
        let counted = counted(&report.checks).count();
        for check in report.checks.iter_mut().filter(|check| check.is_counted()).take(counted / UNKNOWN) {
            check.verdict = Verdict::Void;
        }
        assert_eq!(grade(&report.checks, Ending::Complete), Some(Grade::B), "a fifth");
        for check in report.checks.iter_mut().filter(|check| check.is_counted()).take(counted / UNKNOWN + 1) {
            check.verdict = Verdict::CouldNotRun;
        }
        assert_eq!(grade(&report.checks, Ending::Complete), None, "more than a fifth");
        // What lets strangers in is known all the same.
        set(&mut report, "alg-none", Verdict::Fail);
        assert_eq!(grade(&report.checks, Ending::Interrupted), Some(Grade::F));
    }

    #[test]
    fn what_was_left_out_is_missed_by_name() {
        let mut report = good();
        set(&mut report, "expired", Verdict::Skipped);
        assert_eq!(gap(&report.checks), Some(Gap::Untried(Class::Expiry)));
        let mut report = good();
        report.checks.retain(|check| !check.name.starts_with("aud-"));
        assert_eq!(grade(&report.checks, Ending::Complete), None);
        assert_eq!(grade(&[], Ending::Complete), None);
    }
}
