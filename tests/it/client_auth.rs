//! Client authentication: each method, its misuse, and that nothing else is judged before it.

use std::sync::Arc;

use avouch::domain::rotation::SigningAlg;
use avouch::domain::time::Seconds;
use avouch::jose::{SealingKey, SigningKey};
use avouch::rng::Rng;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{
    ACCESS_TOKEN, ALICE, Answer, EXCHANGE, Engine, ID_JAG, ID_TOKEN, NOW, SECRET, World, both, changed, client_key,
    code_grant, declarations, encode, sign_by,
};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// A grant that every client is registered for and that fails on its own account, with `invalid_grant`: who gets that far is
/// authenticated.
const GRANT: [(&str, &str); 4] =
    [("grant_type", "authorization_code"), ("code", "x"), ("redirect_uri", "x"), ("code_verifier", "x")];

/// Names and values.
type Form<'a> = &'a [(&'a str, &'a str)];

async fn post(world: &World, authorization: &[&str], form: &[(&str, &str)]) -> Answer {
    let mut request = world.http.post(format!("{}/token", world.url));
    for value in authorization {
        request = request.header("authorization", *value);
    }
    let form: Vec<(&str, &str)> = GRANT.iter().chain(form).copied().collect();
    let request = request.header("content-type", "application/x-www-form-urlencoded").body(encode(&form));
    Answer::read(request.send().await.unwrap()).await
}

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

/// The client is known, the code is not.
fn let_in(answer: &Answer, name: &str) {
    assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_grant")), "{name}: {}", answer.body);
}

fn turned_away(answer: &Answer, name: &str) {
    assert_eq!((answer.status, &answer.json()["error"]), (401, &json!("invalid_client")), "{name}: {}", answer.body);
    assert_eq!(answer.header("cache-control"), "no-store", "{name}");
}

async fn assert_with(world: &World, assertion: &str, more: &[(&str, &str)]) -> Answer {
    let mut form = vec![("client_assertion_type", JWT_BEARER), ("client_assertion", assertion)];
    form.extend_from_slice(more);
    post(world, &[], &form).await
}

