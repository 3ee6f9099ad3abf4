//! Another sealing key: everything goes on meanwhile, and nothing is left behind.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use avouch::domain::ids::SealingKeyId;
use avouch::domain::rotation::SigningAlg;
use avouch::flow::reseal::{self, Progress, Report, ResealError};
use avouch::flow::{rotate, sealing};
use avouch::jose::SealingKey;

use crate::harness::{ALICE, Answer, BOB, PASSWORD, World, both, declarations};
use crate::keys::{key_set, signed_by};
use crate::paths::add;
use crate::sign_in::attempt;
use crate::throttle::known;

fn file(world: &World, name: &str) -> PathBuf {
    PathBuf::from(world.database.keys()).join(name)
}

fn id_of(world: &World, name: &str) -> String {
    SealingKey::from_bytes(&fs::read(file(world, name)).unwrap()).unwrap().id().as_str().to_owned()
}

/// What sealing keys open something.
async fn sealed_by(world: &World) -> Vec<String> {
    world.database.column("SELECT DISTINCT sealed_by FROM signing_key WHERE sealed_by IS NOT NULL ORDER BY 1").await
}

async fn run(world: &World) -> Result<Report, ResealError> {
    reseal::run(&world.host, false, |_| {}).await
}

async fn refused(world: &World) -> String {
    let error = run(world).await.unwrap_err();
    assert!(matches!(error, ResealError::Stopped(_)), "{error:?}");
    error.to_string()
}

/// Where a page's forms for ending sessions go.
fn ends(page: &Answer) -> Vec<String> {
    let paths =
        page.body.split('"').filter(|part| part.starts_with("/connections/sessions/") && part.ends_with("/end"));
    paths.map(str::to_owned).collect()
}

async fn ready(world: &World) -> Answer {
    Answer::read(world.http.get(format!("{}/readyz", world.url)).send().await.unwrap()).await
}

