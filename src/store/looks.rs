//! Looks at keys, shared by those who ask at the same time: whoever asks while one is under way is answered by the next.
//!
//! What was found before somebody asked never answers them, so that a key that was revoked meanwhile is never called one that signs.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::json_row::elements;
use super::{Columns, Pools, Result, StoreError, Tx, json, on, per_engine};
use crate::domain::ids::Kid;

/// Most who are answered by one look.
const BATCH: usize = 256;

/// An issuer and one of its keys.
type Key = (Arc<str>, Kid);

struct Asked {
    key: Key,
    answer: oneshot::Sender<Result<bool>>,
}

/// The way in.
#[derive(Clone)]
pub(super) struct KeyLooks(mpsc::Sender<Asked>);

impl KeyLooks {
    pub(super) fn start(pools: Pools) -> Self {
        let (ask, asked) = mpsc::channel(BATCH);
        tokio::spawn(run(pools, asked));
        Self(ask)
    }

    /// Whether a key signs.
    pub(super) async fn signs(&self, issuer: Arc<str>, kid: Kid) -> Result<bool> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Asked { key: (issuer, kid), answer }).await.map_err(|_| StoreError::Closing)?;
        answered.await.map_err(|_| StoreError::Closing)?
    }
}

/// Runs until the last way in is gone.
async fn run(pools: Pools, mut asked: mpsc::Receiver<Asked>) {
    let mut batch = Vec::with_capacity(BATCH);
    while asked.recv_many(&mut batch, BATCH).await > 0 {
        let keys: HashSet<&Key> = batch.iter().map(|asked| &asked.key).collect();
        let found = pools.while_it_answers(look(&pools, &keys)).await.and_then(|found| found);
        match found {
            Ok(found) => {
                for Asked { key: (issuer, kid), answer } in batch.drain(..) {
                    let _ = answer.send(Ok(found.contains(&(issuer.to_string(), kid.to_string()))));
                }
            }
            Err(error) => {
                let error = error.for_each();
                for Asked { answer, .. } in batch.drain(..) {
                    let _ = answer.send(Err(error()));
                }
            }
        }
    }
}

/// Those of the keys that sign.
async fn look(pools: &Pools, keys: &HashSet<&Key>) -> Result<HashSet<(String, String)>> {
    macro_rules! signing {
        ($engine:ident) => {
            concat!(
                "SELECT k.issuer_id, k.kid FROM ",
                elements!($engine, "$1"),
                " JOIN signing_key k ON k.issuer_id = e.value ->> 0 AND k.kid = e.value ->> 1 WHERE k.state = 'active'"
            )
        };
    }
    let asked = json(&keys.iter().map(|(issuer, kid)| (&**issuer, kid)).collect::<Vec<_>>());
    let mut tx = Tx::over(pools.read().await?);
    let sql = per_engine!(tx, signing!(sqlite), signing!(postgres));
    on!(tx, |c| {
        let rows = sqlx::query(sql).bind(&asked).fetch_all(c).await?;
        rows.iter().map(|row| Ok((row.text("issuer_id")?, row.text("kid")?))).collect()
    })
}
