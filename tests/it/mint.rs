//! The mint path: a `once` is once, mints share transactions, and no stale fact authorises.

use std::future::{Future as _, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use avouch::domain::exchange::Request;
use avouch::domain::ids::{Audience, ClientId, Jti};
use avouch::domain::rotation::SigningAlg;
use avouch::domain::scope::Scope;
use avouch::domain::time::Seconds;
use avouch::flow::rotate::{self, Reason, Rotated};
use avouch::store::{Mint, Outcome, StoreError, SubjectToken, UnspentJti};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::harness::{ALICE, Engine, NOW, World, both, claims, eventually};

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

/// Whether the client is in the cache: where it is not, a refusal does not prove that the transaction looks at it again.
pub(crate) fn is_warm(world: &World) -> bool {
    let key = (world.app.issuer.id.clone(), ClientId::parse("desk-agent").unwrap());
    world.app.clients.get(&key, world.host.database.client_changes(), world.clock.now()).is_some()
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
        assert_eq!(world.database.column("SELECT last_exp FROM delegation").await, [(NOW + Seconds(300)).to_string()]);
    }
}

/// What `World::exchange` of `desk-agent` submits, for the tokens of its last sign-in.
pub(crate) async fn prepared(world: &World) -> Mint {
    let hash = "SELECT t.hash FROM access_token t JOIN token_family f ON f.id = t.family_id JOIN client k ON k.id = f.client_id
                 WHERE k.client_id = 'desk-agent' ORDER BY f.id DESC";
    let client =
        world.app.store.read().await.unwrap().client(&ClientId::parse("desk-agent").unwrap()).await.unwrap().unwrap();
    let request = Request {
        audience: Audience::parse(&world.service.url).unwrap(),
        asked_as: None,
        resources: Vec::new(),
        scope: Some(Scope::stored("api.read")),
        agent_platform: None,
        agent_context_id: None,
    };
    Mint {
        client: Arc::new(client),
        subject: SubjectToken::Access { hash: world.database.column(hash).await.remove(0) },
        request: Arc::new(request),
        issuer: world.app.issuer.url.clone(),
        root: world.host.root.clone(),
        provider_client_id: world.app.issuer.client_id.clone(),
        kid: world.app.issuer.ring.active.kid().to_owned(),
        rs256_kid: None,
        jti: world.app.rng.jti(),
        entry_id: world.app.id(),
        now: world.clock.now(),
    }
}

/// The same again, as another one.
pub(crate) fn another(world: &World, mint: &Mint) -> Mint {
    Mint { jti: world.app.rng.jti(), entry_id: world.app.id(), ..mint.clone() }
}

pub(crate) fn is_minted(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Minted(..))
}

both! {
    async fn mints_that_wait_share_a_transaction(world: World) {
        let (_, _, delegation, _) = world.delegated().await;
        let template = prepared(&world).await;
        let before = world.host.database.batches();
        // Nothing can be taken while another transaction holds the record.
        let held = world.hold(&delegation).await;
        let waiting = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..100 {
            let mint = another(&world, &template);
            let (store, waiting) = (world.app.store.clone(), waiting.clone());
            tasks.spawn(async move {
                let mut outcome = Box::pin(store.mint(mint, None));
                let first = poll_fn(|cx| std::task::Poll::Ready(outcome.as_mut().poll(cx))).await;
                assert!(first.is_pending(), "answered before it is durable");
                waiting.fetch_add(1, Ordering::SeqCst);
                outcome.await.unwrap()
            });
        }
        eventually("a hundred mints wait", async || waiting.load(Ordering::SeqCst) == 100).await;
        assert_eq!(journal(&world).await.len(), 1);
        drop(held);
        assert!(tasks.join_all().await.iter().all(is_minted));
        let batches = world.host.database.batches() - before;
        assert!(batches <= 2, "one that was under way and one for all who waited, not {batches}");
        assert_eq!(journal(&world).await.len(), 101);
    }
}