both! {
    async fn everything_goes_on_under_another_sealing_key(world: World) {
        for id in ["acme", "bean", "cork"] {
            add(&world, id).await;
        }
        rotate::prepare(&world.host, "acme", SigningAlg::Es256).await.unwrap();
        let (browser, tokens, ..) = world.delegated().await;
        let mine = known(&world, ALICE).await;
        let old = id_of(&world, "sealing.key");
        assert_eq!(sealed_by(&world).await, std::slice::from_ref(&old));
        for _ in 0..2 {
            world.signed_in(ALICE).await;
        }
        let page = browser.get("/connections").await;
        let ends = ends(&page);
        assert_eq!(ends.len(), 4, "this one, which is the oldest, comes last: {ends:?}");

        let would = reseal::run(&world.host, true, |_| {}).await.unwrap();
        assert_eq!((would.resealed, would.to.is_none(), would.from.as_str()), (5, true, old.as_str()));
        assert!(!file(&world, "sealing-next.key").exists(), "nothing was made");
        let (path, made) = reseal::prepare(&world.host.sealing.given(), &world.host.rng).unwrap();
        assert_eq!((path, made), (file(&world, "sealing-next.key"), true));
        assert_eq!(fs::metadata(file(&world, "sealing-next.key")).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!reseal::prepare(&world.host.sealing.given(), &world.host.rng).unwrap().1, "once");
        let new = id_of(&world, "sealing-next.key");
        // It has both, and does not hear which of them seals.
        let other = world.replica(&declarations(&world.service.url)).await;

        let mut seen = Vec::new();
        let report = reseal::run(&world.host, false, |progress| {
            if let Progress::Resealed(done, all) = progress {
                seen.push((done, all));
            }
        });
        let report = report.await.unwrap();
        assert_eq!((report.resealed, report.to.as_ref().map(SealingKeyId::as_str)), (5, Some(new.as_str())));
        assert_eq!((seen, report.to_do.len(), report.unopened.len()), (vec![(5, 5)], 0, 0), "{:?}", report.to_do);
        assert_eq!(sealed_by(&world).await, std::slice::from_ref(&new));
        assert_eq!((id_of(&world, "sealing.key"), id_of(&world, &format!("sealing-{old}.key"))), (new.clone(), old.clone()));
        assert!(!file(&world, "sealing-next.key").exists());

        // The other one goes by what it has in memory, and makes keys that are sealed by what the database says.
        assert_eq!(signed_by(&other, &tokens).await, key_set(&world).await.0[0]);
        rotate::prepare(&other.host, "bean", SigningAlg::Es256).await.unwrap();
        add(&other, "dawn").await;
        assert_eq!(sealed_by(&world).await, std::slice::from_ref(&new));
        // Pages of before and browsers of before are taken, there and here.
        for (at, end) in [&other, &world].into_iter().zip(&ends) {
            let answer = browser.at(at).submit(&page, end, &[]).await;
            assert_eq!(answer.status, 303, "{}", answer.body);
        }
        for _ in 0..6 {
            attempt(&world.browser(), ALICE, "wrong").await;
        }
        assert_eq!(attempt(&world.browser(), ALICE, PASSWORD).await.status, 429);
        assert_eq!(attempt(&mine, ALICE, PASSWORD).await.status, 303, "it is known");
        // And the next start finds all of it.
        for at in [&world, &other] {
            sealing::follow(&at.host).await.unwrap();
            assert_eq!(at.host.sealing.keys().first().id().as_str(), new);
            at.host.issuers.clear();
            signed_by(at, &tokens).await;
        }
        let third = world.replica(&declarations(&world.service.url)).await;
        signed_by(&third, &tokens).await;
        let kinds = world.database.column("SELECT kind FROM journal WHERE kind LIKE 'reseal%' ORDER BY id").await;
        assert_eq!(kinds, ["reseal.began", "reseal.ended"]);
        let bodies = world.database.column("SELECT body FROM journal WHERE kind LIKE 'reseal%' ORDER BY id").await;
        assert_eq!(bodies[0], format!(r#"{{"from":"{old}","to":"{new}"}}"#));
        assert_eq!(bodies[1], format!(r#"{{"retired":["{old}"],"to":"{new}"}}"#));

        // Once the old key is gone, what it has made is worth nothing.
        fs::remove_file(file(&world, &format!("sealing-{old}.key"))).unwrap();
        let fourth = world.replica(&declarations(&world.service.url)).await;
        assert_eq!(browser.at(&fourth).submit(&page, &ends[2], &[]).await.status, 403);
        signed_by(&fourth, &tokens).await;
    }
}

both! {
    async fn what_was_cut_short_is_gone_on_with(world: World) {
        for id in ["acme", "bean"] {
            add(&world, id).await;
        }
        let old = id_of(&world, "sealing.key");
        reseal::prepare(&world.host.sealing.given(), &world.host.rng).unwrap();
        let new = SealingKeyId::from(id_of(&world, "sealing-next.key"));
        // Announced; then another one instead, for somebody has lost the first.
        let announce = async |id: &SealingKeyId| {
            let mut tx = world.app.store.begin().await.unwrap();
            tx.touch_issuer().await.unwrap();
            assert!(tx.announce_sealing_key(id, world.clock.now()).await.unwrap());
            tx.commit().await.unwrap();
        };
        announce(&"lost".into()).await;
        sealing::follow(&world.host).await.unwrap();
        assert_eq!(ready(&world).await.status, 200, "nothing is sealed by it");
        announce(&new).await;
        // It seals, and a row or none is sealed by it.
        let mut tx = world.app.store.begin().await.unwrap();
        assert!(tx.switch_sealing_key(&new, world.clock.now()).await.unwrap());
        tx.commit().await.unwrap();
        rotate::prepare(&world.host, "acme", SigningAlg::Es256).await.unwrap();
        assert_eq!(sealed_by(&world).await.len(), 2);
        // A start between is one like any other.
        let other = world.replica(&declarations(&world.service.url)).await;
        let (one, two) = tokio::join!(run(&world), run(&other));
        assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
        assert_eq!(one.unwrap().resealed + two.unwrap().resealed, 3, "each key once");
        assert_eq!(sealed_by(&world).await, [new.as_str()]);
        assert_eq!((id_of(&world, "sealing.key").as_str(), id_of(&world, &format!("sealing-{old}.key"))), (new.as_str(), old.clone()));
        // Cut short before the files were moved.
        fs::rename(file(&world, "sealing.key"), file(&world, "sealing-next.key")).unwrap();
        fs::rename(file(&world, &format!("sealing-{old}.key")), file(&world, "sealing.key")).unwrap();
        let other = world.replica(&declarations(&world.service.url)).await;
        assert_eq!(run(&other).await.unwrap().resealed, 0);
        assert_eq!((id_of(&world, "sealing.key").as_str(), id_of(&world, &format!("sealing-{old}.key"))), (new.as_str(), old));
        assert!(!file(&world, "sealing-next.key").exists());
        let kinds = world.database.column("SELECT kind FROM journal WHERE kind LIKE 'reseal%' ORDER BY id").await;
        assert_eq!(kinds, ["reseal.ended"]);
    }
}

both! {
    async fn a_backup_of_before_is_sealed_anew(world: World) {
        let first = id_of(&world, "sealing.key");
        let rows = "SELECT kid || ' ' || sealed FROM signing_key";
        let of_before = world.database.column(rows).await;
        run(&world).await.unwrap();
        let second = id_of(&world, "sealing.key");
        assert_ne!(world.database.column(rows).await, of_before);
        // What the tables said then.
        let (kid, sealed) = of_before[0].split_once(' ').unwrap();
        for sql in [
            format!("UPDATE signing_key SET sealed = '{sealed}', sealed_by = '{first}' WHERE kid = '{kid}' RETURNING kid"),
            "DELETE FROM sealing_key RETURNING id".to_owned(),
            format!("INSERT INTO sealing_key (id, state, since) VALUES ('{first}', 'current', 0) RETURNING id"),
        ] {
            assert!(!world.database.column(&sql).await.is_empty(), "{sql}");
        }
        let restored = world.replica(&declarations(&world.service.url)).await;
        let report = run(&restored).await.unwrap();
        assert_eq!((report.from.as_str(), report.to.unwrap().as_str(), report.resealed), (first.as_str(), second.as_str(), 1));
        assert_eq!(sealed_by(&world).await, [second]);
        restored.host.issuers.clear();
        assert_eq!(key_set(&restored).await.0.len(), 1);
    }
}

both! {
    async fn a_key_that_does_not_fit_changes_nothing(world: World) {
        let first = fs::read(file(&world, "sealing.key")).unwrap();
        let write = |bytes: &[u8], mode: u32| {
            fs::write(file(&world, "sealing-next.key"), bytes).unwrap();
            fs::set_permissions(file(&world, "sealing-next.key"), fs::Permissions::from_mode(mode)).unwrap();
        };
        let before = sealed_by(&world).await;
        write(&first, 0o600);
        assert!(refused(&world).await.contains("is the same key as"));
        for (bytes, mode, says) in [(&first[..31], 0o600, "32"), (&[], 0o600, "32"), (&[7; 32][..], 0o644, "chmod 600")] {
            write(bytes, mode);
            let error = run(&world).await.unwrap_err();
            assert!(matches!(error, ResealError::KeyFile(_)), "{error:?}");
            let text = error.to_string();
            assert!(text.contains(says) && text.contains("sealing-next.key"), "{text}");
        }
        assert_eq!(sealed_by(&world).await, before);
        fs::remove_file(file(&world, "sealing-next.key")).unwrap();
        run(&world).await.unwrap();
        write(&first, 0o600);
        let text = refused(&world).await;
        assert!(text.contains("which was used before"), "{text}");
        assert_eq!(sealed_by(&world).await, [id_of(&world, "sealing.key")]);
    }
}

both! {
    async fn nothing_is_sealed_by_a_key_that_a_server_lacks(world: World) {
        let before = sealed_by(&world).await;
        let held: Vec<SealingKeyId> = world.host.sealing.keys().ids().cloned().collect();
        let beat = async || {
            let mut tx = world.host.database.begin().await.unwrap();
            tx.server_runs("s", "web-2 (process 7)", &held, world.clock.now()).await.unwrap();
            tx.commit().await.unwrap();
        };
        beat().await;
        let would = reseal::run(&world.host, true, |_| {}).await.unwrap();
        assert_eq!(would.servers_without, ["web-2 (process 7)"]);
        let beating = async {
            loop {
                beat().await;
                tokio::task::yield_now().await;
            }
        };
        let text = tokio::select! {
            text = refused(&world) => text,
            () = beating => unreachable!(),
        };
        assert!(text.contains("web-2 (process 7)") && text.contains("have not got it"), "{text}");
        assert_eq!(sealed_by(&world).await, before);
        assert_eq!(world.database.column("SELECT state FROM sealing_key ORDER BY state").await, ["current", "next"]);
        // As soon as it has it, the next run goes through.
        let held = [held[0].clone(), id_of(&world, "sealing-next.key").into()];
        let mut tx = world.host.database.begin().await.unwrap();
        tx.server_runs("s", "web-2 (process 7)", &held, world.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        run(&world).await.unwrap();
        assert_eq!(sealed_by(&world).await, [held[1].as_str()]);
    }
}

both! {
    async fn what_does_not_open_is_named_and_left(world: World) {
        for id in ["acme", "bean"] {
            add(&world, id).await;
        }
        let old = id_of(&world, "sealing.key");
        let sealed = world.database.column("SELECT sealed FROM signing_key WHERE issuer_id = 'acme'").await.remove(0);
        for (n, wrong) in [
            format!("'{}'", crate::keys::altered(&sealed)),
            format!("'{}'", &sealed[..60]),
            "(SELECT sealed FROM signing_key WHERE issuer_id = 'default')".to_owned(),
        ].into_iter().enumerate() {
            world.database.column(&format!("UPDATE signing_key SET sealed = {wrong} WHERE issuer_id = 'acme' RETURNING kid")).await;
            let report = run(&world).await.unwrap();
            assert_eq!(report.resealed, if n == 0 { 2 } else { 0 }, "the others go on");
            assert!(report.unopened.len() == 1 && report.unopened[0].contains("of issuer acme"), "{:?}", report.unopened);
            assert_eq!(id_of(&world, "sealing.key"), old, "the old key stays where it is");
        }
        assert_eq!(sealed_by(&world).await.len(), 2);
        let fetch = async || world.http.get(format!("{}/acme/jwks.json", world.url)).send().await.unwrap().status().as_u16();
        world.host.issuers.clear();
        assert_eq!(fetch().await, 500);
        let said = ready(&world).await;
        assert!(said.status == 200 && said.body.contains("a signing key does not open") && said.body.contains("acme"), "{}", said.body);
        world.database.column(&format!("UPDATE signing_key SET sealed = '{sealed}' WHERE issuer_id = 'acme' RETURNING kid")).await;
        assert_eq!(fetch().await, 200);
        assert!(!ready(&world).await.body.contains("warning"), "it opens again");
        let report = run(&world).await.unwrap();
        assert_eq!((report.resealed, report.unopened.len()), (1, 0));
        assert_eq!(sealed_by(&world).await, [id_of(&world, "sealing.key")]);
    }
}

both! {
    async fn a_server_without_the_sealing_key_is_not_ready(world: World) {
        assert_eq!(ready(&world).await.status, 200);
        let old = id_of(&world, "sealing.key");
        fs::write(file(&world, "elsewhere"), [9; 32]).unwrap();
        let new = id_of(&world, "elsewhere");
        world.database.column(&format!("UPDATE sealing_key SET id = '{new}' RETURNING id")).await;
        let (log, guard) = crate::harness::Log::keep(tracing::level_filters::LevelFilter::ERROR);
        for _ in 0..3 {
            sealing::follow(&world.host).await.unwrap();
        }
        let said = ready(&world).await;
        assert!(said.status == 503 && said.body.contains(&new), "{}", said.body);
        assert_eq!(log.text().matches("which this server has not got").count(), 1, "once: {}", log.text());
        drop(guard);
        let failed = rotate::prepare(&world.host, "default", SigningAlg::Es256).await.unwrap_err();
        assert!(failed.to_string().contains("sealing key is not here"), "nothing is sealed by another: {failed}");
        // Somebody brings it.
        fs::rename(file(&world, "elsewhere"), file(&world, "sealing-next.key")).unwrap();
        fs::set_permissions(file(&world, "sealing-next.key"), fs::Permissions::from_mode(0o600)).unwrap();
        sealing::follow(&world.host).await.unwrap();
        assert_eq!(ready(&world).await.status, 200);
        rotate::prepare(&world.host, "default", SigningAlg::Es256).await.unwrap();
        assert_eq!(sealed_by(&world).await.len(), 2);
        assert!(sealed_by(&world).await.contains(&old));
        assert_eq!(attempt(&world.browser(), BOB, PASSWORD).await.status, 303);
    }
}
