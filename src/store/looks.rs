//! Looks at the rows, shared by those who ask at the same time: whoever asks while one is under way is answered by the next.
//!
//! What was found before somebody asked never answers them, so that a key that was revoked meanwhile is never called one that signs, and
//! what is sent goes where it is taken now.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::json_row::{elements, list};
use super::record::Record as _;
use super::services::service_columns;
use super::{Columns, Pools, Result, StoreError, Tx, json, on, per_engine};
use crate::domain::ids::Kid;
use crate::domain::service_policy::ServicePolicy;

/// Most who are answered by one look.
const BATCH: usize = 256;
/// From one look to the next at least: where many ask, more of them share one. Who asks alone finds that time over.
const PAUSE: Duration = Duration::from_millis(2);

/// What is looked for.
pub(super) trait Look: Send + Sync + 'static {
    type Key: Clone + Eq + Hash + Send + Sync + 'static;
    type Found: Clone + Send + 'static;

    /// What there is of these keys.
    fn look(tx: &mut Tx, keys: &[&Self::Key]) -> impl Future<Output = Result<HashMap<Self::Key, Self::Found>>> + Send;
}

/// The way in.
pub(super) struct Looks<L: Look>(mpsc::Sender<Asked<L>>);

impl<L: Look> Clone for Looks<L> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Asked<L: Look> {
    key: L::Key,
    answer: oneshot::Sender<Result<Option<L::Found>>>,
}

impl<L: Look> Looks<L> {
    pub(super) fn start(pools: Pools) -> Self {
        let (ask, asked) = mpsc::channel(BATCH);
        tokio::spawn(run::<L>(pools, asked));
        Self(ask)
    }

    /// What there is of a key.
    pub(super) async fn find(&self, key: L::Key) -> Result<Option<L::Found>> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Asked { key, answer }).await.map_err(|_| StoreError::Closing)?;
        answered.await.map_err(|_| StoreError::Closing)?
    }
}

