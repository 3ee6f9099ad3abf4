//! What a server does beside minting: refresh grants and sign-ins, at a rate of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::Outcome;
use crate::client::Connection;
use crate::provider::Provider;

/// Refresh grants in a second.
const REFRESHES: usize = 100;
/// Sign-ins in a second.
const SIGN_INS: usize = 5;

/// Chains of refresh tokens, each used every 100 ms, and users who sign in, each in a new browser.
pub(crate) struct Beside {
    provider: Arc<Provider>,
    chains: Vec<Arc<Mutex<String>>>,
}

impl Beside {
    pub(crate) fn new(provider: Arc<Provider>, refresh_tokens: impl IntoIterator<Item = String>) -> Self {
        let chains = refresh_tokens.into_iter().take(REFRESHES / 10).map(|token| Arc::new(Mutex::new(token)));
        Self { provider, chains: chains.collect() }
    }

    /// Goes on until `stop`.
    pub(crate) fn start(&self, tasks: &mut JoinSet<Outcome<()>>, stop: &Arc<AtomicBool>) {
        for chain in &self.chains {
            tasks.spawn(refresh(self.provider.clone(), chain.clone(), stop.clone()));
        }
        for user in 0..SIGN_INS {
            tasks.spawn(sign_in(self.provider.clone(), user, stop.clone()));
        }
    }
}

fn every(length: Duration) -> tokio::time::Interval {
    let mut ticks = interval(length);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn refresh(provider: Arc<Provider>, chain: Arc<Mutex<String>>, stop: Arc<AtomicBool>) -> Outcome<()> {
    let mut connection = Connection::open(provider.port).await?;
    let mut ticks = every(Duration::from_millis(100));
    let mut token = chain.lock().await;
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let status = connection.send(&provider.refresh(&token)).await?;
        let body = connection.json()?;
        let next = body["refresh_token"].as_str().ok_or_else(|| format!("refresh: {status} {body}"))?;
        next.clone_into(&mut token);
    }
    Ok(())
}

async fn sign_in(provider: Arc<Provider>, user: usize, stop: Arc<AtomicBool>) -> Outcome<()> {
    let mut ticks = every(Duration::from_secs(1));
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        provider.sign_in(user).await?;
    }
    Ok(())
}