#[tokio::test]
async fn secrets() {
    let world = World::start(Engine::Sqlite).await;
    let desk = basic("desk-agent", SECRET);
    let_in(&post(&world, &[&desk], &[]).await, "basic");
    let_in(&post(&world, &[&desk.replace("Basic", "bAsIc")], &[]).await, "the scheme in any case");
    let_in(&post(&world, &[&desk], &[("client_id", "desk-agent")]).await, "its name again");
    let_in(&post(&world, &[], &[("client_id", "travel-agent"), ("client_secret", SECRET)]).await, "post");
    // Either way, whichever it was registered for: many libraries know only one, and have no switch.
    let_in(
        &post(&world, &[], &[("client_id", "desk-agent"), ("client_secret", SECRET)]).await,
        "basic's client by post",
    );
    let_in(&post(&world, &[&basic("travel-agent", SECRET)], &[]).await, "post's client by basic");
    let_in(&post(&world, &[], &[("client_id", "public-app")]).await, "none");

    let wrong = format!("{SECRET}x");
    let cases: &[(&str, &[&str], Form<'_>)] = &[
        ("wrong secret", &[&basic("desk-agent", &wrong)], &[]),
        ("its stored hash as the secret", &[&basic("desk-agent", &avouch::secret::token_hash(SECRET))], &[]),
        ("no secret", &[&basic("desk-agent", "")], &[]),
        ("unknown client", &[&basic("nobody", SECRET)], &[]),
        ("a secret for who has none", &[&basic("public-app", SECRET)], &[]),
        ("an empty secret for who has none", &[&basic("public-app", "")], &[]),
        ("a secret for who has a key", &[&basic("jwt-agent", SECRET)], &[]),
        ("a bearer token", &["Bearer x"], &[("client_id", "public-app")]),
        ("no base64", &["Basic !"], &[]),
        ("no colon", &["Basic ZGVzaw=="], &[]),
        ("no scheme", &["x"], &[]),
    ];
    for (name, authorization, form) in cases {
        let answer = post(&world, authorization, form).await;
        turned_away(&answer, name);
        assert_eq!(answer.header("www-authenticate"), CHALLENGE, "{name}");
        assert_eq!(answer.json()["error_description"], "client authentication failed", "{name}: no oracle");
    }
    let cases: &[(&str, &[(&str, &str)])] = &[
        ("nothing at all", &[]),
        ("wrong secret", &[("client_id", "travel-agent"), ("client_secret", &wrong)]),
        ("empty secret", &[("client_id", "travel-agent"), ("client_secret", "")]),
        ("unknown client", &[("client_id", "nobody"), ("client_secret", SECRET)]),
        ("a secret without a name", &[("client_secret", SECRET)]),
        ("only a name, where more is needed", &[("client_id", "desk-agent")]),
        ("only a name, where a key is needed", &[("client_id", "jwt-agent")]),
        ("only an unknown name", &[("client_id", "nobody")]),
        ("a public client with a secret", &[("client_id", "public-app"), ("client_secret", SECRET)]),
    ];
    for (name, form) in cases {
        let answer = post(&world, &[], form).await;
        turned_away(&answer, name);
        assert_eq!(answer.header("www-authenticate"), CHALLENGE, "{name}: although the header was not used");
    }
}

#[tokio::test]
async fn two_methods_are_one_too_many() {
    let world = World::start(Engine::Sqlite).await;
    let desk = basic("desk-agent", SECRET);
    let assertion = world.client_assertion(&json!({}));
    let jwt = [("client_assertion_type", JWT_BEARER), ("client_assertion", assertion.as_str())];
    let with = |more: &[(&'static str, &'static str)]| [jwt.as_slice(), more].concat();
    let cases: [(&str, &[&str], Form<'_>); 10] = [
        ("basic and post", &[&desk], &[("client_secret", SECRET)]),
        ("basic and jwt", &[&desk], &with(&[])),
        ("post and jwt", &[], &with(&[("client_id", "jwt-agent"), ("client_secret", SECRET)])),
        ("basic twice", &[&desk, &desk], &[]),
        ("basic as somebody else", &[&desk], &[("client_id", "travel-agent")]),
        ("a name twice", &[], &[("client_id", "public-app"), ("client_id", "public-app")]),
        ("a secret twice", &[], &[("client_id", "travel-agent"), ("client_secret", SECRET), ("client_secret", "x")]),
        ("an assertion twice", &[], &with(&[("client_assertion", "x")])),
        ("an assertion without type", &[], &[("client_assertion", &assertion)]),
        (
            "saml",
            &[],
            &[
                ("client_assertion", &assertion),
                ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"),
            ],
        ),
    ];
    for (name, authorization, form) in cases {
        let answer = post(&world, authorization, form).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]),
            (400, &json!("invalid_request")),
            "{name}: {}",
            answer.body
        );
    }
    let_in(&assert_with(&world, &assertion, &[]).await, "the assertion itself was not used up by any of these");
}

#[tokio::test]
async fn both_halves_of_basic_are_form_encoded() {
    let (id, secret) = ("odd:agent/%41+b", "p%41ss:w+rd&=/-with-at-least-32-bytes-in-it");
    let declare = |service: &str| {
        format!(
            "{}\n[[clients]]\nclient_id = \"{id}\"\nclient_name = \"Odd\"\nclient_secret = \"{secret}\"\nredirect_uris = [\"https://agent.example/cb\"]\n",
            declarations(service)
        )
    };
    let world = World::with(Engine::Sqlite, declare).await;
    let escaped = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let_in(&post(&world, &[&basic(&escaped(id), &escaped(secret))], &[]).await, "RFC 6749 section 2.3.1");
    turned_away(&post(&world, &[&basic(&escaped(id), &escaped(&escaped(secret)))], &[]).await, "twice is too often");
    turned_away(&post(&world, &[&basic(id, secret)], &[]).await, "not at all");
}

