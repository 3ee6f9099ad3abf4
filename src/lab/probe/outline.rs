//! What would be sent, without sending it.

use std::sync::Arc;

use super::check::{Check, all};
use super::run::Options;
use crate::lab::examine::stage::{Stage, cast};
use crate::lab::examine::talk::Talk;
use crate::lab::examine::target::Target;
use crate::lab::flaws::Kind;

/// A check, and what would be sent for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The check's id.
    pub id: String,
    /// What would differ from a good one.
    pub differs_in: Vec<String>,
    /// The request, as a command; nothing where the check sends no request of its own.
    pub curl: Option<String>,
}

/// Every check that is wanted, in order. Metadata are read; nothing else is asked of the service.
///
/// # Errors
/// Why nothing could be sent.
pub async fn outline(options: Options) -> Result<Vec<Planned>, String> {
    let Options { understood, known, issuer, key, hosted, user, client, selection, gap, net, clock, rng, .. } = options;
    let talk = Arc::new(Talk::new(net, gap, format!("avouch-probe/{}", env!("CARGO_PKG_VERSION")), clock.clone()));
    let target = Target::read(&understood, &known, &talk).await?;
    let cast = cast(issuer, key, &clock, &rng).map_err(|error| error.to_string())?;
    let mut stage = Stage { cast, hosted, target, talk, user, client, clock, rng };
    let wanted = all().iter().copied().filter(|check| selection.has(check));
    Ok(wanted.map(|check| planned(&mut stage, check)).collect())
}

fn planned(stage: &mut Stage, check: Check) -> Planned {
    let nothing = Planned { id: check.id(), differs_in: Vec::new(), curl: None };
    let Check::Flaw(flaw) = check else { return nothing };
    let user = stage.user.clone();
    let kind = if flaw.kind == Kind::Notice { Kind::Notice } else { Kind::Assertion };
    let Ok(good) = stage.good(kind, &user) else { return nothing };
    let bad = flaw.apply(&good, &stage.cast).unwrap_or_else(|| good.clone());
    let curl = bad.token(&stage.cast).ok().and_then(|token| Some(stage.call(kind, &bad, &token).ok()??.0.curl()));
    let differs_in = match flaw.kind {
        Kind::Assertion | Kind::Notice => bad.differences(&good),
        _ => flaw.touches.iter().map(|touched| format!("{}: {touched}", flaw.kind.as_str())).collect(),
    };
    Planned { id: check.id(), differs_in, curl }
}
