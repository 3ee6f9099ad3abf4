//! Signing keys: where they stand, what keeps them from moving too early, and how they move by themselves.

use avouch::domain::ids::Kid;
use avouch::domain::rotation::{KeyState, SigningAlg, kept_for};
use avouch::domain::time::{Seconds, Timestamp};
use avouch::flow::compromise::{self, Order};
use avouch::flow::rotate::{self, Reason};
use serde_json::{Value, json};

use crate::harness::{Answer, Engine, Line, NOW, World, both, declarations, eventually};

pub(crate) const DAY: Seconds = Seconds(24 * 3600);

/// What the key set says, and how long it may be kept.
pub(crate) async fn key_set(world: &World) -> (Vec<String>, String) {
    let answer = Answer::read(world.http.get(format!("{}/jwks.json", world.url)).send().await.unwrap()).await;
    let set = answer.json();
    let kids = set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned());
    (kids.collect(), answer.headers["cache-control"].to_str().unwrap().to_owned())
}

/// `kid` and state of each, the newest first.
pub(crate) async fn states(world: &World) -> Vec<(String, String)> {
    let list = world.api("GET", "/keys", &world.admin_token()).await.json();
    let text = |item: &Value, name: &str| item[name].as_str().unwrap().to_owned();
    list["items"].as_array().unwrap().iter().map(|item| (text(item, "kid"), text(item, "state"))).collect()
}

pub(crate) async fn post(world: &World, path: &str, body: &Value) -> Answer {
    let url = format!("{}/api/v1/keys/{path}", world.issuer());
    let request = world.http.post(url).bearer_auth(world.admin_token()).header("content-type", "application/json");
    Answer::read(request.body(body.to_string()).send().await.unwrap()).await
}

pub(crate) async fn signed_by(world: &World, tokens: &Value) -> String {
    let (status, body) = world.exchange("desk-agent", tokens, &[]).await;
    assert_eq!(status, 200, "{body}");
    jsonwebtoken::decode_header(body["access_token"].as_str().unwrap()).unwrap().kid.unwrap()
}

/// A sealed text of which one character is another.
pub(crate) fn altered(sealed: &str) -> String {
    let other = if &sealed[40..41] == "A" { "B" } else { "A" };
    format!("{}{other}{}", &sealed[..40], &sealed[41..])
}

/// Moves the clock, to and fro.
fn at(world: &World, time: Timestamp) {
    world.clock.advance(time - world.clock.now());
}

/// Forgets what a change has made stale, as a server does each second.
pub(crate) async fn look(world: &World) {
    avouch::flow::issuers::refresh(&world.host).await.unwrap();
}

both! {
    async fn a_rotation_by_hand(world: World) {
        let (_, tokens, ..) = world.delegated().await;
        let (first, age) = key_set(&world).await;
        assert_eq!((first.len(), age.as_str()), (1, "public, max-age=300"));
        let first = first[0].clone();

        let prepared = post(&world, "prepare", &json!({})).await;
        assert_eq!(prepared.status, 201, "{}", prepared.body);
        let second = prepared.json()["kid"].as_str().unwrap().to_owned();
        assert_eq!(prepared.json()["allowed_at"], (NOW + DAY + Seconds(5)).rfc3339());
        look(&world).await;
        assert_eq!(key_set(&world).await.0.len(), 2);
        assert_eq!(signed_by(&world, &tokens).await, first, "published, and not signing");
        let again = post(&world, "prepare", &json!({})).await;
        assert_eq!((again.status, &again.json()["code"]), (409, &json!("key_state")), "{}", again.body);

        let early = post(&world, &format!("{second}/activate"), &json!({})).await;
        assert_eq!((early.status, &early.json()["code"]), (409, &json!("key_not_yet")));
        assert_eq!(early.json()["allowed_at"], (NOW + DAY + Seconds(5)).rfc3339());
        let in_use = post(&world, &format!("{first}/retire"), &json!({"force": true, "reason": "why"})).await;
        assert_eq!((in_use.status, &in_use.json()["code"]), (409, &json!("key_state")), "never without a key that signs");

        // A day later sign-ins are over; the API goes on.
        world.clock.advance(DAY + Seconds(5));
        let active = post(&world, &format!("{second}/activate"), &json!({})).await;
        assert_eq!((active.status, &active.json()["state"]), (200, &json!("active")), "{}", active.body);
        look(&world).await;
        let browser = world.signed_in(crate::harness::ALICE).await;
        let tokens = world.tokens(&browser, "desk-agent").await;
        assert_eq!(signed_by(&world, &tokens).await, second);
        assert_eq!(key_set(&world).await.0.len(), 2, "what the first has signed is alive");
        let early = post(&world, &format!("{first}/retire"), &json!({})).await;
        assert_eq!(early.json()["allowed_at"], (world.clock.now() + kept_for()).rfc3339());
        world.clock.advance(kept_for());
        assert_eq!(post(&world, &format!("{first}/retire"), &json!({})).await.status, 200);
        look(&world).await;
        assert_eq!(key_set(&world).await.0, std::slice::from_ref(&second));
        assert_eq!(states(&world).await, [(second, "active".into()), (first.clone(), "removed".into())]);
        let sealed = world.database.column("SELECT COALESCE(sealed, 'destroyed') FROM signing_key WHERE state = 'removed'").await;
        assert_eq!(sealed, ["destroyed"]);
        let over = post(&world, &format!("{first}/activate"), &json!({})).await;
        assert_eq!((over.status, &over.json()["code"]), (409, &json!("key_state")));
        let kinds = world.database.column("SELECT kind FROM journal WHERE kind LIKE 'key.%' ORDER BY id").await;
        assert_eq!(kinds, ["key.activated", "key.prepared", "key.activated", "key.removed"]);
    }
}

