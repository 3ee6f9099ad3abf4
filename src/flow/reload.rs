//! The configuration read again by a server that runs.

use crate::config::Config;
use crate::flow::plan::Plan;
use crate::flow::sealing_source;
use crate::flow::starting::{StartError, StartReport, own_document};
use crate::host::Host;

/// Applies what a configuration declares: issuers, users, clients and services, and what we say of ourselves. All of it is judged before
/// any of it is applied. Answers with the keys that differ and take a restart.
///
/// # Errors
/// [`StartError`].
pub async fn apply(
    host: &Host,
    running: &Config,
    read: &mut Config,
) -> Result<(StartReport, Vec<&'static str>), StartError> {
    let fixed = keep_what_is_fixed(running, read)?;
    own_document(read)?;
    let given = sealing_source::needed(read).await?;
    let plan = Plan::read(read)?;
    // What a start was told to accept was meant for that start.
    plan.judge(&host.database, false).await?;
    sealing_source::replace(host, given).await?;
    let mut report = StartReport::default();
    plan.apply(host, &mut report).await?;
    Ok((report, fixed))
}

/// Keeps of what was read only what can change while a server runs.
fn keep_what_is_fixed(running: &Config, read: &mut Config) -> Result<Vec<&'static str>, StartError> {
    if read.issuer != running.issuer {
        // Everything else was judged by it: with one on loopback, much is allowed.
        return Err(StartError::Configuration(format!(
            "issuer: it cannot change while the server runs, and its database belongs to {} for good",
            running.issuer
        )));
    }
    // All of them, so that nobody adds one without saying where it belongs.
    let Config {
        issuer: _,
        issuer_is_default: _,
        listen,
        database,
        trusted_proxies,
        keys_dir,
        sealing_commands: _,
        pkcs11: _,
        rotation,
        admin_token_file,
        log,
        grants,
        notices,
        network,
        cimd: _,
        warnings: _,
        issuers: _,
        users: _,
        clients: _,
        services: _,
    } = running;
    let mut fixed = Vec::new();
    keep("listen", listen, &mut read.listen, &mut fixed);
    keep("database_url", database, &mut read.database, &mut fixed);
    keep("trusted_proxies", trusted_proxies, &mut read.trusted_proxies, &mut fixed);
    keep("[keys] dir", keys_dir, &mut read.keys_dir, &mut fixed);
    keep("[keys.rotation]", rotation, &mut read.rotation, &mut fixed);
    keep("[admin] token_file", admin_token_file, &mut read.admin_token_file, &mut fixed);
    keep("[log]", log, &mut read.log, &mut fixed);
    keep("[grants]", grants, &mut read.grants, &mut fixed);
    keep("[notices]", notices, &mut read.notices, &mut fixed);
    keep("[network]", network, &mut read.network, &mut fixed);
    Ok(fixed)
}

fn keep<T: Clone + PartialEq>(key: &'static str, running: &T, read: &mut T, fixed: &mut Vec<&'static str>) {
    if read != running {
        read.clone_from(running);
        fixed.push(key);
    }
}
