//! Housekeeping.

use crate::error::Error;
use crate::host::Host;

/// Deletes rows that can no longer matter.
///
/// # Errors
/// Faults.
pub async fn run(host: &Host) -> Result<(), Error> {
    let mut tx = host.database.begin().await?;
    let swept = tx.sweep(host.now()).await?;
    tx.commit().await?;
    tracing::debug!(swept, "swept expired rows");
    Ok(())
}
