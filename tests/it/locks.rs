//! Whoever locks several rows locks them in one order: nobody waits for ever.

use std::collections::BTreeSet;

use avouch::domain::consent::Mode;
use avouch::domain::delegation::{Part, Removed, Selection};
use avouch::domain::ids::Subject;
use avouch::domain::issuer::Origin;
use avouch::domain::ticket::Ticket;
use avouch::store::{Outcome, Store, StoreError};
use tokio::task::JoinSet;

use crate::harness::{Database, Engine, NOW};
use crate::store::{
    AUD, account_key, active_key, client, consent, family, id_of, issuer_record, key_of, looked_at, mint, open, people,
    ticket, tx,
};

const USERS: usize = 5;
const CLIENTS: [&str; 3] = ["c1", "c2", "c3"];

async fn agree(store: &Store, n: usize) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    let (account, delegation) = (account_key(n), format!("d{n}"));
    for client in CLIENTS {
        tx.lock_deciders(&account, &key_of(client), &format!("s{n}"), AUD, NOW).await?;
    }
    tx.open_delegation(&delegation, &account, "https://id.example", &Subject::parse("sub").unwrap(), AUD, NOW).await?;
    for client in CLIENTS {
        let id = format!("k{n} {client}");
        if tx.consent_mode(&id).await?.is_none() {
            let new = consent(&id, Some(&delegation), client, Mode::Always);
            tx.add_consent(&new, &account, AUD, &format!("s{n}")).await?;
        }
    }
    tx.commit().await
}

/// What a change to a user or client does: the row, then the delegations in their order.
async fn disable(store: &Store, n: usize, client: &str) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    tx.disable(&Removed::User(account_key(n)), Origin::Config, NOW).await?;
    tx.sign_out_everywhere(&account_key(n), NOW).await?;
    tx.disable(&Removed::Client(key_of(client)), Origin::Config, NOW).await?;
    let mut gone = BTreeSet::new();
    for selection in [
        Selection { client_id: Some(id_of(client)), ..Selection::default() },
        Selection { account_id: Some(account_key(n)), ..Selection::default() },
    ] {
        gone.extend(tx.standing(&selection, "", 99).await?);
    }
    let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
    tx.lock_delegations(&gone).await?;
    tx.end_consents(&gone, &Part::OfClient(key_of(client)), NOW).await?;
    // Rolled back, so that there is something to take for those who wait.
    drop(tx);
    Ok(())
}

/// Mints, withdrawals, disabling and questions of the same rows, in every order, on two servers: no deadlock, all finish.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_ever() {
    let database = Database::make(Engine::Postgres).await;
    let stores = [
        open(&database, Engine::Postgres).await.of("default".into()),
        open(&database, Engine::Postgres).await.of("default".into()),
    ];
    tx!(stores[0], |tx| {
        tx.create_issuer(&issuer_record("default")).await.unwrap();
        active_key(&mut tx).await;
    });
    looked_at(&stores[0]).await;
    for client_id in CLIENTS {
        client(&stores[0], client_id, &[AUD.to_owned()]).await;
    }
    for n in 0..USERS {
        people(&stores[0], n).await;
        for client_id in CLIENTS {
            family(&stores[0], n, client_id).await;
        }
        agree(&stores[0], n).await.unwrap();
    }
    let mut tasks: JoinSet<Result<usize, StoreError>> = JoinSet::new();
    for worker in 0..24 {
        let store = stores[worker % 2].clone();
        tasks.spawn(async move {
            let mut won = 0;
            for round in 0..20 {
                let mixed = (worker * 7 + round * 11) * 13;
                let (n, client) = (mixed % USERS, CLIENTS[mixed / USERS % CLIENTS.len()]);
                match worker {
                    0 | 1 => disable(&store, n, client).await?,
                    2 | 3 => {
                        let mut tx = store.begin().await?;
                        let id = format!("d{n}");
                        tx.lock_delegations(&[&id]).await?;
                        tx.end_consents(&[&id], &Part::Whole, NOW).await?;
                        drop(tx);
                    }
                    4 | 5 => agree(&store, n).await?,
                    6 | 7 => {
                        let mut tx = store.begin().await?;
                        tx.lock_account(&account_key(n)).await?;
                        let asked = Ticket {
                            account_id: account_key(n),
                            session_id: format!("s{n}"),
                            client_key: key_of(client),
                            ..ticket(n)
                        };
                        tx.add_ticket(&asked).await?;
                        tx.commit().await?;
                    }
                    _ => {
                        let outcome = mint(&store, n, client, &format!("{worker} {round}")).await?;
                        won += usize::from(matches!(outcome, Outcome::Minted(..)));
                    }
                }
            }
            Ok(won)
        });
    }
    let won: usize = tasks.join_all().await.into_iter().map(Result::unwrap).sum();
    assert_eq!(won, 16 * 20, "nothing that was committed spoke against one");
    assert_eq!(database.column("SELECT COUNT(*) FROM journal").await, [won.to_string()]);
}
