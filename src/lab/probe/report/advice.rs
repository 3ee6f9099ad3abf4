//! A paragraph for whoever has to mend a service: why the grade is no better, and what to mend first.

use super::grade::{Danger, Gap, counted, danger, failures, gap, grade};
use super::text::{self, named};
use super::{Checked, Ending, Grade, Verdict};
use crate::lab::flaws::{self, Class, Kind};

/// So many things to mend are named; the report has the rest.
const STEPS: usize = 4;
/// So many checks are named for each.
const NAMES: usize = 3;

/// The paragraph.
#[must_use]
pub fn advice(checks: &[Checked], ending: Ending) -> String {
    let mut sentences = vec![opening(checks, ending)];
    let mut failed = failures(checks);
    if failed.is_empty() {
        failed = counted(checks).filter(|check| check.verdict == Verdict::Warning).collect();
    }
    let themes = themes(&failed);
    for (step, theme) in themes.iter().take(STEPS).enumerate() {
        let begin = ["First, ", "Then ", "After that, ", "And "][step];
        let names: Vec<&str> = theme.checks.iter().map(|check| check.name.as_str()).collect();
        sentences.push(format!("{begin}{} ({}).", theme.mend, named(&names, NAMES)));
    }
    let rest: usize = themes.iter().skip(STEPS).map(|theme| theme.checks.len()).sum();
    if rest > 0 {
        sentences.push(format!("{} in the report.", text::counted(rest, "further finding is", "further findings are")));
    }
    sentences.extend(closing(checks, ending));
    sentences.extend(not_tried(checks, ending));
    sentences.join(" ")
}

/// What is mended by one change.
struct Theme<'a> {
    danger: Danger,
    mend: &'static str,
    checks: Vec<&'a Checked>,
}

/// The most dangerous first; of equals the one that lets in more, and that more checks show.
fn themes<'a>(failed: &[&'a Checked]) -> Vec<Theme<'a>> {
    let mut themes: Vec<Theme<'a>> = Vec::new();
    for check in failed {
        let (danger, mend) = (danger(check), mend(check));
        match themes.iter_mut().find(|theme| (theme.danger, theme.mend) == (danger, mend)) {
            Some(theme) => theme.checks.push(check),
            None => themes.push(Theme { danger, mend, checks: vec![check] }),
        }
    }
    themes.sort_by_key(|theme| (theme.danger, reach(theme.checks[0]), std::cmp::Reverse(theme.checks.len())));
    themes
}

/// Whom it lets in, of what lets strangers in: anybody, or whoever has a token that was meant for something else.
fn reach(check: &Checked) -> u8 {
    match flaws::find(&check.name).map(|flaw| (flaw.kind, flaw.class)) {
        Ok((Kind::Assertion, Class::Signature)) => 0,
        Ok((Kind::Assertion, Class::Issuer)) => 1,
        _ => 2,
    }
}

fn opening(checks: &[Checked], ending: Ending) -> String {
    let failed = failures(checks);
    let rules = |count: usize| text::counted(count, "rule that binds is", "rules that bind are");
    match grade(checks, ending) {
        Some(Grade::F) => "The service believes what nobody whom it trusts has said to it.".to_owned(),
        Some(Grade::D) if failed.iter().any(|check| danger(check) == Danger::Lasting) => {
            "No stranger got in, but something works that has ended, was used up, was taken back or is somebody else's."
                .to_owned()
        }
        Some(Grade::D) => format!("No stranger got in, but {} not kept.", rules(failed.len())),
        Some(Grade::C) => {
            format!("By what was found no stranger gets in, but {} not kept.", rules(failed.len()))
        }
        Some(Grade::B) if !counted(checks).any(|check| check.verdict == Verdict::Warning) => {
            "Every rule that was seen is kept, and not every one could be seen.".to_owned()
        }
        Some(Grade::B) => "Every rule that binds is kept, and not every recommendation.".to_owned(),
        Some(Grade::A) => {
            "Every rule that was checked is kept. That is no proof that the service is secure.".to_owned()
        }
        None => format!("There is no grade: {}", why_none(checks, ending)),
    }
}

fn why_none(checks: &[Checked], ending: Ending) -> String {
    let nameless = |check: &Checked| check.name == "metadata-name-their-issuer" && check.verdict == Verdict::Fail;
    match ending {
        Ending::NoControl if checks.iter().any(nameless) => {
            "nothing could be sent, because the service's metadata do not say what it is called.".to_owned()
        }
        Ending::Passive => "what the service publishes was read, and nothing was sent to it.".to_owned(),
        Ending::NoControl => {
            "the service took no good assertion, so it shows nothing that it refuses bad ones. Make it trust the issuer of this \
             run, see that user, client, scope and resource are ones that it knows, and run this again."
                .to_owned()
        }
        Ending::Interrupted => "the examination was stopped before its end.".to_owned(),
        Ending::Complete => match gap(checks) {
            Some(Gap::Undecided(some, all)) => {
                format!("{some} of {all} checks came to nothing, because the service gave no clear answer or changed its mind.")
            }
            Some(Gap::Untried(class)) => {
                format!("most of the checks that are about {} were not tried.", about(class))
            }
            None => "too little was found out.".to_owned(),
        },
    }
}

