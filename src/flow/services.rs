//! Who an audience is: declared, else unknown. The one place that says so.

use crate::domain::ids::Audience;
use crate::domain::refusal::Refusal;
use crate::domain::service::Service;
use crate::domain::understood::Understood;
use crate::error::Error;
use crate::flow::discover;
use crate::host::App;
use crate::store::Tx;

/// The service that an audience names.
///
/// # Errors
/// [`Refusal::AudienceNotAllowed`] for one that is no audience (any more); faults.
pub async fn resolve(tx: &mut Tx, audience: &Audience) -> Result<Service, Error> {
    let declared = tx.declared_service(audience.as_str()).await?;
    Ok(Service::resolve(audience, declared.as_ref())?.into_owned())
}

/// Looks at a service for an operator, and stores nothing.
///
/// # Errors
/// [`Refusal::Busy`] while too many are looked at.
pub async fn discover(app: &App, asked: &Audience) -> Result<Understood, Error> {
    let _turn = app.looks.take(&format!("operator of {}", app.issuer.id)).ok_or(Refusal::Busy)?;
    Ok(discover::discover(&app.documents, asked, app.now(), true).await.understood)
}
