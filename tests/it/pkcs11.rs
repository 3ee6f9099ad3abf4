//! Signing keys in a PKCS #11 device: Debian's SoftHSM, whose token `tests/run` makes when the feature is on.

use std::path::Path;

use avouch::domain::rotation::{SigningAlg, kept_for};
use avouch::domain::time::Seconds;
use avouch::flow::rotate;
use avouch::flow::start::{self, Accepted};
use avouch::rng::Rng;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::object::{Attribute, ObjectClass};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::{Value, json};

use crate::browser::program;
use crate::harness::{ALICE, Answer, Engine, World, avouch, both, claims, config, declarations, text};
use crate::keys::{DAY, key_set, look, post};

const OTHER: &str = "https://other.example";

/// The module, and token and PIN as `tests/run` has made them.
fn module() -> String {
    program("AVOUCH_TEST_PKCS11")
}

fn device(token: &str, pin: &str) -> String {
    format!("[keys.pkcs11]\nmodule = '{}'\ntoken = \"{token}\"\npin = '{pin}'\n", module())
}

fn declared(service: &str) -> String {
    let other = format!(
        "\n[[services]]\naudience = \"{OTHER}\"\nname = \"Other\"\nscopes = [\"api.read\"]\nsigning_alg = \"RS256\"\n"
    );
    format!("{}{}{other}", device("avouch", "1234"), declarations(service))
}

/// Looks into the token beside the server.
fn session() -> Session {
    let module = Pkcs11::new(Path::new(&module())).unwrap();
    let _ = module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
    let slots = module.get_slots_with_token().unwrap();
    let slot = slots.into_iter().find(|slot| module.get_token_info(*slot).is_ok_and(|info| info.label() == "avouch"));
    let session = module.open_rw_session(slot.unwrap()).unwrap();
    let _ = session.login(UserType::User, Some(&AuthPin::new("1234".into())));
    session
}

/// The private keys of an issuer in the token.
fn private_keys(session: &Session, issuer_id: &str, alg: &str) -> usize {
    let label = Attribute::Label(format!("avouch {issuer_id} {alg}").into_bytes());
    session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY), label]).unwrap().len()
}

/// Verified by a library that nobody here wrote, with the published key set.
async fn verified(world: &World, token: &str) -> Value {
    let answer = Answer::read(world.http.get(format!("{}/jwks.json", world.url)).send().await.unwrap()).await;
    let keys: JwkSet = serde_json::from_str(&answer.body).unwrap();
    let header = jsonwebtoken::decode_header(token).unwrap();
    let key = keys.find(header.kid.as_deref().unwrap()).expect("its key is published");
    let mut validation = Validation::new(header.alg);
    validation.validate_exp = false;
    validation.validate_aud = false;
    jsonwebtoken::decode::<Value>(token, &DecodingKey::from_jwk(key).unwrap(), &validation).unwrap().claims
}

/// The labels of all tests are one issuer's, so they take turns at the token.
async fn alone() -> tokio::sync::MutexGuard<'static, ()> {
    static TOKEN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    TOKEN.lock().await
}

