//! Who an audience is: declared, else unknown. The one place that says so.

use crate::domain::ids::Audience;
use crate::domain::service::Service;
use crate::error::Error;
use crate::store::Tx;

/// The service that an audience names.
///
/// # Errors
/// [`Refusal::AudienceNotAllowed`](crate::domain::refusal::Refusal::AudienceNotAllowed) for one that is no audience (any more); faults.
pub async fn resolve(tx: &mut Tx, audience: &Audience) -> Result<Service, Error> {
    let declared = tx.declared_service(audience.as_str()).await?;
    Ok(Service::resolve(audience, declared.as_ref())?.into_owned())
}
