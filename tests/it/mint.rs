//! The mint path: a `once` is once, mints share transactions, and no stale fact authorises.

use std::future::{Future as _, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use avouch::domain::exchange::SubjectTokenType;
use avouch::jose::SigningKey;
use avouch::secret::token_hash;
use avouch::store::Take;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{ALICE, NOW, World, both, claims, eventually};

/// The `jti`s of the journal.
pub(crate) async fn journal(world: &World) -> Vec<String> {
    world.database.column("SELECT jti FROM journal WHERE kind = 'assertion' ORDER BY jti").await
}

/// What came of many requests at once: the assertions, and the errors of those that got none.
pub(crate) async fn all_at_once(worlds: &[Arc<World>], tokens: &Value, n: usize) -> (Vec<Value>, Vec<String>) {
    let mut tasks = JoinSet::new();
    for i in 0..n {
        let (world, tokens) = (worlds[i % worlds.len()].clone(), tokens.clone());
        tasks.spawn(async move { world.exchange("desk-agent", &tokens, &[]).await });
    }
    let (mut minted, mut refused) = (Vec::new(), Vec::new());
    while let Some(answer) = tasks.join_next().await {
        match answer.unwrap() {
            (200, body) => minted.push(claims(body["access_token"].as_str().unwrap())),
            (_, body) => refused.push(body["error"].as_str().unwrap().to_owned()),
        }
    }
    (minted, refused)
}

/// Whether what the mint of `exchange` rests on is in the cache: where it is not, nothing is proved by a refusal.
pub(crate) fn is_warm(world: &World, tokens: &Value) -> bool {
    let hash = token_hash(tokens["access_token"].as_str().unwrap());
    let key = ("desk-agent".to_owned(), SubjectTokenType::AccessToken, hash, world.service.url.clone());
    world.app.facts.get(&key, world.app.store.changes(), world.clock.now()).is_some()
}

both! {
    async fn a_once_mints_exactly_one_of_a_hundred(world: World) {
        let browser = world.signed_in(ALICE).await;
        let tokens = world.tokens(&browser, "desk-agent").await;
        world.agree(&browser, "desk-agent", &tokens, "once", &[]).await;
        let world = Arc::new(world);
        let (minted, refused) = all_at_once(std::slice::from_ref(&world), &tokens, 100).await;
        assert_eq!(minted.len(), 1);
        assert!(refused.iter().all(|e| e == "consent_required" || e == "slow_down"), "{refused:?}");
        assert_eq!(journal(&world).await, [minted[0]["jti"].as_str().unwrap()]);
        assert_eq!(world.database.column("SELECT mint_count FROM delegation").await, ["1"]);
        assert_eq!(world.database.column("SELECT COUNT(*) FROM ticket WHERE closed_at IS NULL").await, ["1"], "one question");
    }
}

both! {
    async fn a_hundred_mints_of_an_always(world: World) {
        let (_, tokens, ..) = world.delegated().await;
        let world = Arc::new(world);
        let (minted, refused) = all_at_once(std::slice::from_ref(&world), &tokens, 100).await;
        assert_eq!((minted.len(), refused), (100, vec![]));
        let journal = journal(&world).await;
        assert_eq!(journal.len(), 101, "and the one before");
        for assertion in &minted {
            assert!(journal.binary_search(&assertion["jti"].as_str().unwrap().to_owned()).is_ok());
        }
        assert_eq!(world.database.column("SELECT mint_count FROM delegation").await, ["101"]);
        assert_eq!(world.database.column("SELECT last_exp FROM delegation").await, [(NOW + 300).to_string()]);
    }
}

/// What a mint of `desk-agent` takes, read from the rows.
pub(crate) async fn take(world: &World) -> Take {
    let one = async |sql: &str| world.database.column(sql).await.into_iter().next().unwrap();
    let version = async |sql: &str| one(sql).await.parse::<i64>().unwrap();
    let jti = world.app.id();
    Take {
        consent_id: one("SELECT id FROM consent WHERE mode <> 'denied'").await,
        delegation_id: one("SELECT id FROM delegation").await,
        account_id: one("SELECT account_id FROM delegation").await,
        account_version: version("SELECT version FROM account WHERE email = 'alice@example.com'").await,
        client_id: one("SELECT id FROM client WHERE client_id = 'desk-agent'").await,
        client_version: version("SELECT version FROM client WHERE client_id = 'desk-agent'").await,
        session_id: one("SELECT id FROM session").await,
        auth_time: version("SELECT auth_time FROM session").await,
        family_id: one("SELECT id FROM token_family WHERE ended_at IS NULL ORDER BY id DESC").await,
        service_version: version("SELECT version FROM service").await,
        asked_scope: "api.read".to_owned(),
        resources: Vec::new(),
        kid: one("SELECT kid FROM signing_key").await,
        entry_id: jti.clone(),
        jti,
        at: world.clock.now(),
        exp: world.clock.now() + 300,
        body: json!({}),
    }
}

both! {
    async fn mints_that_wait_share_a_transaction(world: World) {
        let (_, _, delegation, _) = world.delegated().await;
        let template = take(&world).await;
        let before = world.app.store.batches();
        // Nothing can be taken while another transaction holds the record.
        let mut held = world.app.store.begin().await.unwrap();
        held.lock_delegation(&delegation).await.unwrap();
        let waiting = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..100 {
            let jti = world.app.id();
            let take = Take { entry_id: jti.clone(), jti, ..template.clone() };
            let (store, waiting) = (world.app.store.clone(), waiting.clone());
            tasks.spawn(async move {
                let mut taken = Box::pin(store.take(take));
                let first = poll_fn(|cx| std::task::Poll::Ready(taken.as_mut().poll(cx))).await;
                assert!(first.is_pending(), "answered before it is durable");
                waiting.fetch_add(1, Ordering::SeqCst);
                taken.await.unwrap()
            });
        }
        eventually("a hundred mints wait", async || waiting.load(Ordering::SeqCst) == 100).await;
        assert_eq!(journal(&world).await.len(), 1);
        drop(held);
        assert!(tasks.join_all().await.into_iter().all(|taken| taken));
        let batches = world.app.store.batches() - before;
        assert!(batches <= 2, "one that was under way and one for all who waited, not {batches}");
        assert_eq!(journal(&world).await.len(), 101);
    }
}

both! {
    async fn a_once_named_by_several_in_one_transaction_is_the_first_one_s(world: World) {
        let (browser, tokens, delegation, _) = world.delegated().await;
        let always = take(&world).await;
        let write = [("scope", "api.write")];
        world.agree(&browser, "desk-agent", &tokens, "once", &write).await;
        let consent_id = world.database.column("SELECT id FROM consent WHERE mode = 'once'").await.remove(0);
        let mut held = world.app.store.begin().await.unwrap();
        held.lock_delegation(&delegation).await.unwrap();
        // The first is under way alone; those who come now share the next transaction.
        let mut waiting = Vec::new();
        for n in 0..6 {
            let jti = world.app.id();
            let mut take = Take { entry_id: jti.clone(), jti, ..always.clone() };
            if n > 0 {
                take.consent_id.clone_from(&consent_id);
            }
            let batches = world.app.store.batches();
            let mut taken = Box::pin(world.app.store.take(take));
            assert!(poll_fn(|cx| std::task::Poll::Ready(taken.as_mut().poll(cx))).await.is_pending());
            if n == 0 {
                eventually("the first is under way", async || world.app.store.batches() > batches).await;
            }
            waiting.push(taken);
        }
        drop(held);
        let mut taken = Vec::new();
        for one in waiting {
            taken.push(one.await.unwrap());
        }
        assert_eq!(taken, [true, true, false, false, false, false]);
        assert_eq!(journal(&world).await.len(), 3);
    }
}

both! {
    async fn whoever_hangs_up_leaves_a_whole_row_or_none(world: World) {
        let (_, _, delegation, _) = world.delegated().await;
        let template = take(&world).await;
        let mut held = world.app.store.begin().await.unwrap();
        held.lock_delegation(&delegation).await.unwrap();
        let gone = Take { entry_id: "gone".into(), jti: "gone".into(), ..template.clone() };
        let mut asked = Box::pin(world.app.store.take(gone));
        assert!(poll_fn(|cx| std::task::Poll::Ready(asked.as_mut().poll(cx))).await.is_pending());
        drop(asked);
        drop(held);
        assert!(world.app.store.take(template).await.unwrap(), "the next is served");
        let used: usize = world.database.column("SELECT mint_count FROM delegation").await[0].parse().unwrap();
        assert_eq!(used, journal(&world).await.len());
    }
}

both! {
    async fn a_value_that_cannot_be_stored_harms_only_its_own(world: World) {
        let store = world.app.store.clone();
        let mut tasks = JoinSet::new();
        let mut held = store.begin().await.unwrap();
        held.found_issuer("x", "y", 1).await.unwrap();
        for n in 0..50 {
            let store = store.clone();
            let jti = if n == 25 { "a\0b".to_owned() } else { format!("jti {n}") };
            tasks.spawn(async move { (n, store.spend_jti("c", &jti, NOW).await) });
        }
        drop(held);
        while let Some(done) = tasks.join_next().await {
            let (n, spent) = done.unwrap();
            assert!(n == 25 || matches!(spent, Ok(true)), "{n}: {spent:?}");
        }
    }
}

/// A change by another process, its undoing, and what the next mint of a server with warm caches answers.
struct Change {
    name: &'static str,
    sql: &'static str,
    undo: &'static str,
    answer: (u16, &'static str),
}

const CHANGES: [Change; 13] = [
    Change {
        name: "user disabled",
        sql: "UPDATE account SET disabled_at = 1 WHERE email = 'alice@example.com' RETURNING id",
        undo: "UPDATE account SET disabled_at = NULL WHERE email = 'alice@example.com' RETURNING id",
        answer: (400, "invalid_grant"),
    },
    Change {
        name: "user no longer verified",
        sql: "UPDATE account SET email_verified_at = NULL, version = version + 1 WHERE email = 'alice@example.com' RETURNING id",
        undo: "UPDATE account SET email_verified_at = 1, version = version + 1 WHERE email = 'alice@example.com' RETURNING id",
        answer: (400, "access_denied"),
    },
    Change {
        name: "session ended",
        sql: "UPDATE session SET ended_at = 1 RETURNING id",
        undo: "UPDATE session SET ended_at = NULL RETURNING id",
        answer: (400, "invalid_grant"),
    },
    Change {
        name: "session over",
        sql: "UPDATE session SET expires_at = expires_at - 2000000 RETURNING id",
        undo: "UPDATE session SET expires_at = expires_at + 2000000 RETURNING id",
        answer: (400, "invalid_grant"),
    },
    Change {
        name: "tokens withdrawn",
        sql: "UPDATE token_family SET ended_at = 1 RETURNING id",
        undo: "UPDATE token_family SET ended_at = NULL RETURNING id",
        answer: (400, "invalid_grant"),
    },
    Change {
        name: "client disabled",
        sql: "UPDATE client SET disabled_at = 1 WHERE client_id = 'desk-agent' RETURNING id",
        undo: "UPDATE client SET disabled_at = NULL WHERE client_id = 'desk-agent' RETURNING id",
        answer: (401, "invalid_client"),
    },
    Change {
        name: "ceiling narrowed",
        sql: "UPDATE client SET audiences = '[\"https://other.example\"]', version = version + 1 WHERE client_id = 'desk-agent' RETURNING id",
        undo: "UPDATE client SET audiences = '[\"*\"]', version = version + 1 WHERE client_id = 'desk-agent' RETURNING id",
        answer: (400, "invalid_target"),
    },
    Change {
        name: "grant taken away",
        sql: "UPDATE client SET grant_types = '[\"authorization_code\"]', version = version + 1 WHERE client_id = 'desk-agent' RETURNING id",
        undo: "UPDATE client SET grant_types = '[\"urn:ietf:params:oauth:grant-type:token-exchange\"]', version = version + 1 WHERE client_id = 'desk-agent' RETURNING id",
        answer: (400, "unauthorized_client"),
    },
    Change {
        name: "secret replaced",
        sql: "UPDATE client SET secret_hash = secret_hash || 'x', version = version + 1 WHERE client_id = 'desk-agent' RETURNING id",
        undo: "UPDATE client SET secret_hash = SUBSTR(secret_hash, 1, 43), version = version + 1 WHERE client_id = 'desk-agent' RETURNING id",
        answer: (401, "invalid_client"),
    },
    Change {
        name: "service changed",
        sql: "UPDATE service SET scopes = '[\"api.write\"]', version = version + 1 RETURNING id",
        undo: "UPDATE service SET scopes = '[]', version = version + 1 RETURNING id",
        answer: (400, "invalid_scope"),
    },
    // No flow of ours leaves a consent standing under a record that has ended.
    Change {
        name: "only the record ended",
        sql: "UPDATE delegation SET ended_at = 1 RETURNING id",
        undo: "UPDATE delegation SET ended_at = NULL RETURNING id",
        answer: (503, "temporarily_unavailable"),
    },
    Change {
        name: "key retired",
        sql: "UPDATE signing_key SET state = 'retiring' RETURNING kid",
        undo: "UPDATE signing_key SET state = 'active' RETURNING kid",
        answer: (500, "server_error"),
    },
    Change {
        name: "consent ended",
        sql: "UPDATE consent SET ended_at = 1 RETURNING id",
        undo: "UPDATE consent SET ended_at = NULL RETURNING id",
        answer: (400, "consent_required"),
    },
];

both! {
    async fn no_stale_fact_authorises(world: World) {
        let (_, tokens, ..) = world.delegated().await;
        for Change { name, sql, undo, answer } in CHANGES {
            // The cached client is as old as it may get; it is what authenticates, not what authorises.
            world.clock.advance(2);
            let (status, body) = world.exchange("desk-agent", &tokens, &[]).await;
            assert_eq!(status, 200, "before: {name}: {body}");
            let before = journal(&world).await.len();
            assert!(is_warm(&world, &tokens), "{name}");
            world.database.column(sql).await;
            let (status, body) = world.exchange("desk-agent", &tokens, &[]).await;
            assert_eq!((status, body["error"].as_str()), (answer.0, Some(answer.1)), "{name}: {body}");
            assert_eq!(journal(&world).await.len(), before, "{name}");
            world.database.column(undo).await;
        }
    }
}

both! {
    async fn changed_facts_are_told_as_they_are(world: World) {
        let (_, tokens, ..) = world.delegated().await;
        let minted = async || {
            let (status, body) = world.exchange("desk-agent", &tokens, &[]).await;
            assert_eq!(status, 200, "{body}");
            let token = body["access_token"].as_str().unwrap().to_owned();
            (jsonwebtoken::decode_header(&token).unwrap().kid.unwrap(), claims(&token))
        };
        world.clock.advance(3);
        let (kid, _) = minted().await;
        assert!(is_warm(&world, &tokens));
        // Another replica saw the user sign in again, and applied a new name.
        world.database.column("UPDATE session SET auth_time = auth_time + 2 RETURNING id").await;
        assert_eq!(minted().await.1["auth_time"], NOW + 2);
        assert!(is_warm(&world, &tokens));
        world.database.column("UPDATE account SET name = 'Alice B. Example', version = version + 1 RETURNING id").await;
        assert_eq!(minted().await.1["name"], "Alice B. Example");

        // Another replica rotated the key.
        assert!(is_warm(&world, &tokens));
        let (key, sealed) = SigningKey::generate(&world.app.sealing, &world.app.issuer_id, &world.app.rng).unwrap();
        world.database.column("UPDATE signing_key SET state = 'retiring' RETURNING kid").await;
        let mut tx = world.app.store.begin().await.unwrap();
        assert!(tx.add_active_key(key.kid(), &key.public_jwk().to_string(), &sealed, NOW).await.unwrap());
        tx.commit().await.unwrap();
        let (signed_by, _) = minted().await;
        assert_eq!(signed_by, key.kid());
        assert_ne!(signed_by, kid);
    }
}