#[tokio::test]
async fn assertions_are_judged() {
    let world = World::start(Engine::Sqlite).await;
    let (issuer, token) = (world.issuer(), format!("{}/token", world.issuer()));
    let good = [
        ("issuer", json!({})),
        ("token endpoint", json!({"aud": token})),
        ("five minutes", json!({"exp": NOW + Seconds(300)})),
        ("no iat", json!({"iat": null})),
        (
            "a clock half a minute ahead",
            json!({"iat": NOW + Seconds(30), "nbf": NOW + Seconds(30), "exp": NOW + Seconds(330)}),
        ),
        ("an hour, from a default", json!({"iat": NOW, "exp": NOW + Seconds(3600)})),
        ("a list of us alone", json!({"aud": [issuer]})),
        ("fractions", json!({"iat": 1_799_999_999.5, "exp": 1_800_000_059.25})),
        ("more than we know", json!({"foo": ["bar"], "jwk": {"kty": "oct", "k": "AA"}})),
        ("a long jti", json!({"jti": "j".repeat(256)})),
    ];
    for (name, changes) in good {
        let_in(&assert_with(&world, &world.client_assertion(&changes), &[]).await, name);
    }
    let_in(
        &assert_with(&world, &world.client_assertion(&json!({})), &[("client_id", "jwt-agent")]).await,
        "named as well",
    );
    let bad = [
        ("an empty list", json!({"aud": []})),
        ("a list with others", json!({"aud": [issuer, "https://other.example"]})),
        ("for another", json!({"aud": "https://other.example"})),
        ("for a part of us", json!({"aud": format!("{issuer}/")})),
        ("for another endpoint", json!({"aud": format!("{issuer}/authorize")})),
        ("for nobody", json!({"aud": null})),
        ("no exp", json!({"exp": null})),
        ("expired", json!({"exp": NOW})),
        ("expired long ago", json!({"exp": NOW - Seconds(3600)})),
        ("too long ahead, and nobody knows since when", json!({"iat": null, "exp": NOW + Seconds(331)})),
        ("more than an hour", json!({"exp": NOW + Seconds(3631)})),
        ("made too long ago", json!({"iat": NOW - Seconds(301), "exp": NOW + Seconds(60)})),
        ("for ever", json!({"exp": i64::MAX})),
        ("exp as text", json!({"exp": (NOW + Seconds(60)).to_string()})),
        ("iat in the future", json!({"iat": NOW + Seconds(31)})),
        ("not yet", json!({"nbf": NOW + Seconds(31)})),
        ("no jti", json!({"jti": null})),
        ("an empty jti", json!({"jti": ""})),
        ("a jti too long", json!({"jti": "j".repeat(257)})),
        ("a number as jti", json!({"jti": 1})),
        ("no sub", json!({"sub": null})),
        ("another's sub", json!({"sub": "desk-agent"})),
        ("another's iss", json!({"iss": "desk-agent"})),
        ("another client altogether", json!({"iss": "desk-agent", "sub": "desk-agent"})),
        ("an unknown client", json!({"iss": "nobody", "sub": "nobody"})),
        ("no iss", json!({"iss": null})),
        ("oversize", json!({"x": "x".repeat(16 * 1024)})),
    ];
    for (name, changes) in bad {
        let answer = assert_with(&world, &world.client_assertion(&changes), &[]).await;
        turned_away(&answer, name);
        assert_eq!(answer.header("www-authenticate"), CHALLENGE, "{name}");
    }
    turned_away(
        &assert_with(&world, &world.client_assertion(&json!({})), &[("client_id", "desk-agent")]).await,
        "named as another",
    );
    let spent = world.database.column("SELECT jti FROM used_jti").await;
    assert_eq!(spent.len(), 11, "only what was let in is spent: {spent:?}");
}

const CHALLENGE: &str = r#"Basic realm="avouch", charset="UTF-8""#;

/// A token with this header and the claims of a good one, and the signature that `sign` makes.
fn forged(world: &World, header: &Value, sign: impl Fn(&str) -> Vec<u8>) -> String {
    let good = world.client_assertion(&json!({}));
    let claims = good.split('.').nth(1).unwrap();
    let signed = format!("{}.{claims}", URL_SAFE_NO_PAD.encode(header.to_string()));
    let signature = URL_SAFE_NO_PAD.encode(sign(&signed));
    format!("{signed}.{signature}")
}

