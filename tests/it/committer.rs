//! The committer: what shares a batch shares neither a verdict nor a row.

use avouch::store::Take;
use tokio::task::JoinSet;

use crate::harness::{NOW, World, both};

/// The take of the n-th mint under the one delegation there is.
async fn take(world: &World, n: usize) -> Take {
    let one = async |sql: &str| world.database.column(sql).await.remove(0);
    Take {
        consent_id: one("SELECT id FROM consent").await,
        delegation_id: one("SELECT id FROM delegation").await,
        account_id: one("SELECT account_id FROM delegation").await,
        account_version: one("SELECT a.version FROM account a JOIN delegation d ON d.account_id = a.id")
            .await
            .parse()
            .unwrap(),
        client_id: one("SELECT client_id FROM consent").await,
        client_version: one("SELECT k.version FROM client k JOIN consent c ON c.client_id = k.id")
            .await
            .parse()
            .unwrap(),
        session_id: one("SELECT id FROM session WHERE ended_at IS NULL").await,
        family_id: one("SELECT id FROM token_family").await,
        service_version: one("SELECT version FROM service").await.parse().unwrap(),
        auth_time: NOW,
        asked_scope: "api.read".into(),
        resources: vec![],
        kid: one("SELECT kid FROM signing_key WHERE state = 'active'").await,
        jti: format!("jti-{n}"),
        at: NOW,
        exp: NOW + 300,
        entry_id: format!("entry-{n}"),
        body: serde_json::json!({"n": n}),
    }
}

both! {
    async fn each_of_a_batch_is_judged_by_what_it_rests_on(world: World) {
        type Spoil = fn(&mut Take);
        world.delegated().await;
        let spoilt: [Spoil; 10] = [
            |t| t.consent_id = "another".into(),
            |t| t.session_id = "another".into(),
            |t| t.kid = "another".into(),
            |t| t.family_id = "another".into(),
            |t| t.account_version += 1,
            |t| t.client_version += 1,
            |t| t.service_version += 1,
            |t| t.account_version -= 1,
            |t| t.service_version = 0,
            |t| t.auth_time += 1,
        ];
        let used = async || world.database.column("SELECT mint_count FROM delegation").await.remove(0);
        let entries = async || world.database.column("SELECT body FROM journal WHERE id LIKE 'entry-%' ORDER BY id").await;
        assert_eq!(used().await, "1");
        let good = take(&world, 0).await;
        let mut mints = JoinSet::new();
        for n in 0..4 * spoilt.len() {
            let mut take = Take { jti: format!("jti-{n}"), entry_id: format!("entry-{n}"), body: serde_json::json!({"n": n}), ..good.clone() };
            let right = n % 4 != 3;
            if !right {
                spoilt[n / 4](&mut take);
            }
            let store = world.app.store.clone();
            mints.spawn(async move { (n, right, store.take(take).await.unwrap()) });
        }
        for (n, right, taken) in mints.join_all().await {
            assert_eq!(taken, right, "{n}");
        }
        assert_eq!(used().await, (1 + 3 * spoilt.len()).to_string(), "every mint counts");
        let entries = entries().await;
        assert_eq!(entries.len(), 3 * spoilt.len(), "every mint has a row of its own, and what was refused has none");
        assert!(!entries.contains(&serde_json::json!({"n": 3}).to_string()));
    }
}