/// Agents that ask again as soon as they are answered share one batch, and do not stay two groups that take turns, each while the other waits.
/// In one thread, where whoever is being served when a batch is answered has had their turn before the next one begins.
async fn come_together(engine: Engine) {
    const EACH: usize = 12;
    let world = World::start(engine).await;
    let (_, _, delegation, _) = world.delegated().await;
    let template = prepared(&world).await;
    let held = world.hold(&delegation).await;
    let before = world.host.database.batches();
    let waiting = Arc::new(AtomicUsize::new(0));
    let mut agents = JoinSet::new();
    for group in 1..=2 {
        for _ in 0..8 {
            let mints: Vec<Mint> = (0..EACH).map(|_| another(&world, &template)).collect();
            let (store, waiting) = (world.app.store.clone(), waiting.clone());
            agents.spawn(async move {
                waiting.fetch_add(1, Ordering::SeqCst);
                for mint in mints {
                    assert!(is_minted(&store.mint(mint, None).await.unwrap()));
                }
            });
        }
        eventually("the group waits", async || waiting.load(Ordering::SeqCst) == group * 8).await;
        eventually("the first is under way", async || world.host.database.batches() > before).await;
    }
    drop(held);
    agents.join_all().await;
    let batches = usize::try_from(world.host.database.batches() - before).unwrap();
    assert!(batches <= EACH + 2, "{batches} batches, where two groups in turn would have taken {}", 2 * EACH);
}

#[tokio::test]
async fn those_who_ask_again_share_a_transaction_on_sqlite() {
    come_together(Engine::Sqlite).await;
}

#[tokio::test]
async fn those_who_ask_again_share_a_transaction_on_postgresql() {
    come_together(Engine::Postgres).await;
}

both! {
    async fn a_once_named_by_several_in_one_transaction_is_the_first_one_s(world: World) {
        let (browser, tokens, delegation, _) = world.delegated().await;
        let always = prepared(&world).await;
        let write = [("scope", "api.write")];
        world.agree(&browser, "desk-agent", &tokens, "once", &write).await;
        let write = Arc::new(Request { scope: Some(Scope::stored("api.write")), ..(*always.request).clone() });
        let held = world.hold(&delegation).await;
        // The first is under way alone; those who come now share the next transaction.
        let mut waiting = Vec::new();
        for n in 0..6 {
            let mut mint = another(&world, &always);
            if n > 0 {
                mint.request = write.clone();
            }
            let batches = world.host.database.batches();
            let mut outcome = Box::pin(world.app.store.mint(mint, None));
            assert!(poll_fn(|cx| std::task::Poll::Ready(outcome.as_mut().poll(cx))).await.is_pending());
            if n == 0 {
                eventually("the first is under way", async || world.host.database.batches() > batches).await;
            }
            waiting.push(outcome);
        }
        drop(held);
        let mut outcomes = Vec::new();
        for one in waiting {
            outcomes.push(one.await.unwrap());
        }
        assert!(outcomes[..2].iter().all(is_minted), "{outcomes:?}");
        assert!(outcomes[2..].iter().all(|o| matches!(o, Outcome::Ask(_))), "{outcomes:?}");
        assert_eq!(journal(&world).await.len(), 3);
    }
}

both! {
    async fn whoever_hangs_up_leaves_a_whole_row_or_none(world: World) {
        let (_, _, delegation, _) = world.delegated().await;
        let template = prepared(&world).await;
        let held = world.hold(&delegation).await;
        let mut asked = Box::pin(world.app.store.mint(another(&world, &template), None));
        assert!(poll_fn(|cx| std::task::Poll::Ready(asked.as_mut().poll(cx))).await.is_pending());
        drop(asked);
        drop(held);
        assert!(is_minted(&world.app.store.mint(template, None).await.unwrap()), "the next is served");
        let used: usize = world.database.column("SELECT mint_count FROM delegation").await[0].parse().unwrap();
        assert_eq!(used, journal(&world).await.len());
    }
}

