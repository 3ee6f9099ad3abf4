//! The end: a signal, and the time in which everything has to be over.

use std::process::exit;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::{Failure, log};

/// From the signal on, whatever hangs: requests get two seconds less (`http::serve::Limits`), so that the worker and the database can
/// still end in order.
const GRACE: Duration = Duration::from_secs(20);

/// Turns true at the first SIGTERM or SIGINT. The process ends when [`GRACE`] is over, if it has not before.
pub(super) fn on_signal() -> Result<watch::Receiver<bool>, Failure> {
    let unable = |e: &dyn std::fmt::Display| Failure::Unable(format!("signals cannot be received: {e}"));
    let (stop, stopped) = watch::channel(false);
    let (ready, listening) = mpsc::channel();
    // A thread and a runtime of their own: a signal is heard even where everything else stands still.
    let waiting = thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let runtime = match Builder::new_current_thread().enable_io().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(ready.send(Err(error))),
        };
        runtime.block_on(async move {
            match signals() {
                Ok((mut term, mut int)) => {
                    let _ = ready.send(Ok(()));
                    tokio::select! {
                        _ = term.recv() => {}
                        _ = int.recv() => {}
                    }
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        });
        stop.send_replace(true);
        tracing::info!("stopping: requests in flight are finished first");
        thread::sleep(GRACE);
        tracing::warn!("something was cut off after {} seconds", GRACE.as_secs());
        log::finish();
        exit(0);
    });
    waiting.map_err(|e| unable(&e))?;
    listening.recv().map_err(|e| unable(&e))?.map_err(|e| unable(&e))?;
    Ok(stopped)
}

fn signals() -> std::io::Result<(Signal, Signal)> {
    Ok((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
}