#[tokio::test]
async fn signatures_are_verified_by_the_registered_key_alone() {
    let world = World::start(Engine::Sqlite).await;
    let jwk = serde_json::to_value(client_key().public_jwk()).unwrap();
    let kid = client_key().kid();
    let mac = |secret: Vec<u8>| {
        move |signed: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signed.as_bytes()).as_ref().to_vec()
    };
    let point = ["x", "y"].map(|name| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap()).concat();
    let hs256 = json!({"alg": "HS256", "typ": "JWT", "kid": kid});
    let other =
        SigningKey::generate(SigningAlg::Es256, &SealingKey::from_bytes(&[4; 32]).unwrap(), "other", &Rng::seeded(8))
            .unwrap()
            .0;
    let payload = crate::harness::claims(&world.client_assertion(&json!({})));
    let good = world.client_assertion(&json!({}));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (head, _) = signed.split_once('.').unwrap();
    let renamed = |typ: &str, jti: &str| {
        let mut claims = payload.clone();
        claims["jti"] = json!(jti);
        sign_by(client_key(), typ, &claims)
    };
    for typ in ["client-authentication+jwt", "application/client-authentication+jwt", "jwt"] {
        let_in(&assert_with(&world, &renamed(typ, typ), &[]).await, typ);
    }
    // `sign` writes its typ into the header as it is, which lets a test say more there.
    let bad = [
        ("none", forged(&world, &json!({"alg": "none", "typ": "JWT", "kid": kid}), |_| Vec::new())),
        ("None", forged(&world, &json!({"alg": "None"}), |_| Vec::new())),
        ("no signature", format!("{signed}.")),
        ("two parts", signed.to_owned()),
        ("HS256 with the JWK", forged(&world, &hs256, mac(jwk.to_string().into_bytes()))),
        ("HS256 with the point", forged(&world, &hs256, mac(point))),
        ("HS256 with nothing", forged(&world, &hs256, mac(Vec::new()))),
        ("RS256", forged(&world, &json!({"alg": "RS256", "kid": kid}), |_| vec![1; 256])),
        ("zeros", forged(&world, &json!({"alg": "ES256", "kid": kid}), |_| vec![0; 64])),
        ("other claims", format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode(payload.to_string()))),
        ("an unknown kid", sign_by(&other, "JWT", &payload)),
        (
            "its own key in the header",
            forged(&world, &json!({"alg": "ES256", "kid": other.kid(), "jwk": other.public_jwk()}), |_| vec![1; 64]),
        ),
        ("crit", sign_by(client_key(), r#"JWT","crit":["b64"],"b64":"no"#, &payload)),
        ("crit alone", sign_by(client_key(), r#"JWT","crit":["exp"],"x":"y"#, &payload)),
        ("an assertion's typ", sign_by(client_key(), "oauth-id-jag+jwt", &payload)),
        ("a logout token's typ", sign_by(client_key(), "logout+jwt", &payload)),
        ("padding", format!("{good}=")),
        ("no token", "x".to_owned()),
        ("dots", "..".to_owned()),
    ];
    for (name, assertion) in bad {
        turned_away(&assert_with(&world, &assertion, &[]).await, name);
    }
    let_in(&assert_with(&world, &good, &[]).await, "and the good one is good");
    // Tokens of ours are nobody's client assertion.
    let browser = world.signed_in(ALICE).await;
    let tokens = world.tokens(&browser, "desk-agent").await;
    turned_away(&assert_with(&world, tokens["id_token"].as_str().unwrap(), &[]).await, "an ID token");
}

both! {
    async fn an_assertion_is_used_once_whichever_server_sees_it(world: World) {
        let replica = world.replica(&declarations(&world.service.url)).await;
        let assertion = world.client_assertion(&json!({"exp": NOW + Seconds(300)}));
        let_in(&assert_with(&world, &assertion, &[]).await, "first");
        for server in [&world, &replica] {
            turned_away(&assert_with(server, &assertion, &[]).await, "again");
        }
        let same = world.client_assertion(&json!({"jti": crate::harness::claims(&assertion)["jti"], "exp": NOW + Seconds(200)}));
        turned_away(&assert_with(&replica, &same, &[]).await, "another assertion of the same jti");
        assert_eq!(world.database.column("SELECT jti FROM used_jti").await.len(), 1);
    }
}

both! {
    async fn of_twenty_at_once_one_is_let_in(world: World) {
        let replica = Arc::new(world.replica(&declarations(&world.service.url)).await);
        let assertion = Arc::new(world.client_assertion(&json!({})));
        let world = Arc::new(world);
        let mut attempts = JoinSet::new();
        for n in 0..20 {
            let (server, assertion) = (if n % 2 == 0 { world.clone() } else { replica.clone() }, assertion.clone());
            attempts.spawn(async move { assert_with(&server, &assertion, &[]).await.status });
        }
        let answers = attempts.join_all().await;
        assert_eq!(answers.iter().filter(|status| **status == 400).count(), 1, "{answers:?}");
        assert_eq!(answers.iter().filter(|status| **status == 401).count(), 19, "{answers:?}");
    }
}

both! {
    /// A token exchange spends it in the transaction that decides, and nothing that is wrong with the request comes before.
    async fn an_assertion_is_spent_by_whatever_is_asked_with_it(world: World) {
        let browser = world.signed_in(ALICE).await;
        let tokens = world.tokens(&browser, "jwt-agent").await;
        world.agree(&browser, "jwt-agent", &tokens, "always", &[]).await;
        let (access, id) = (tokens["access_token"].as_str().unwrap(), tokens["id_token"].as_str().unwrap());
        let good = [
            ("grant_type", EXCHANGE),
            ("requested_token_type", ID_JAG),
            ("audience", world.service.url.as_str()),
            ("subject_token", access),
            ("subject_token_type", ACCESS_TOKEN),
        ];
        let cases: [(&str, Form<'_>, u16); 10] = [
            ("minted", &[("scope", "api.read")], 200),
            ("by an ID token", &[("subject_token", id), ("subject_token_type", ID_TOKEN), ("scope", "api.read")], 200),
            ("nobody asked", &[("scope", "api.write")], 400),
            ("beyond the ceiling", &[("audience", "https://third.example")], 400),
            ("no audience", &[("audience", "")], 400),
            ("a malformed scope", &[("scope", "\"")], 400),
            ("no such token", &[("subject_token", "x")], 400),
            ("no ID token", &[("subject_token", "x"), ("subject_token_type", ID_TOKEN)], 400),
            ("no grant", &[("grant_type", "")], 400),
            ("another grant", &[("grant_type", "authorization_code")], 400),
        ];
        let http = &world.http;
        for (name, changes, status) in cases {
            let assertion = world.client_assertion(&json!({}));
            let send = async |form: Form<'_>| {
                let mut form = form.to_vec();
                form.extend([("client_assertion_type", JWT_BEARER), ("client_assertion", assertion.as_str())]);
                let request = http.post(format!("{}/token", world.url)).header("content-type", "application/x-www-form-urlencoded");
                Answer::read(request.body(encode(&form)).send().await.unwrap()).await
            };
            let form = changed(&good, changes);
            let answer = send(&form).await;
            assert_eq!(answer.status, status, "{name}: {}", answer.body);
            turned_away(&send(&form).await, name);
            turned_away(&send(&good).await, name);
        }
    }
}

both! {
    async fn of_twenty_exchanges_at_once_one_is_let_in(world: World) {
        let replica = Arc::new(world.replica(&declarations(&world.service.url)).await);
        let browser = world.signed_in(ALICE).await;
        let tokens = world.tokens(&browser, "jwt-agent").await;
        world.agree(&browser, "jwt-agent", &tokens, "always", &[]).await;
        let form = encode(&[
            ("grant_type", EXCHANGE),
            ("requested_token_type", ID_JAG),
            ("audience", world.service.url.as_str()),
            ("scope", "api.read"),
            ("subject_token", tokens["access_token"].as_str().unwrap()),
            ("subject_token_type", ACCESS_TOKEN),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", &world.client_assertion(&json!({}))),
        ]);
        let mut attempts = JoinSet::new();
        for n in 0..20 {
            let server = if n % 2 == 0 { &world } else { &*replica };
            let request = world.http.post(format!("{}/token", server.url));
            let request = request.header("content-type", "application/x-www-form-urlencoded").body(form.clone());
            attempts.spawn(async move { request.send().await.unwrap().status().as_u16() });
        }
        let answers = attempts.join_all().await;
        assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1, "{answers:?}");
        assert_eq!(answers.iter().filter(|status| **status == 401).count(), 19, "{answers:?}");
        assert_eq!(world.database.column("SELECT mint_count FROM delegation").await, ["1"]);
    }
}

#[tokio::test]
async fn the_client_comes_first() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    let code = world.code(&browser, "desk-agent", &[]).await;
    let tokens = world.tokens(&browser, "desk-agent").await;
    let url = format!("{}/token", world.url);
    let send = async |secret: &str, form: &[(&str, &str)], dpop: bool| {
        let mut request = world.http.post(&url).basic_auth("desk-agent", Some(secret));
        if dpop {
            request = request.header("dpop", "e30.e30.e30");
        }
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(encode(form));
        Answer::read(request.send().await.unwrap()).await
    };
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
    let good = code_grant(&code);
    let forms: [(&str, &[(&str, &str)]); 6] = [
        ("a good code", &good),
        ("a good refresh token", &refresh),
        ("no grant", &[]),
        ("an unknown grant", &[("grant_type", "password")]),
        ("two grants", &[("grant_type", "a"), ("grant_type", "b")]),
        ("a bad code", &[("grant_type", "authorization_code"), ("code", "x")]),
    ];
    for (name, form) in forms {
        turned_away(&send("wrong", form, false).await, name);
        turned_away(&send("wrong", form, true).await, name);
    }
    // A proof we cannot check is refused, once it is known who shows it.
    for form in [good.as_slice(), &refresh] {
        let answer = send(SECRET, form, true).await;
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_request")), "{}", answer.body);
        assert_eq!(answer.json()["error_description"], "DPoP is not supported");
        assert_eq!(answer.header("www-authenticate"), "");
    }
    for form in [good.as_slice(), &refresh] {
        assert_eq!(send(SECRET, form, false).await.status, 200, "none of this used anything up");
    }
}