both! {
    async fn a_value_that_cannot_be_stored_harms_only_its_own(world: World) {
        world.delegated().await;
        let (store, template) = (world.app.store.clone(), prepared(&world).await);
        let jti = |jti: &str| UnspentJti::new("c".into(), Jti::parse(jti).unwrap(), NOW);
        let (mut mints, mut spent) = (JoinSet::new(), JoinSet::new());
        let mut held = store.begin().await.unwrap();
        held.touch_issuer().await.unwrap();
        for n in 0..50 {
            let mut mint = another(&world, &template);
            if n == 25 {
                mint.subject = SubjectToken::Access { hash: "a\0b".into() };
            }
            let (here, of_mint) = (store.clone(), jti(&format!("mint {n}")));
            mints.spawn(async move { (n, here.mint(mint, Some(of_mint)).await) });
            let (here, alone) = (store.clone(), jti(&format!("jti {n}")));
            spent.spawn(async move { (n, here.spend(alone).await) });
        }
        drop(held);
        for (n, outcome) in mints.join_all().await {
            match outcome {
                Ok(outcome) => assert!(n != 25 && is_minted(&outcome), "{n}: {outcome:?}"),
                Err(error) => assert!(n == 25 && matches!(error, StoreError::Unstorable), "{n}: {error}"),
            }
        }
        for (n, first) in spent.join_all().await {
            assert!(matches!(first, Ok(true)), "{n}");
        }
        assert!(!store.spend(jti("mint 25")).await.unwrap(), "who it was is judged before what was asked");
    }
}

both! {
    async fn a_row_that_cannot_be_read_harms_only_those_who_need_it(world: World) {
        world.delegated().await;
        let (store, template) = (world.app.store.clone(), prepared(&world).await);
        let other = Arc::new(Request { audience: Audience::parse("https://other.example").unwrap(), ..(*template.request).clone() });
        world.database.column("UPDATE service SET scopes = 'nonsense' RETURNING id").await;
        let mut held = store.begin().await.unwrap();
        held.touch_issuer().await.unwrap();
        let mut mints = JoinSet::new();
        for n in 0..20 {
            let mut mint = another(&world, &template);
            if n % 2 == 0 {
                mint.request = other.clone();
            }
            let store = store.clone();
            mints.spawn(async move { (n, store.mint(mint, None).await) });
        }
        drop(held);
        for (n, outcome) in mints.join_all().await {
            let expected = if n % 2 == 0 { matches!(outcome, Ok(Outcome::Unknown)) } else { matches!(outcome, Err(StoreError::Broken("scopes"))) };
            assert!(expected, "{n}: {outcome:?}");
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
        sql: "UPDATE account SET stopped_at = 1 WHERE email = 'alice@example.com' RETURNING id",
        undo: "UPDATE account SET stopped_at = NULL WHERE email = 'alice@example.com' RETURNING id",
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
        sql: "UPDATE client SET stopped_at = 1 WHERE client_id = 'desk-agent' RETURNING id",
        undo: "UPDATE client SET stopped_at = NULL WHERE client_id = 'desk-agent' RETURNING id",
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
            world.clock.advance(Seconds(2));
            let (status, body) = world.exchange("desk-agent", &tokens, &[]).await;
            assert_eq!(status, 200, "before: {name}: {body}");
            let before = journal(&world).await.len();
            assert!(is_warm(&world), "{name}");
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
        world.clock.advance(Seconds(3));
        let (kid, _) = minted().await;
        // Another replica saw the user sign in again, and applied a new name.
        world.database.column("UPDATE session SET auth_time = auth_time + 2 RETURNING id").await;
        assert_eq!(minted().await.1["auth_time"], (NOW + Seconds(2)).0);
        world.database.column("UPDATE account SET name = 'Alice B. Example', version = version + 1 RETURNING id").await;
        assert_eq!(minted().await.1["name"], "Alice B. Example");

        // Another replica rotated the key.
        let reason = Reason::parse("a test").unwrap();
        let rotated = rotate::rotate(&world.app.host, &world.app.issuer.id, SigningAlg::Es256, Some(&reason)).await;
        let Rotated::Activated(key) = rotated.unwrap() else { panic!("with a reason it signs at once") };
        let (signed_by, _) = minted().await;
        assert_eq!(signed_by, key.as_str());
        assert_ne!(signed_by, kid);
    }
}