fn closing(checks: &[Checked], ending: Ending) -> Option<String> {
    if ending != Ending::Complete {
        let found = grade(checks, ending).is_some();
        return found.then(|| "The examination did not come to its end: there may be more.".to_owned());
    }
    let undecided =
        counted(checks).filter(|check| matches!(check.verdict, Verdict::Void | Verdict::CouldNotRun)).count();
    let said = grade(checks, ending).is_some() && undecided > 0;
    said.then(|| {
        let count = text::counted(undecided, "check came", "checks came");
        format!("{count} to nothing, and may hide more: see why, mend that, and run them again.")
    })
}

/// What nobody knows still, and how it could be known.
fn not_tried(checks: &[Checked], ending: Ending) -> Vec<String> {
    if grade(checks, ending).is_none() {
        return Vec::new();
    }
    let unseen = |words: &str| {
        let unknown = |check: &&Checked| matches!(check.verdict, Verdict::Skipped | Verdict::CouldNotRun);
        checks.iter().filter(unknown).any(|check| check.reason.contains(words))
    };
    let ways = [
        ("--api", "whether credentials really end (--api)"),
        ("--restart", "what has to hold over a restart (--restart)"),
        ("avouch drill rotation", "key sets that fail, are late or change (avouch drill rotation)"),
    ];
    let not: Vec<&str> = ways.iter().filter(|(words, _)| unseen(words)).map(|(_, what)| *what).collect();
    if not.is_empty() { Vec::new() } else { vec![format!("Not tried: {}.", named(&not, not.len()))] }
}

fn about(class: Class) -> &'static str {
    match class {
        Class::Signature => "signatures",
        Class::Issuer => "issuers",
        Class::Audience => "audiences",
        Class::Type => "kinds of token",
        Class::Expiry => "expiry",
        _ => "replay",
    }
}

/// What to do so that it passes, as an order.
fn mend(check: &Checked) -> &'static str {
    if let Some(mend) = mend_effect(&check.name) {
        return mend;
    }
    let Ok(flaw) = flaws::find(&check.name) else { return "keep the rules that these checks name" };
    match (flaw.kind, flaw.class) {
        (Kind::Notice, class) => mend_notice(class),
        (Kind::Jwks, Class::Tolerated) => "skip what you do not know in a key set, and use the rest",
        (Kind::Jwks, Class::Signature) => {
            "use a key of the issuer's key set for what it is published for, and none that is not in it any more"
        }
        (Kind::Jwks, _) => "bound every fetch of a key set in time and size, and believe nothing but a 200 with JSON",
        (Kind::Cimd, Class::Tolerated) => "let a harmless change of a client's document end nothing",
        (Kind::Cimd, _) => "believe a client's document only as far as the draft lets you",
        (_, class) => mend_assertion(class),
    }
}

fn mend_effect(name: &str) -> Option<&'static str> {
    Some(match name {
        "refetches-for-an-unknown-key" => "fetch an issuer's key set anew when a token names a key that is not in it",
        "does-not-fetch-for-each-assertion" => {
            "keep an issuer's key set for a while, and fetch it no more than once in a while for keys that nobody has"
        }
        "revocation-ends-the-credential" => {
            "end every credential of the user when a notice says so, also those that your API has in a cache"
        }
        "revocation-spares-other-users" => "end the credentials of the one user whom a notice names, and no others",
        "a-refusal-gives-no-credential" => "make no credential before every check has passed",
        "challenge-names-the-metadata" => "name resource_metadata in the WWW-Authenticate of each 401",
        "credentials-are-not-stored" => "send Cache-Control: no-store with every credential",
        "no-refresh-token" => "give no refresh token for an assertion",
        "one-assertion-one-credential" => {
            "look a jti up and write it down in one step, so that of several requests at once one wins"
        }
        "grants-no-more-than-was-asked" => "grant no scope that the assertion does not ask for",
        "a-bad-request-is-answered" => "answer whatever comes: a 4xx to what you cannot read",
        "metadata-name-their-issuer" => {
            "name your identifier in your metadata, as \"issuer\", byte for byte as assertions are to name it"
        }
        "metadata-say-where-assertions-go" => "say in your metadata where an assertion goes",
        "metadata-say-that-id-jags-are-taken" => "say in your metadata that you take ID-JAGs",
        "metadata-say-where-notices-go" => "say in your metadata where you are told of withdrawals",
        "consents-survive-a-new-key" => "keep what users agreed to when the issuer's keys change",
        _ => return None,
    })
}