#[tokio::test]
async fn a_body_that_is_no_form() {
    let world = World::start(Engine::Sqlite).await;
    let huge = encode(&[("grant_type", "authorization_code"), ("x", &"x".repeat(65 * 1024))]);
    let form = "application/x-www-form-urlencoded";
    let json_body = r#"{"grant_type":"authorization_code"}"#.to_owned();
    for (name, kind, body, status) in [
        ("JSON", "application/json", json_body.clone(), 415),
        ("no type", "", encode(&GRANT), 415),
        ("too large", form, huge, 413),
    ] {
        let mut request = world.http.post(format!("{}/token", world.url)).basic_auth("desk-agent", Some(SECRET));
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        let answer = Answer::read(request.body(body).send().await.unwrap()).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]),
            (status, &json!("invalid_request")),
            "{name}: {}",
            answer.body
        );
    }
    let request = world.http.post(format!("{}/token", world.url)).basic_auth("desk-agent", Some(SECRET));
    let request = request.header("content-type", format!("{form};charset=UTF-8")).body(encode(&GRANT));
    let_in(&Answer::read(request.send().await.unwrap()).await, "a charset does not matter");
}

both! {
    async fn a_disabled_client_is_nobody(world: World) {
        let browser = world.signed_in(ALICE).await;
        let tokens = world.tokens(&browser, "desk-agent").await;
        let code = world.code(&browser, "desk-agent", &[]).await;
        let gone = declarations(&world.service.url).replace("client_id = \"desk-agent\"", "client_id = \"next-agent\"");
        let after = world.replica(&gone).await;
        // The other server may have looked the client up a moment ago; it looks again after two seconds.
        world.clock.advance(Seconds(2));
        for server in [&world, &after] {
            turned_away(&server.token_raw("desk-agent", &code_grant(&code)).await, "its code");
            let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
            turned_away(&server.token_raw("desk-agent", &refresh).await, "its refresh token");
            let answer = browser.get(&World::authorize_path("desk-agent", &[])).await;
            assert_eq!((answer.status, answer.headers.get("location")), (400, None));
        }
        assert_eq!(world.database.column("SELECT hash FROM access_token").await.len(), 1);
    }
}
