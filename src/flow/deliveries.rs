//! Notices as an operator looks at them, and lets them be tried again.

use crate::domain::journal::Event;
use crate::domain::notice::{Attempt, Deliveries, Delivery, DeliveryState, Round};
use crate::domain::refusal::Refusal;
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::host::App;
use crate::store::Entry;

/// A notice, and the attempts at it with their times, the oldest first.
#[derive(Debug)]
pub struct Told {
    /// The notice.
    pub delivery: Delivery,
    /// The attempts.
    pub attempts: Vec<(Timestamp, Attempt)>,
}

/// A page of an issuer's notices, the oldest first.
///
/// # Errors
/// Faults.
pub async fn list(app: &App, filter: Deliveries<'_>) -> Result<Vec<Delivery>, Error> {
    Ok(app.store.read().await?.list_deliveries(filter).await?)
}

/// One of them, with what came of it so far.
///
/// # Errors
/// [`Refusal::NotFound`]; faults.
pub async fn find(app: &App, id: &str) -> Result<Told, Error> {
    let mut tx = app.store.read().await?;
    let delivery = tx.delivery(id).await?.ok_or(Refusal::NotFound)?;
    let attempts = tx.attempts_at(&delivery).await?;
    Ok(Told { delivery, attempts })
}

/// Lets a notice be tried now: one that waits for its next attempt, and one that was refused, given up or unproven, which begins anew.
///
/// # Errors
/// [`Refusal::NotFound`]; [`Refusal::DeliveryState`] where there is nothing to try, or it is being tried; faults.
pub async fn retry(app: &App, id: &str) -> Result<Told, Error> {
    let now = app.now();
    let mut tx = app.store.begin().await?;
    let seen = tx.delivery(id).await?.ok_or(Refusal::NotFound)?;
    let give_up_at = match seen.state {
        DeliveryState::Delivered => return Err(Refusal::DeliveryState("it was delivered").into()),
        DeliveryState::Cancelled => return Err(Refusal::DeliveryState("a later one stands for it").into()),
        // Sent now, it would miss what is redeemed after it.
        DeliveryState::Queued if seen.round == Round::Second && seen.attempts == 0 && seen.due_at > now => {
            return Err(Refusal::DeliveryState("it waits until nothing minted before can be redeemed any more").into());
        }
        DeliveryState::Queued => seen.give_up_at,
        DeliveryState::Refused | DeliveryState::GivenUp | DeliveryState::Unproven => {
            now + seen.format.tried_for(app.give_up_after)
        }
    };
    if !tx.retry_delivery(&seen, now, give_up_at).await? {
        return Err(Refusal::DeliveryState("it is being tried at this moment").into());
    }
    let event = Event::DeliveryRetried { delivery_id: seen.id.clone(), was: seen.state };
    tx.record(Entry { delegation_id: seen.delegation_id.as_deref(), ..Entry::new(app.id(), now, event) }).await?;
    tx.commit().await?;
    app.outbox_signal.notify_one();
    find(app, id).await
}
