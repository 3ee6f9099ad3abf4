//! What a service publishes of itself, and what its API says to whoever has no credential.

use super::check::{CHALLENGE, Check, Effect, PROVES_ITSELF, SAYS_ID_JAG, SAYS_NOTICES, SAYS_WHERE, Selection};
use super::examiner::Probe;
use super::report::{Checked, Verdict};
use super::results::Results;
use crate::domain::understood::{self, Takes, UNREACHABLE, Understood};
use crate::lab::flaws::Level;

/// Judges what was understood of the metadata. Nothing is sent.
pub(super) fn judge(understood: &Understood, selection: &Selection, results: &mut Results) {
    if understood.documents.iter().all(|document| document.why == UNREACHABLE) {
        let check = Check::Effect(&PROVES_ITSELF);
        if selection.has(&check) {
            results.keep(check.checked(results.dialect, Verdict::CouldNotRun, "the service cannot be reached"));
        }
        return;
    }
    let mut keep = |effect: &'static Effect, is_right: Option<bool>, why: String| {
        let check = Check::Effect(effect);
        if selection.has(&check) {
            let short = if effect.level == Level::Must { Verdict::Fail } else { Verdict::Warning };
            let verdict = is_right.map_or(Verdict::Skipped, |right| if right { Verdict::Pass } else { short });
            let checked: Checked = check.checked(results.dialect, verdict, why);
            results.keep(checked);
        }
    };
    let documents = understood.documents.iter().map(|document| format!("{}: {}", document.document, document.why));
    let why = match &understood.issuer {
        Some(issuer) => format!("they name {issuer}"),
        None => documents.collect::<Vec<_>>().join("; "),
    };
    keep(&PROVES_ITSELF, Some(understood.issuer.is_some()), why);
    keep(&SAYS_WHERE, Some(understood.endpoint.value.is_some()), understood.endpoint.why.clone());
    let takes = understood.id_jag.value == Takes::Yes;
    keep(&SAYS_ID_JAG, Some(takes), understood.id_jag.why.clone());
    let tells = match understood.dialect.value {
        understood::Dialect::Plain | understood::Dialect::None => None,
        _ => Some(!understood.notices.is_empty()),
    };
    let why = match (tells, understood.notices.first()) {
        (None, _) => "it speaks no protocol that has notices".to_owned(),
        (_, Some(notice)) => notice.why.clone(),
        (_, None) => "they offer nothing that could be used".to_owned(),
    };
    keep(&SAYS_NOTICES, tells, why);
    for remark in &understood.remarks {
        results.remarks.push(format!("{}, {}: {}", remark.document, remark.member, remark.why));
    }
}

/// What an agent could do at a service, by what it publishes.
pub(super) fn in_a_sentence(understood: &Understood) -> String {
    let instead = understood.takes_instead.as_ref().map(|instead| format!(" It takes {instead}.")).unwrap_or_default();
    match (understood.id_jag.value, &understood.endpoint.value) {
        (Takes::No, _) => format!("An agent cannot bring an ID-JAG there: {}.{instead}", understood.id_jag.why),
        (_, None) => format!("An agent finds no place there to bring an ID-JAG to: {}.", understood.endpoint.why),
        (takes, Some(endpoint)) => {
            let unsaid = if takes == Takes::Unsaid { ", though nothing says that one is taken" } else { "" };
            let told = match understood.notices.first() {
                Some(notice) => format!("a withdrawal is told to {}", notice.value.endpoint),
                None => "a withdrawal can be told to nobody, so that what was given ends when it expires".to_owned(),
            };
            format!("An agent can bring an ID-JAG to {endpoint}{unsaid}; {told}.")
        }
    }
}

impl Probe {
    /// Whether there is an API that a credential can be tried at: one that takes nobody without.
    pub(super) async fn look_for_the_api(&mut self) {
        let said = match self.stage.look_for_the_api().await {
            None => {
                return self.effect(&CHALLENGE, Verdict::Skipped, "no API is known: name one with --api", Vec::new());
            }
            Some((said, Some(why))) => {
                return self.effect(&CHALLENGE, Verdict::Skipped, why, vec![said.evidence]);
            }
            Some((said, None)) => said,
        };
        let header =
            said.reply.as_ref().ok().and_then(|reply| reply.headers.get("www-authenticate").map(str::to_owned));
        let (verdict, why) = match &header {
            Some(value) if value.contains("resource_metadata=") => {
                (Verdict::Pass, "WWW-Authenticate names it".to_owned())
            }
            Some(value) => (Verdict::Warning, format!("WWW-Authenticate has no resource_metadata: {value:.200}")),
            None => (Verdict::Warning, "there is no WWW-Authenticate".to_owned()),
        };
        self.effect(&CHALLENGE, verdict, why, vec![said.evidence]);
    }
}
