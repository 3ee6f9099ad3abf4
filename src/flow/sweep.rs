//! Housekeeping.

use crate::error::Error;
use crate::host::Host;
use crate::store::SWEPT;

/// Most rows of one transaction: others wait for its end.
const AT_ONCE: i64 = 1000;

/// Deletes rows that can no longer matter, a bounded number at a time.
///
/// # Errors
/// Faults.
pub async fn run(host: &Host) -> Result<(), Error> {
    let mut swept = 0;
    for table in SWEPT {
        loop {
            let mut tx = host.database.begin().await?;
            let rows = tx.sweep(table, host.now(), AT_ONCE).await?;
            tx.commit().await?;
            swept += rows;
            if rows < AT_ONCE.unsigned_abs() {
                break;
            }
        }
    }
    loop {
        let over = host.database.read().await?.sessions_over(host.now(), AT_ONCE).await?;
        if over.is_empty() {
            break;
        }
        let mut tx = host.database.begin().await?;
        swept += tx.delete_sessions(&over).await?;
        tx.commit().await?;
    }
    tracing::debug!(swept, "swept expired rows");
    Ok(())
}
