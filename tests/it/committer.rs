//! The committer: what shares a batch shares neither a verdict nor a row.

use std::sync::Arc;

use avouch::domain::exchange::Request;
use avouch::domain::ids::{Audience, IssuerUrl, Subject};
use avouch::domain::refusal::Refusal;
use avouch::domain::scope::Scope;
use avouch::store::{Mint, Outcome, SubjectToken};
use tokio::task::JoinSet;

use crate::harness::{Engine, World, both, eventually};
use crate::mint::{another, is_minted, prepared};

fn asked(mint: &mut Mint, change: impl FnOnce(&mut Request)) {
    change(Arc::make_mut(&mut mint.request));
}

/// A name, what is spoilt, and what has to come of it.
type Spoilt = (&'static str, fn(&mut Mint), fn(&Outcome) -> bool);

const SPOILT: [Spoilt; 12] = [
    ("no such token", |m| m.subject = SubjectToken::Access { hash: "another".into() }, is_nobody),
    (
        "no such session",
        |m| {
            m.subject = SubjectToken::Id {
                session_id: "another".into(),
                sub: Subject::parse("another").unwrap(),
                kid: m.kid.clone(),
            }
        },
        is_nobody,
    ),
    ("another's token", |m| Arc::make_mut(&mut m.client).key = "another".into(), is_unknown),
    ("a newer client", |m| Arc::make_mut(&mut m.client).version += 1, |o| matches!(o, Outcome::ClientChanged)),
    ("an older client", |m| Arc::make_mut(&mut m.client).version -= 1, |o| matches!(o, Outcome::ClientChanged)),
    ("another key", |m| m.kid = "another".into(), |o| matches!(o, Outcome::IssuerChanged)),
    (
        "another service",
        |m| asked(m, |r| r.audience = Audience::parse("https://other.example").unwrap()),
        |o| matches!(o, Outcome::Unknown),
    ),
    (
        "beyond the ceiling",
        |m| asked(m, |r| r.audience = Audience::parse("https://third.example").unwrap()),
        is_too_far,
    ),
    ("more than was given", |m| asked(m, |r| r.scope = Some(Scope::stored("api.write"))), is_open),
    (
        "what is not there",
        |m| asked(m, |r| r.scope = Some(Scope::stored("admin"))),
        |o| matches!(o, Outcome::Refused(Refusal::ScopeNotGrantable(_))),
    ),
    (
        "another resource",
        |m| asked(m, |r| r.resources = vec!["https://other.example/".into()]),
        |o| matches!(o, Outcome::Refused(Refusal::ResourceNotOfAudience)),
    ),
    (
        "ourselves",
        |m| m.issuer = IssuerUrl::parse(m.request.audience.as_str()).unwrap(),
        |o| matches!(o, Outcome::Refused(Refusal::AudienceOwn)),
    ),
];

fn is_nobody(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Refused(Refusal::SubjectToken(_)))
}

fn is_unknown(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Refused(Refusal::ClientAuthenticationFailed))
}

fn is_open(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Ask(_))
}

fn is_too_far(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Refused(Refusal::AudienceNotAllowed))
}

both! {
    async fn each_of_a_batch_is_judged_by_what_it_rests_on(world: World) {
        world.delegated().await;
        let entries = async || world.database.column("SELECT id FROM journal WHERE kind = 'assertion' ORDER BY id").await;
        let before = entries().await.len();
        let good = prepared(&world).await;
        let mut mints = JoinSet::new();
        let mut expected = Vec::new();
        for n in 0..4 * SPOILT.len() {
            let mut mint = another(&world, &good);
            let (name, spoil, outcome) = SPOILT[n / 4];
            let spoilt = n % 4 == 3;
            if spoilt {
                spoil(&mut mint);
            } else {
                expected.push(mint.entry_id.clone());
            }
            let store = world.app.store.clone();
            mints.spawn(async move {
                let came = store.mint(mint, None).await.unwrap();
                assert!(if spoilt { outcome(&came) } else { is_minted(&came) }, "{name} {n}: {came:?}");
            });
        }
        mints.join_all().await;
        let entries = entries().await;
        assert_eq!(entries.len(), before + expected.len(), "every mint has a row of its own, and what was refused has none");
        assert!(expected.iter().all(|id| entries.contains(id)));
        assert_eq!(world.database.column("SELECT mint_count FROM delegation").await, [entries.len().to_string()], "every mint counts");
    }
}

/// What appears while the locks are waited for is read, but not locked: it decides in the next batch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_locked_decides_nothing() {
    let world = World::start(Engine::Postgres).await;
    let (_, _, delegation, _) = world.delegated().await;
    let good = prepared(&world).await;
    // A backend that waits for a row, and has looked at ours.
    let waits = "SELECT COUNT(*) FROM pg_locks w JOIN pg_locks r ON r.pid = w.pid AND r.relation = 'delegation'::regclass WHERE NOT w.granted";
    for appears in [false, true] {
        let held = world.hold(&delegation).await;
        let before = world.host.database.batches();
        let (store, mint) = (world.app.store.clone(), another(&world, &good));
        let mint = tokio::spawn(async move { store.mint(mint, None).await.unwrap() });
        eventually("the batch waits", async || world.database.column(waits).await != ["0"]).await;
        if appears {
            // No statement that began before sees it.
            let columns = "delegation_id, account_id, client_id, aud, mode, asked_scope, scope, resources, claims, ground, request_key, session_id, number, created_at";
            let again = format!(
                "INSERT INTO consent (id, issuer_id, {columns}) SELECT 'again', issuer_id, {columns} FROM consent RETURNING id"
            );
            world.database.column(&again).await;
            world.database.column("UPDATE consent SET ended_at = 1 WHERE id <> 'again' RETURNING id").await;
        }
        drop(held);
        assert!(is_minted(&mint.await.unwrap()));
        assert_eq!(world.host.database.batches() - before, 1 + u64::from(appears));
    }
    let used = "SELECT consent_id FROM journal WHERE kind = 'assertion' ORDER BY at, id DESC";
    assert!(world.database.column(used).await.contains(&"again".to_owned()));
}
