//! The matrix: of a sandbox that does not keep a rule the probe finds exactly that. Every check for every rule, in every dialect.

use super::*;

/// These wait for time-outs; the strict one was shown them.
const SLOW: [&str; 3] = ["cimd-hangs", "cimd-drips", "cimd-slow"];

/// Rules without which a service refuses more, or does something else: nothing is shown of another one beside them.
const ALONE: [Rule; 8] = [
    Rule::NeverRefetchJwks,
    Rule::RefetchOnEveryRequest,
    Rule::RefuseSetsWithUnknownKeys,
    Rule::DropConsentsWhenKeysChange,
    Rule::WaitForEver,
    Rule::IgnoreRevocation,
    Rule::RevokeEveryUser,
    Rule::TrustClientId,
];

/// Most rules that are left out together.
const TOGETHER: usize = 6;

/// What a check shows of the rules that are not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    /// That one of those that it names is missing.
    Found,
    /// That it finds none of them.
    Silent,
    /// Nothing: it is left out, or the dialect has no rule for it.
    Skipped,
    /// Nothing: it comes to nothing there.
    Nothing,
}

/// The matrix of one dialect: every check for every rule that a sandbox may not keep. A check that names the rule finds it, in a sandbox that
/// keeps all the others; any other check finds nothing.
struct Matrix {
    issuer: Issuer,
    dialect: Dialect,
    wrong: Vec<String>,
}

impl Matrix {
    /// What each check shows of a sandbox without these rules.
    async fn row(&mut self, rules: &[Rule], only: &[String]) -> Vec<(&'static str, Cell)> {
        let (origin, sandbox) = self.issuer.sandbox(self.dialect, rules.iter().copied().collect()).await;
        let mut options = self.issuer.options(&origin, self.dialect, sandbox).await;
        options.selection = Selection::new(only, &SLOW.map(str::to_owned)).unwrap();
        let report = Box::pin(run(options)).await.unwrap();
        let checks = report.checks.iter().zip(all());
        checks.map(|(checked, check)| (check.name(), self.cell(rules, check, checked))).collect()
    }

    fn cell(&mut self, rules: &[Rule], check: &Check, checked: &Checked) -> Cell {
        // What the dialect leaves open, or takes whatever rule is kept, shows nothing of a rule.
        if let Check::Flaw(flaw) = check
            && !matches!(flaw.answer(self.dialect), Answer::Refuse { .. })
            && flaw.class != Class::Tolerated
        {
            return Cell::Skipped;
        }
        // Clients are registered there, and no document of theirs is looked at.
        let of_documents = |rule| matches!(rule, Rule::AcceptAnyIssuer | Rule::IgnoreJwksUriOfDocument);
        let registered = self.dialect == Dialect::Plain && check.name() == "client-id-of-a-stranger";
        if registered && rules.iter().any(|rule| of_documents(*rule)) {
            return Cell::Nothing;
        }
        let names_one = rules.iter().any(|rule| check.counterparts().contains(&rule.name()));
        match checked.verdict {
            Verdict::Skipped => Cell::Skipped,
            // Of several that are missing one may come between another and the check: what they show is tried again with each alone.
            Verdict::Pass if !names_one => Cell::Silent,
            _ if rules.len() > 1 => Cell::Nothing,
            // Whoever does not fetch a key set shows nothing of what is in it.
            Verdict::Void if checked.group == report::Group::KeySet => Cell::Nothing,
            Verdict::Fail | Verdict::Warning if names_one => Cell::Found,
            Verdict::Void if !names_one => Cell::Silent,
            _ => {
                let names: Vec<&str> = rules.iter().map(|rule| rule.name()).collect();
                self.wrong.push(format!("{:?} {}: {}", self.dialect, names.join(" "), line(checked)));
                Cell::Nothing
            }
        }
    }
}

/// A service that does not keep a rule takes more and refuses nothing more. So what a check would find where one rule is missing it finds where
/// others are missing as well, and several rules can be shown at once to be none that a check finds. What names one of them is tried again
/// with each alone, and so is whatever else was not shown.
async fn without_each_rule(dialect: Dialect) {
    let mut matrix = Matrix { issuer: Issuer::new().await, dialect, wrong: Vec::new() };
    // Nobody is asked for proofs there, so there is nothing to be too lenient with.
    let is_here = |rule: &Rule| *rule != Rule::AcceptAnyDpopProof || dialect == Dialect::Plain;
    let (alone, others): (Vec<Rule>, Vec<Rule>) =
        Broken::all().rules().filter(is_here).partition(|r| ALONE.contains(r));
    // What is left out whichever rule is missing is left out for the dialect's sake.
    let mut left_out: Vec<&str> = all().iter().map(Check::name).collect();
    for rule in alone {
        let shown = matrix.row(&[rule], &[]).await;
        left_out.retain(|name| shown.contains(&(*name, Cell::Skipped)));
    }
    for group in others.chunks(TOGETHER) {
        let mut rest = matrix.row(group, &[]).await;
        rest.retain(|(name, cell)| *cell != Cell::Silent && !(*cell == Cell::Skipped && left_out.contains(name)));
        let only: Vec<String> = rest.iter().map(|(name, _)| (*name).to_owned()).collect();
        for rule in group {
            let shown = matrix.row(&[*rule], &only).await;
            // Some checks show nothing where few others are made.
            let was_shown = |name: &str| rest.iter().any(|(known, cell)| *known == name && *cell != Cell::Skipped);
            if shown.iter().any(|(name, cell)| *cell == Cell::Skipped && was_shown(name)) {
                matrix.row(&[*rule], &[]).await;
            }
        }
    }
    assert!(matrix.wrong.is_empty(), "{}:\n{}", matrix.wrong.len(), matrix.wrong.join("\n"));
}

#[tokio::test]
async fn without_each_rule_in_v01() {
    without_each_rule(Dialect::V01).await;
}

#[tokio::test]
async fn without_each_rule_flat() {
    without_each_rule(Dialect::Flat).await;
}

#[tokio::test]
async fn without_each_rule_nested() {
    without_each_rule(Dialect::Nested).await;
}

#[tokio::test]
async fn without_each_rule_plain() {
    without_each_rule(Dialect::Plain).await;
}