/// Runs until the last way in is gone.
async fn run<L: Look>(pools: Pools, mut asked: mpsc::Receiver<Asked<L>>) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut next = Instant::now();
    while asked.recv_many(&mut batch, BATCH).await > 0 {
        sleep_until(next).await;
        while batch.len() < BATCH
            && let Ok(asked) = asked.try_recv()
        {
            batch.push(asked);
        }
        next = Instant::now() + PAUSE;
        match pools.while_it_answers(look::<L>(&pools, &batch)).await.and_then(|found| found) {
            Ok(found) => {
                for Asked { key, answer } in batch.drain(..) {
                    let _ = answer.send(Ok(found.get(&key).cloned()));
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

async fn look<L: Look>(pools: &Pools, batch: &[Asked<L>]) -> Result<HashMap<L::Key, L::Found>> {
    let keys: HashSet<&L::Key> = batch.iter().map(|asked| &asked.key).collect();
    L::look(&mut Tx::over(pools.read().await?), &keys.into_iter().collect::<Vec<_>>()).await
}

/// Whether keys of issuers sign.
pub(super) struct SigningKeys;

impl Look for SigningKeys {
    type Key = (Arc<str>, Kid);
    type Found = ();

    async fn look(tx: &mut Tx, keys: &[&Self::Key]) -> Result<HashMap<Self::Key, ()>> {
        macro_rules! signing {
            ($engine:ident) => {
                concat!(
                    "SELECT k.issuer_id, k.kid FROM ",
                    elements!($engine, "$1"),
                    " JOIN signing_key k ON k.issuer_id = e.value ->> 0 AND k.kid = e.value ->> 1 WHERE k.state = 'active'"
                )
            };
        }
        let asked = json(&keys.iter().map(|(issuer, name)| (&**issuer, name)).collect::<Vec<_>>());
        let sql = per_engine!(tx, signing!(sqlite), signing!(postgres));
        on!(tx, |c| {
            let rows = sqlx::query(sql).bind(&asked).fetch_all(c).await?;
            rows.iter().map(|row| Ok(((row.text("issuer_id")?.into(), row.id("kid")?), ()))).collect()
        })
    }
}

/// What is known of services, by issuer and audience, also of those that are disabled; `None` where that cannot be read, which is a matter
/// of whoever asked for it.
pub(super) struct Policies;

impl Look for Policies {
    type Key = (Arc<str>, String);
    type Found = Option<Arc<ServicePolicy>>;

    async fn look(tx: &mut Tx, keys: &[&Self::Key]) -> Result<HashMap<Self::Key, Self::Found>> {
        macro_rules! policies {
            ($engine:ident) => {
                concat!(
                    "SELECT issuer_id, ",
                    service_columns!(list),
                    " FROM service WHERE (issuer_id, audience) IN (SELECT e.value ->> 0, e.value ->> 1 FROM ",
                    elements!($engine, "$1"),
                    ")"
                )
            };
        }
        let asked = json(&keys.iter().map(|(issuer, name)| (&**issuer, name)).collect::<Vec<_>>());
        let sql = per_engine!(tx, policies!(sqlite), policies!(postgres));
        on!(tx, |c| {
            let rows = sqlx::query(sql).bind(&asked).fetch_all(c).await?;
            rows.iter()
                .map(|row| {
                    let key = (row.text("issuer_id")?.into(), row.text("audience")?);
                    Ok((key, ServicePolicy::from_row(row).ok().map(Arc::new)))
                })
                .collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;
    use crate::domain::ids::Audience;
    use crate::domain::issuer::{IssuerRecord, Origin};
    use crate::domain::service_policy::Dialect;
    use crate::domain::time::Timestamp;
    use crate::store::Database;

    const NOW: Timestamp = Timestamp(1_000_000);

    /// What is found is the number of the look; each one waits until it may go on.
    struct Numbered;
    static BEGUN: AtomicUsize = AtomicUsize::new(0);
    static MAY_END: Semaphore = Semaphore::const_new(0);

    impl Look for Numbered {
        type Key = u8;
        type Found = (usize, usize);

        async fn look(_: &mut Tx, keys: &[&u8]) -> Result<HashMap<u8, (usize, usize)>> {
            let number = BEGUN.fetch_add(1, Ordering::SeqCst) + 1;
            MAY_END.acquire().await.expect("it is never closed").forget();
            Ok(keys.iter().map(|key| (**key, (number, keys.len()))).collect())
        }
    }

    #[tokio::test]
    async fn whoever_asks_while_one_is_under_way_shares_the_next() {
        let folder = tempfile::TempDir::new().unwrap();
        let database = Database::sqlite(&folder.path().join("avouch.db")).await.unwrap();
        let looks = Looks::<Numbered>::start(database.pools.clone());
        let ask = |key| {
            let looks = looks.clone();
            tokio::spawn(async move { looks.find(key).await.unwrap() })
        };
        let first = ask(1);
        while BEGUN.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let later = [1, 2, 3].map(ask);
        while looks.0.capacity() > BATCH - 3 {
            tokio::task::yield_now().await;
        }
        MAY_END.add_permits(2);
        assert_eq!(first.await.unwrap(), Some((1, 1)));
        for asked in later {
            assert_eq!(asked.await.unwrap(), Some((2, 3)), "one look, begun after all of them had asked");
        }
    }

    #[tokio::test]
    async fn a_service_that_cannot_be_read_is_a_matter_of_whoever_asks_for_it() {
        let folder = tempfile::TempDir::new().unwrap();
        let database = Database::sqlite(&folder.path().join("avouch.db")).await.unwrap();
        let store = database.of("default".into());
        let mut tx = store.begin().await.unwrap();
        tx.create_issuer(&IssuerRecord {
            id: "default".into(),
            url: "https://id.example".into(),
            name: "A".into(),
            colour: None,
            logo_hash: None,
            cimd: "{}".into(),
            admin_token_hash: String::new(),
            origin: Origin::Config,
            created_at: NOW,
            disabled_at: None,
        })
        .await
        .unwrap();
        let policy = ServicePolicy::of(Dialect::AuthMd);
        for name in ["whole", "broken"] {
            let audience = Audience::parse(&format!("https://{name}.example")).unwrap();
            tx.apply_service(name, &audience, &policy, NOW).await.unwrap();
        }
        on!(tx, |c| {
            sqlx::query("UPDATE service SET notices = '?' WHERE id = 'broken'").execute(c).await.unwrap();
        });
        tx.commit().await.unwrap();
        let (whole, broken, unknown, elsewhere) = tokio::join!(
            store.service_policy("https://whole.example"),
            store.service_policy("https://broken.example"),
            store.service_policy("https://unknown.example"),
            async { database.of("b".into()).service_policy("https://whole.example").await },
        );
        assert_eq!(whole.unwrap().as_deref(), Some(&policy));
        assert!(matches!(broken, Err(StoreError::Broken("service"))));
        assert!(unknown.unwrap().is_none() && elsewhere.unwrap().is_none());
    }
}