fn mend_assertion(class: Class) -> &'static str {
    match class {
        Class::Signature => {
            "verify every signature by a key of the issuer's own key set, with an algorithm that you chose beforehand, and by nothing \
             that the token brings along"
        }
        Class::Issuer => "compare iss byte for byte with the issuers that you trust, and fetch keys of no others",
        Class::Audience => "take an assertion only if your own issuer identifier, byte for byte, is its one audience",
        Class::Type => "take only what has the type oauth-id-jag+jwt in its header",
        Class::Bearer => "let your API take the credentials that you made, and nothing else",
        Class::Expiry => "refuse what has ended, with a minute or so for clocks that differ",
        Class::Replay => {
            "remember each jti until its assertion has ended, where all your servers see it and no restart forgets it"
        }
        Class::Client => {
            "take an assertion only of the client that it names: of the one that authenticated or, where none does, of the one whose \
             document is at client_id and names the keys that signed"
        }
        Class::ClientAuthentication => "authenticate the client before you look at the assertion",
        Class::Interaction => {
            "have the user confirm before a subject that you do not know is linked to an account by its address"
        }
        Class::Contact => {
            "believe an address or a number only where it can be one, and the issuer says in so many words that it has verified it"
        }
        Class::Authentication => "take auth_time only where it is a moment of the past, and as recent as you demand",
        Class::Possession => {
            "refuse every assertion that has cnf, unless it comes with a proof of the key that this names"
        }
        Class::Target => {
            "take a resource only where it is one of yours, whole and letter by letter, also where several are named in a list"
        }
        Class::Scope => "give no scope that cannot be one, and none beyond what agents may have",
        Class::Access => "give no credential to a user who may not have one",
        Class::Unavailable => "refuse, with a 503, what you cannot verify just now",
        Class::Malformed => {
            "refuse what its rule does not allow (missing, repeated, too long, of another type), and do not repair it"
        }
        Class::Tolerated => "take what the specification says is to be taken",
    }
}

fn mend_notice(class: Class) -> &'static str {
    match class {
        Class::Signature | Class::Issuer => {
            "verify notices as strictly as assertions: issuer, key, algorithm and signature"
        }
        Class::Type => "take only what has the type of a notice for a notice",
        Class::Audience => "take only notices whose audience you are",
        Class::Tolerated => "let a notice end nothing but what it names",
        Class::Replay => "remember the jti of each notice",
        _ => "refuse notices that are not as their specification says",
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good, set};
    use super::*;

    #[test]
    fn the_most_dangerous_comes_first_and_checks_are_named() {
        let mut report = good();
        for name in [
            "exp-in-text",
            "iat-in-text",
            "jti-replayed",
            "alg-none",
            "signed-by-a-stranger",
            "iss-untrusted",
            "id-token",
        ] {
            set(&mut report, name, Verdict::Fail);
        }
        let said = advice(&report.checks, Ending::Complete);
        let at = |words: &str| said.find(words).unwrap_or_else(|| panic!("{words}: {said}"));
        assert!(at("The service believes") < at("First, verify every signature"), "{said}");
        assert!(at("(alg-none and signed-by-a-stranger)") < at("Then compare iss"), "{said}");
        assert!(at("After that, take only what has the type") < at("And remember each jti"), "{said}");
        assert!(said.ends_with("2 further findings are in the report."), "{said}");
    }

    #[test]
    fn each_grade_says_why() {
        let grade_c = {
            let mut report = good();
            set(&mut report, "exp-in-text", Verdict::Fail);
            set(&mut report, "sub-missing", Verdict::Void);
            report
        };
        for (report, ending, words) in [
            (good(), Ending::Complete, "Every rule that was checked is kept. That is no proof"),
            (bad(), Ending::Complete, "The service believes what nobody"),
            (bad(), Ending::Interrupted, "did not come to its end"),
            (good(), Ending::NoControl, "There is no grade: the service took no good assertion"),
            (good(), Ending::Passive, "nothing was sent"),
            (good(), Ending::Interrupted, "There is no grade: the examination was stopped"),
            (grade_c.clone(), Ending::Complete, "no stranger gets in, but 1 rule that binds is not kept"),
            (grade_c, Ending::Complete, "1 check came to nothing, and may hide more"),
        ] {
            let said = advice(&report.checks, ending);
            assert!(said.contains(words), "{words}: {said}");
            assert!(!said.contains('\n') && !said.contains("  ") && said.ends_with('.'), "{said}");
        }
    }

    #[test]
    fn recommendations_are_advised_on_where_nothing_worse_is() {
        let mut report = good();
        set(&mut report, "credentials-are-not-stored", Verdict::Warning);
        assert!(advice(&report.checks, Ending::Complete).contains("First, send Cache-Control: no-store"), "warned");
        report.checks.retain(|check| !check.name.starts_with("jti"));
        assert!(
            advice(&report.checks, Ending::Complete)
                .contains("There is no grade: most of the checks that are about replay")
        );
    }

    #[test]
    fn there_is_something_to_do_about_every_check() {
        for flaw in flaws::all().iter().filter(|flaw| flaw.kind != Kind::Sandbox) {
            let mut report = good();
            report.checks.retain(|check| check.name == flaw.name);
            for check in &report.checks {
                assert_ne!(mend(check), "keep the rules that these checks name", "{}", check.name);
            }
        }
    }
}