both! {
    async fn force_needs_a_reason_and_says_so_in_the_journal(world: World) {
        let kid = post(&world, "prepare", &json!({})).await.json()["kid"].as_str().unwrap().to_owned();
        let path = format!("{kid}/activate");
        for (body, status) in [
            (json!({"force": true}), 400),
            (json!({"force": true, "reason": "  "}), 400),
            (json!({"force": true, "reason": "a\u{202e}b"}), 400),
            (json!({"reason": "no force"}), 400),
            (json!({"force": "yes"}), 400),
            (json!({"forced": true}), 400),
            (json!({}), 409),
        ] {
            assert_eq!(post(&world, &path, &body).await.status, status, "{body}");
        }
        assert_eq!(states(&world).await.iter().filter(|(_, state)| state == "pending").count(), 1, "nothing moved");
        let done = post(&world, &path, &json!({"force": true, "reason": "the old one was on a lost laptop"})).await;
        assert_eq!(done.status, 200, "{}", done.body);
        let bodies = world.database.column("SELECT body FROM journal WHERE kind = 'key.activated' ORDER BY id DESC LIMIT 1").await;
        assert!(bodies[0].contains(r#""early":"forced","reason":"the old one was on a lost laptop""#), "{bodies:?}");
        let first = world.database.column("SELECT body FROM journal WHERE kind = 'key.activated' ORDER BY id LIMIT 1").await;
        assert!(first[0].contains(r#""early":"first""#), "{first:?}");
    }
}

both! {
    async fn keys_rotate_by_themselves(world: World) {
        let active = || async { key_set(&world).await.0 };
        let interval = DAY * 30;
        let first = active().await;
        // Up to a tenth later than the interval says, so that issuers do not rotate all at once.
        let due = world.database.column("SELECT rotates_from FROM signing_key").await;
        let activate_at = Timestamp(due[0].parse().unwrap()) + interval;
        assert!(activate_at >= NOW + interval && activate_at <= NOW + interval + DAY * 3);
        let lead = world.host.rotation.lead();

        at(&world, activate_at - lead - Seconds(100));
        assert_eq!(key_set(&world).await.1, "public, max-age=100", "nobody keeps the set past the change");
        at(&world, activate_at - lead - Seconds(1));
        rotate::run(&world.host).await.unwrap();
        assert_eq!(active().await, first);

        world.clock.advance(Seconds(1));
        rotate::run(&world.host).await.unwrap();
        rotate::run(&world.host).await.unwrap();
        look(&world).await;
        let both = active().await;
        assert_eq!(both.len(), 2, "one successor");
        at(&world, activate_at - Seconds(1));
        rotate::run(&world.host).await.unwrap();
        assert_eq!(states(&world).await.iter().filter(|(_, state)| state == "pending").count(), 1);
        world.clock.advance(Seconds(1));
        rotate::run(&world.host).await.unwrap();
        look(&world).await;
        let states = states(&world).await;
        assert_eq!(states[0].1, "active");
        assert_eq!((states[1].0.as_str(), states[1].1.as_str()), (first[0].as_str(), "retiring"));
        world.clock.advance(kept_for());
        rotate::run(&world.host).await.unwrap();
        look(&world).await;
        assert_eq!(active().await, [states[0].0.clone()]);
        assert!(rotate::find_overdue(&world.host).await.unwrap().is_none());
        world.clock.advance(interval + DAY * 4);
        assert!(rotate::find_overdue(&world.host).await.unwrap().is_some());
        let ready = Answer::read(world.http.get(format!("{}/readyz", world.url)).send().await.unwrap()).await;
        assert_eq!(ready.status, 200);
        assert!(ready.body.contains("the rotation of a signing key is overdue by"), "{}", ready.body);
    }
}

both! {
    async fn of_two_servers_one_moves_a_key(world: World) {
        let other = world.replica(&declarations(&world.service.url)).await;
        let kid = Kid::from(post(&world, "prepare", &json!({})).await.json()["kid"].as_str().unwrap());
        world.clock.advance(DAY + Seconds(5));
        let id = &*world.app.issuer.id;
        let (one, two) = tokio::join!(
            rotate::activate(&world.host, id, &kid, None),
            rotate::activate(&other.host, id, &kid, None)
        );
        assert_eq!(usize::from(one.is_ok()) + usize::from(two.is_ok()), 1, "{one:?} {two:?}");
        let (one, two) = tokio::join!(
            rotate::prepare(&world.host, id, SigningAlg::Es256),
            rotate::prepare(&other.host, id, SigningAlg::Es256)
        );
        assert_eq!(usize::from(one.is_ok()) + usize::from(two.is_ok()), 1, "{one:?} {two:?}");
        look(&other).await;
        assert_eq!(key_set(&other).await.0.len(), 3);
    }
}

/// A server that cannot reach the database for a minute knows nothing of what others do with the keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_cut_off_signs_nothing_and_then_by_the_new_key() {
    let (world, wire) = World::by_wire().await;
    let (_, tokens, ..) = world.delegated().await;
    let (beside, id) = (world.beside().await, world.app.issuer.id.clone());
    let first = key_set(&world).await.0.remove(0);
    let second = rotate::prepare(&beside, &id, SigningAlg::Es256).await.unwrap();
    look(&world).await;
    assert_eq!(key_set(&world).await.0.len(), 2);
    world.clock.advance(DAY);
    wire.set(Line::Cut);
    let reason = Reason::parse("a stolen backup").unwrap();
    let order = Order { kid: Kid::from(first.as_str()), reason, withdraw_since: None, dry_run: false };
    compromise::run(&beside, &id, &order, |_, _| {}).await.unwrap();
    world.clock.advance(Seconds(60));
    let (status, refused) = world.exchange("desk-agent", &tokens, &[]).await;
    assert_eq!((status, &refused["error"]), (503, &json!("temporarily_unavailable")), "{refused}");
    let (kids, kept) = key_set(&world).await;
    assert!(
        kids.contains(&second.to_string()),
        "the key that signs elsewhere is in the set that is served from memory"
    );
    assert!(kept.ends_with("max-age=300"), "{kept}: nobody keeps that set for long");

    wire.set(Line::Open);
    eventually("it is ready", async || {
        world.http.get(format!("{}/readyz", world.url)).send().await.unwrap().status() == 200
    })
    .await;
    let browser = world.signed_in(crate::harness::ALICE).await;
    let tokens = world.tokens(&browser, "desk-agent").await;
    assert_eq!(signed_by(&world, &tokens).await, second.as_str(), "before it has looked");
    look(&world).await;
    assert_eq!(key_set(&world).await.0, [second.to_string()]);
}

both! {
    async fn a_clock_that_goes_back_makes_nothing_early(world: World) {
        world.clock.advance(Seconds(3600));
        let kid = Kid::from(post(&world, "prepare", &json!({})).await.json()["kid"].as_str().unwrap());
        at(&world, NOW);
        let id = &*world.app.issuer.id;
        world.clock.advance(DAY + Seconds(5));
        assert!(rotate::activate(&world.host, id, &kid, None).await.is_err(), "an hour is missing");
        world.clock.advance(Seconds(3600));
        rotate::activate(&world.host, id, &kid, None).await.unwrap();
        at(&world, NOW);
        rotate::run(&world.host).await.unwrap();
        look(&world).await;
        assert_eq!(key_set(&world).await.0.len(), 2, "nothing is removed early either");
    }
}

both! {
    async fn no_two_keys_sign(world: World) {
        let kid = Kid::from(post(&world, "prepare", &json!({})).await.json()["kid"].as_str().unwrap());
        let mut tx = world.app.store.begin().await.unwrap();
        assert!(tx.activate_key(&kid, NOW, NOW).await.is_err(), "the database refuses it");
        drop(tx);
        look(&world).await;
        assert_eq!(key_set(&world).await.0.len(), 2);
        assert_eq!(states(&world).await.iter().filter(|(_, state)| state == "active").count(), 1);
    }
}

both! {
    async fn keys_are_the_administrators(world: World) {
        let (_, tokens, ..) = world.delegated().await;
        let user = tokens["access_token"].as_str().unwrap();
        for (method, path) in [("GET", "/keys"), ("POST", "/keys/prepare"), ("POST", "/keys/x/activate"), ("POST", "/keys/x/retire")] {
            let status = world.api(method, path, user).await.status;
            assert_eq!(status, 403, "{path}");
            assert_eq!(world.api(method, path, "nobody").await.status, 401, "{path}");
        }
        for path in ["/keys/x/activate", "/keys/x/retire"] {
            assert_eq!(world.api("POST", path, &world.admin_token()).await.status, 404, "{path}");
        }
        assert_eq!(states(&world).await.len(), 1);
    }
}

both! {
    async fn a_row_that_was_altered_or_swapped_opens_nothing(world: World) {
        let reason = Reason::parse("test").unwrap();
        let add = |id: &'static str| avouch::domain::issuer::IssuerId::parse(id).unwrap();
        let looks = avouch::flow::issuers_admin::Looks {
            name: avouch::domain::display_name::DisplayName::parse("Acme").unwrap(),
            colour: None,
            logo: None,
        };
        avouch::flow::issuers_admin::add(&world.host, &add("acme"), &looks).await.unwrap();
        let jwks = async || world.http.get(format!("{}/acme/jwks.json", world.url)).send().await.unwrap().status().as_u16();
        let sealed = world.database.column("SELECT sealed FROM signing_key WHERE issuer_id = 'acme'").await.remove(0);
        let swapped = "(SELECT sealed FROM signing_key WHERE issuer_id = 'default')".to_owned();
        let altered = format!("'{}'", altered(&sealed));
        let cut = format!("'{}'", &sealed[..60]);
        for (n, wrong) in [altered, swapped, cut].iter().enumerate() {
            world.database.column(&format!("UPDATE signing_key SET sealed = {wrong} WHERE issuer_id = 'acme' RETURNING kid")).await;
            world.host.issuers.clear();
            assert_eq!(jwks().await, 500, "{n}: nothing is published that cannot sign");
        }
        assert_eq!(key_set(&world).await.0.len(), 1, "the others go on");
        world.database.column(&format!("UPDATE signing_key SET sealed = '{sealed}' WHERE issuer_id = 'acme' RETURNING kid")).await;
        assert_eq!(jwks().await, 200);
        rotate::rotate(&world.host, "acme", SigningAlg::Es256, Some(&reason)).await.unwrap();
        let of_acme = rotate::list(&world.host, "acme").await.unwrap();
        assert_eq!(of_acme.iter().filter(|listed| listed.key.state == KeyState::Retiring).count(), 1);
    }
}

/// A service that takes RS256 only, and a client that knows nothing else.
fn with_rsa(service: &str) -> String {
    let declared = declarations(service);
    let declared = declared.replacen("revocation_uri", "signing_alg = \"RS256\"\nrevocation_uri", 1);
    declared.replacen(
        "client_id = \"desk-agent\"",
        "client_id = \"desk-agent\"\nid_token_signed_response_alg = \"RS256\"",
        1,
    )
}

async fn rs256_beside_es256(engine: Engine) {
    let world = World::with(engine, with_rsa).await;
    let states = states(&world).await;
    assert_eq!(states.iter().filter(|(_, state)| state == "active").count(), 2, "one of each algorithm");
    let (_, tokens, id, assertion) = world.delegated().await;
    let set = Answer::read(world.http.get(format!("{}/jwks.json", world.url)).send().await.unwrap()).await.json();
    let set: jsonwebtoken::jwk::JwkSet = serde_json::from_value(set).unwrap();
    for token in [assertion.as_str(), tokens["id_token"].as_str().unwrap()] {
        let header = jsonwebtoken::decode_header(token).unwrap();
        assert_eq!(header.alg, jsonwebtoken::Algorithm::RS256);
        let jwk = set.find(header.kid.as_deref().unwrap()).unwrap();
        let mut rules = jsonwebtoken::Validation::new(header.alg);
        rules.validate_aud = false;
        rules.validate_exp = false;
        jsonwebtoken::decode::<Value>(token, &jwk.try_into().unwrap(), &rules).unwrap();
    }
    // An RS256 ID token is a subject token like any other.
    let by_id_token = [
        ("subject_token", tokens["id_token"].as_str().unwrap()),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
    ];
    let (status, minted) = world.exchange("desk-agent", &tokens, &by_id_token).await;
    assert_eq!(status, 200, "{minted}");
    // The notice is signed with what the service takes.
    world.api("DELETE", &format!("/delegations/{id}"), &world.admin_token()).await;
    world.settle().await;
    let told = world.service.received();
    assert_eq!(jsonwebtoken::decode_header(told.last().unwrap()).unwrap().alg, jsonwebtoken::Algorithm::RS256);

    // Each algorithm rotates for itself.
    let reason = Reason::parse("test").unwrap();
    rotate::rotate(&world.host, &world.app.issuer.id, SigningAlg::Rs256, Some(&reason)).await.unwrap();
    let listed = rotate::list(&world.host, &world.app.issuer.id).await.unwrap();
    let of = |alg, state| listed.iter().filter(|l| l.key.alg == alg && l.key.state == state).count();
    assert_eq!(of(SigningAlg::Rs256, KeyState::Retiring), 1);
    assert_eq!(of(SigningAlg::Es256, KeyState::Active), 1);
    assert_eq!(of(SigningAlg::Es256, KeyState::Retiring), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rs256_beside_es256_on_sqlite() {
    rs256_beside_es256(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rs256_beside_es256_on_postgres() {
    rs256_beside_es256(Engine::Postgres).await;
}

both! {
    async fn a_key_from_elsewhere_keeps_its_name(world: World) {
        let jwk = json!({"kty": "EC", "crv": "P-256", "kid": "main-2025", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0", "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"});
        let (text, id) = (jwk.to_string(), &*world.app.issuer.id);
        let bad = Kid::from("a/b");
        assert!(rotate::import(&world.host, id, &text, Some(&bad)).await.is_err());
        assert!(rotate::import(&world.host, id, "{}", None).await.is_err());
        let kid = rotate::import(&world.host, id, &text, None).await.unwrap();
        assert_eq!(kid.as_str(), "main-2025");
        assert!(rotate::import(&world.host, id, &text, Some(&"other".into())).await.is_err(), "one is pending");
        let reason = Reason::parse("our services know it already").unwrap();
        rotate::activate(&world.host, id, &kid, Some(&reason)).await.unwrap();
        assert!(rotate::import(&world.host, id, &text, None).await.is_err(), "there is one of that name");
        look(&world).await;
        let (_, tokens, ..) = world.delegated().await;
        assert_eq!(signed_by(&world, &tokens).await, "main-2025");
        let set: Value = serde_json::from_str(&rotate::export(&world.host, id, None).await.unwrap()).unwrap();
        let of_it = set["keys"].as_array().unwrap().iter().find(|key| key["kid"] == "main-2025").unwrap();
        assert_eq!((&of_it["x"], of_it.get("d")), (&jwk["x"], None));
        let alone: Value = serde_json::from_str(&rotate::export(&world.host, id, Some(&kid)).await.unwrap()).unwrap();
        assert_eq!(alone, *of_it);
        assert!(rotate::export(&world.host, id, Some(&"nothing".into())).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_hear_of_each_others_keys() {
    let world = World::start(Engine::Postgres).await;
    let other = world.replica(&declarations(&world.service.url)).await;
    assert_eq!(key_set(&other).await.0.len(), 1);
    let host = other.host.clone();
    let listening = tokio::spawn(async move { avouch::flow::issuers::listen(&host).await });
    // Before it listens nothing is heard, so keys come and go until it does.
    let mut pending = Vec::new();
    eventually("the other server's key set has the new key", async || {
        for kid in pending.drain(..) {
            rotate::retire(&world.host, &world.app.issuer.id, &kid, None).await.unwrap();
        }
        pending.push(rotate::prepare(&world.host, &world.app.issuer.id, SigningAlg::Es256).await.unwrap());
        key_set(&other).await.0.len() == 2
    })
    .await;
    // A connection that is cut is made again.
    world
        .database
        .column("SELECT CAST(pg_terminate_backend(pid) AS TEXT) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
        .await;
    eventually("a change is heard after that", async || {
        rotate::retire(&world.host, &world.app.issuer.id, &pending.pop().unwrap(), None).await.unwrap();
        let gone = key_set(&other).await.0.len() == 1;
        pending.push(rotate::prepare(&world.host, &world.app.issuer.id, SigningAlg::Es256).await.unwrap());
        gone
    })
    .await;
    listening.abort();
}