async fn in_a_device(engine: Engine) {
    let _alone = alone().await;
    let token = session();
    let before = [private_keys(&token, "default", "ES256"), private_keys(&token, "default", "RS256")];
    let more = |alg: &str| private_keys(&token, "default", alg) - before[usize::from(alg == "RS256")];
    let world = World::with(engine, declared).await;
    assert_eq!((more("ES256"), more("RS256")), (1, 1), "made there, and nowhere else");
    let browser = world.signed_in(ALICE).await;
    let tokens = world.tokens(&browser, "desk-agent").await;
    assert_eq!(verified(&world, tokens["id_token"].as_str().unwrap()).await["iss"], world.issuer());
    for (audience, alg) in [(world.service.url.as_str(), "ES256"), (OTHER, "RS256")] {
        world.agree(&browser, "desk-agent", &tokens, "always", &[("audience", audience)]).await;
        let (status, body) = world.exchange("desk-agent", &tokens, &[("audience", audience)]).await;
        assert_eq!(status, 200, "{body}");
        let assertion = body["access_token"].as_str().unwrap();
        assert_eq!(format!("{:?}", jsonwebtoken::decode_header(assertion).unwrap().alg), alg);
        assert_eq!(verified(&world, assertion).await, claims(assertion));
    }

    // Another server has the key as well, and a rotation ends with the old one gone.
    let there = world.replica(&declared(&world.service.url)).await;
    let (status, body) = there.exchange("desk-agent", &tokens, &[]).await;
    assert_eq!(status, 200, "{body}");
    let first = key_set(&world).await.0;
    let kid = post(&world, "prepare", &json!({})).await.json()["kid"].as_str().unwrap().to_owned();
    assert_eq!(post(&world, "prepare", &json!({})).await.status, 409);
    assert_eq!(more("ES256"), 2, "what was made in vain is not left there");
    world.clock.advance(DAY + Seconds(5));
    assert_eq!(post(&there, &format!("{kid}/activate"), &json!({})).await.status, 200);
    world.clock.advance(kept_for());
    rotate::run(&world.host).await.unwrap();
    look(&world).await;
    assert!(key_set(&world).await.0.contains(&kid) && first.iter().any(|old| *old != kid));
    assert_eq!(more("ES256"), 1, "the old one is destroyed");
    let revoked = post(&world, &format!("{kid}/revoke"), &json!({"reason": "a test"})).await;
    assert_eq!(revoked.status, 200, "{}", revoked.body);
    assert_eq!(more("ES256"), 1, "the revoked one is destroyed, and its successor is there");
    look(&world).await;
    let browser = world.signed_in(ALICE).await;
    let tokens = world.tokens(&browser, "desk-agent").await;
    verified(&world, tokens["id_token"].as_str().unwrap()).await;

    // A key that the device has lost signs nothing, and nothing else is signed in its place.
    let label = Attribute::Label(b"avouch default ES256".to_vec());
    for object in token.find_objects(&[label]).unwrap() {
        token.destroy_object(object).unwrap();
    }
    let (status, body) = world.exchange("desk-agent", &tokens, &[]).await;
    assert_eq!((status, &body["error"]), (500, &json!("server_error")), "{body}");
}

#[tokio::test]
async fn keys_in_a_device_sqlite() {
    in_a_device(Engine::Sqlite).await;
}

#[tokio::test]
async fn keys_in_a_device_postgres() {
    in_a_device(Engine::Postgres).await;
}

both! {
    async fn a_device_is_taken_up_by_the_next_rotation_and_missed_when_it_is_gone(world: World) {
        let _alone = alone().await;
        let old = key_set(&world).await.0;
        let with = world.replica(&declared(&world.service.url)).await;
        assert!(old.iter().all(|kid| world.app.issuer.ring.published.iter().any(|(known, _)| known.as_str() == kid)));
        let (_, tokens, ..) = with.delegated().await;
        let kid = rotate::prepare(&with.host, &with.app.issuer.id, SigningAlg::Es256).await.unwrap();
        with.clock.advance(DAY + Seconds(5));
        rotate::activate(&with.host, &with.app.issuer.id, &kid, None).await.unwrap();
        look(&with).await;
        let browser = with.signed_in(ALICE).await;
        let tokens_now = with.tokens(&browser, "desk-agent").await;
        assert_ne!(tokens["id_token"], tokens_now["id_token"]);
        assert_eq!(jsonwebtoken::decode_header(tokens_now["id_token"].as_str().unwrap()).unwrap().kid.as_deref(), Some(kid.as_str()));

        // A server without the device cannot go on.
        let without = config(&with.database, &with.issuer(), &declarations(&with.service.url));
        let accepted = Accepted { removals: true, new: false };
        let refused = start::open(&without, accepted, with.clock.clone(), Rng::seeded(99)).await.map(drop).unwrap_err();
        assert!(refused.to_string().contains("it is in a PKCS #11 device, and [keys.pkcs11] names none"), "{refused}");
        assert!(refused.is_configuration());
    }
}

#[test]
fn a_device_that_cannot_be_opened_stops_the_start_before_anything_is_made() {
    for (device, expected) in [
        (device("avouch", "4321"), "token \"avouch\": "),
        (device("nobody's", "1234"), "has no token \"nobody's\""),
        (device("avouch", "1234").replace("libsofthsm2", "nothing"), "cannot be used"),
    ] {
        // A process of its own: whoever is logged in is so in all of one.
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::write(folder.path().join("avouch.toml"), &device).unwrap();
        let conf = program("SOFTHSM2_CONF");
        let output = avouch(folder.path(), &["keys", "init"]).env("SOFTHSM2_CONF", conf).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains("[keys.pkcs11]: the PKCS #11 device cannot be used") && said.contains(expected),
            "{said}"
        );
        assert!(!said.contains("4321"), "{said}");
        assert!(!folder.path().join("keys").exists() && !folder.path().join("data").exists(), "nothing was made");
    }
}
