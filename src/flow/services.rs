//! Who an audience is: declared, else discovered, else unknown. The one place that says so; and what operators see of services and do with
//! them.

use crate::domain::administered::AdministeredService;
use crate::domain::ids::Audience;
use crate::domain::journal::Event;
use crate::domain::refusal::Refusal;
use crate::domain::service::{Service, Source};
use crate::domain::time::Timestamp;
use crate::domain::understood::Understood;
use crate::error::Error;
use crate::flow::{discover, look};
use crate::host::App;
use crate::store::{Entry, Tx};

/// The service that an audience names.
///
/// # Errors
/// [`Refusal::AudienceNotAllowed`] for one that is no audience (any more); [`Refusal::TakesNoIdJags`]; faults.
pub async fn resolve(tx: &mut Tx, audience: &Audience) -> Result<Service, Error> {
    let known = tx.known_service(audience.as_str()).await?;
    Ok(Service::resolve(audience, known.as_ref())?.into_owned())
}

/// The same for who is shown what was asked about it.
///
/// # Errors
/// [`Refusal::AudienceNotAllowed`]; faults.
pub async fn of_question(tx: &mut Tx, audience: &Audience) -> Result<Service, Error> {
    match tx.known_service(audience.as_str()).await? {
        Some(known) if known.disabled => Err(Refusal::AudienceNotAllowed.into()),
        Some(known) => Ok(known.service),
        None => Ok(Service::unknown(audience.clone())),
    }
}

/// A service as operators see it.
#[derive(Debug)]
pub struct Record {
    /// What it is, and how it stands.
    pub known: AdministeredService,
    /// What was understood of it, and when; none where it was declared from the start.
    pub look: Option<Look>,
}

/// What came of looking at a service.
#[derive(Debug)]
pub struct Look {
    /// What was understood.
    pub understood: Understood,
    /// When somebody looked last.
    pub looked_at: Timestamp,
    /// Until when that may be taken for what it says.
    pub fresh_until: Timestamp,
    /// Since when looks find nothing that proves anything, while what was understood before stands.
    pub missed_at: Option<Timestamp>,
}

/// A page of the services, after our key of one.
///
/// # Errors
/// Faults.
pub async fn list(app: &App, after: Option<&str>, limit: i64) -> Result<Vec<AdministeredService>, Error> {
    Ok(app.store.read().await?.administered_services(after.unwrap_or_default(), limit).await?)
}

/// The audience of a service, by our key.
///
/// # Errors
/// [`Refusal::NotFound`]; faults.
pub async fn audience(app: &App, key: &str) -> Result<Audience, Error> {
    Ok(app.store.read().await?.service_audience(key).await?.ok_or(Refusal::NotFound)?)
}

/// One service.
///
/// # Errors
/// [`Refusal::NotFound`]; faults.
pub async fn find(app: &App, audience: &Audience) -> Result<Record, Error> {
    let mut tx = app.store.read().await?;
    let known = tx.administered_service(audience.as_str()).await?.ok_or(Refusal::NotFound)?;
    let look = tx.discovery(audience.as_str()).await?.map(|row| Look {
        understood: row.understood,
        looked_at: row.looked_at,
        fresh_until: row.fresh_until,
        missed_at: row.missed_at,
    });
    Ok(Record { known, look })
}

/// Looks at a service for an operator, and stores nothing.
///
/// # Errors
/// [`Refusal::Busy`] while too many are looked at.
pub async fn discover(app: &App, asked: &Audience) -> Result<Understood, Error> {
    let _turn = app.looks.take(&format!("operator of {}", app.issuer.id)).ok_or(Refusal::Busy)?;
    Ok(discover::discover(&app.documents, asked, app.now(), true).await.understood)
}

/// Looks at a service again, now, and lets it be what it says.
///
/// # Errors
/// [`Refusal::NotFound`]; [`Refusal::ServiceState`] where an operator answers for it; [`Refusal::Busy`]; faults.
pub async fn refresh(app: &App, audience: &Audience) -> Result<Record, Error> {
    match find(app, audience).await?.known.service.source {
        Source::Declared => {
            Err(Refusal::ServiceState("the configuration declares it, so what it says changes nothing").into())
        }
        Source::Added => {
            Err(Refusal::ServiceState("an administrator answers for it, so what it says changes nothing").into())
        }
        Source::Pinned => Err(Refusal::ServiceState("it is pinned, so what it says changes nothing").into()),
        Source::Discovered | Source::Unknown => {
            look::anew(app, audience).await?;
            find(app, audience).await
        }
    }
}

/// Answers for a service as it was discovered: from now on nothing that it says of itself changes anything.
///
/// # Errors
/// [`Refusal::NotFound`]; [`Refusal::ServiceState`] for any but one that was discovered; faults.
pub async fn pin(app: &App, audience: &Audience) -> Result<Record, Error> {
    match find(app, audience).await?.known.service.source {
        Source::Declared => return Err(Refusal::ServiceState("the configuration declares it already").into()),
        Source::Added => return Err(Refusal::ServiceState("an administrator answers for it already").into()),
        Source::Pinned => return Err(Refusal::ServiceState("it is pinned already").into()),
        Source::Unknown => {
            let why = "nothing is known of it that could be pinned: declare it in [[services]], or add it";
            return Err(Refusal::ServiceState(why).into());
        }
        Source::Discovered => {}
    }
    let event = Event::ServicePinned { aud: audience.as_str().to_owned() };
    turn(app, audience, (Source::Discovered, Source::Pinned), (event, Timestamp::MAX)).await
}

/// Lets a pinned service speak for itself again.
///
/// # Errors
/// [`Refusal::NotFound`]; [`Refusal::ServiceState`] for one that is not pinned; faults.
pub async fn unpin(app: &App, audience: &Audience) -> Result<Record, Error> {
    if find(app, audience).await?.known.service.source != Source::Pinned {
        return Err(Refusal::ServiceState("it is not pinned").into());
    }
    let event = Event::ServiceUnpinned { aud: audience.as_str().to_owned() };
    turn(app, audience, (Source::Pinned, Source::Discovered), (event, app.now())).await
}

async fn turn(
    app: &App,
    audience: &Audience,
    (from, to): (Source, Source),
    (event, look_at): (Event, Timestamp),
) -> Result<Record, Error> {
    let mut tx = app.store.begin().await?;
    if !tx.move_service(audience.as_str(), (from.as_str(), to.as_str())).await? {
        return Err(Refusal::ServiceState("it has changed meanwhile: look at it again").into());
    }
    tx.stop_looking(audience.as_str(), look_at).await?;
    tx.record(Entry::new(app.id(), app.now(), event)).await?;
    tx.commit().await?;
    find(app, audience).await
}
