//! What has to be read to be measured: what is on its way to services, and how old it and the keys are.

use crate::domain::Vocabulary as _;
use crate::domain::notice::Format;
use crate::domain::time::Seconds;
use crate::error::Error;
use crate::flow::rotate;
use crate::host::Host;
use crate::meters;

/// Reads it for all issuers.
///
/// # Errors
/// Faults.
pub async fn run(host: &Host) -> Result<(), Error> {
    meters::keep_up();
    let now = host.now();
    let mut tx = host.database.read().await?;
    let mut oldest = None;
    for format in Format::WORDS.iter().filter_map(|word| Format::parse(word)) {
        let notices = tx.queued_notices(format).await?;
        meters::queued(format, u32::try_from(notices).unwrap_or(u32::MAX));
        oldest = oldest.into_iter().chain(tx.oldest_notice(format, now).await?).min();
    }
    let age = |since: Option<_>| since.map_or(Seconds(0), |since| now - since);
    meters::ages(age(oldest), age(tx.oldest_active_key().await?));
    meters::overdue(rotate::overdue(host, tx.first_to_rotate().await?).unwrap_or_default());
    Ok(())
}
