//! The time of a drill. Waiting is given by whoever asks for the drill, so that nobody has to wait for caches who has the service's clock
//! in hand.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// Waits for so long. Where it comes back early, that time counts as waited for.
pub type Wait = Arc<dyn Fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

pub(super) struct Watch {
    began: Instant,
    /// What earlier runs took.
    before: Duration,
    /// What was waited for and did not pass here.
    ahead: Duration,
    wait: Wait,
    stop: watch::Receiver<bool>,
}

impl Watch {
    pub(super) fn new(before: Duration, wait: Wait, stop: watch::Receiver<bool>) -> Self {
        Self { began: Instant::now(), before, ahead: Duration::ZERO, wait, stop }
    }

    /// Since the beginning of the drill.
    pub(super) fn now(&self) -> Duration {
        self.at(Instant::now())
    }

    /// When something was that happened since the last wait.
    pub(super) fn at(&self, instant: Instant) -> Duration {
        self.before + instant.saturating_duration_since(self.began) + self.ahead
    }

    pub(super) fn stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits; false where somebody stopped it.
    pub(super) async fn wait(&mut self, span: Duration) -> bool {
        let began = Instant::now();
        let stopped = async {
            if self.stop.wait_for(|stop| *stop).await.is_err() {
                // Whoever could have stopped it is gone.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = (self.wait)(span) => {}
            () = stopped => return false,
        }
        self.ahead += span.saturating_sub(began.elapsed());
        true
    }
}
