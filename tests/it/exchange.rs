//! Token exchange (RFC 8693, ID-JAG draft section 4.3): what is minted, and every way of asking for it wrongly.

use avouch::domain::claims::{ID_TOKEN as ID_TOKEN_TYP, IdToken};
use avouch::domain::ids::{ClientId, Subject};
use avouch::domain::time::Seconds;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Value, json};

use crate::harness::{
    ACCESS_TOKEN, ALICE, BOB, Engine, ID_JAG, ID_TOKEN, NOW, World, both, changed, claims, declarations, encode,
    sign_by,
};

/// Everything that is written when something is minted or asked.
async fn rows(world: &World) -> Vec<String> {
    let count = |table| format!("SELECT COUNT(*) FROM {table}");
    let mut rows = Vec::new();
    for table in ["journal", "ticket", "consent", "delegation", "delivery"] {
        rows.extend(world.database.column(&count(table)).await);
    }
    rows
}

/// Verifies an assertion as a service would, with a library that shares nothing with ours.
async fn verified(world: &World, assertion: &str) -> (Header, Value) {
    let jwks = world.http.get(format!("{}/.well-known/jwks.json", world.url)).send().await.unwrap();
    let jwks: JwkSet = serde_json::from_str(&jwks.text().await.unwrap()).unwrap();
    let header = jsonwebtoken::decode_header(assertion).unwrap();
    let jwk = jwks.find(header.kid.as_deref().unwrap()).expect("the kid is published");
    let mut rules = Validation::new(Algorithm::ES256);
    rules.set_audience(&[&world.service.url]);
    rules.set_issuer(&[world.issuer()]);
    rules.set_required_spec_claims(&["iss", "sub", "aud", "exp"]);
    // The clock of the test stands; the library reads the machine's.
    rules.validate_exp = false;
    let token = jsonwebtoken::decode::<Value>(assertion, &DecodingKey::from_jwk(jwk).unwrap(), &rules).unwrap();
    (header, token.claims)
}

both! {
    async fn an_assertion_says_what_the_contract_says(world: World) {
        let (browser, tokens, _, assertion) = world.delegated().await;
        let (header, minted) = verified(&world, &assertion).await;
        assert_eq!(header.typ.as_deref(), Some("oauth-id-jag+jwt"));
        let sub = claims(tokens["id_token"].as_str().unwrap())["sub"].clone();
        let jti = minted["jti"].as_str().unwrap();
        assert_eq!(minted, json!({
            "iss": world.issuer(), "sub": sub, "aud": world.service.url, "client_id": format!("{}/agent-auth.json", world.issuer()),
            "jti": jti, "iat": NOW, "exp": NOW + Seconds(300), "auth_time": NOW, "email": ALICE, "email_verified": true, "name": "Alice Example",
            "scope": "api.read",
        }));
        let journal = world.database.column("SELECT jti FROM journal WHERE kind = 'assertion'").await;
        assert_eq!(journal, [jti]);
        drop(browser);
    }
}

both! {
    async fn each_kind_of_client_and_subject_token(world: World) {
        let browser = world.signed_in(ALICE).await;
        for client in ["desk-agent", "travel-agent", "jwt-agent"] {
            let tokens = world.tokens(&browser, client).await;
            world.agree(&browser, client, &tokens, "always", &[]).await;
            let id_token = tokens["id_token"].as_str().unwrap();
            for subject in [vec![], vec![("subject_token", id_token), ("subject_token_type", ID_TOKEN)]] {
                let (status, body) = world.exchange(client, &tokens, &subject).await;
                assert_eq!(status, 200, "{client} {body}");
                let assertion = body["access_token"].as_str().unwrap();
                assert_eq!(body, json!({
                    "issued_token_type": ID_JAG, "access_token": assertion, "token_type": "N_A", "expires_in": 300, "scope": "api.read",
                }));
                verified(&world, assertion).await;
            }
        }
    }
}

#[tokio::test]
async fn scope_and_resource_in_the_answer() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    let tokens = world.tokens(&browser, "desk-agent").await;
    let (status, body) = world.exchange("desk-agent", &tokens, &[("scope", "")]).await;
    assert_eq!((status, &body["expires_in"], &body["interval"]), (400, &json!(600), &json!(5)), "{body}");
    let api = format!("{}/api/", world.service.url);
    let asked = [
        ("scope", "api.write api.read"),
        ("resource", api.as_str()),
        ("agent_platform", "desk"),
        ("agent_context_id", "chat 7"),
    ];
    world.agree(&browser, "desk-agent", &tokens, "always", &asked).await;

    // None asked for: the consent's are granted, and told.
    let (status, body) = world.exchange("desk-agent", &tokens, &[("scope", "")]).await;
    assert_eq!((status, &body["scope"]), (200, &json!("api.read api.write")), "{body}");
    let minted = claims(body["access_token"].as_str().unwrap());
    assert_eq!((&minted["resource"], &minted["scope"]), (&json!(api), &json!("api.read api.write")));
    assert_eq!(minted.get("agent_context_id"), None);
    // The same resource twice is one; unknown and empty parameters are nothing.
    let again = [
        ("resource", api.as_str()),
        ("resource", api.as_str()),
        ("agent_context_id", "чат 8 中"),
        ("x", "y"),
        ("actor_token", ""),
    ];
    let (status, body) = world.exchange("desk-agent", &tokens, &again).await;
    assert_eq!((status, &body["scope"]), (200, &json!("api.read")), "{body}");
    let minted = claims(body["access_token"].as_str().unwrap());
    assert_eq!((&minted["resource"], &minted["agent_context_id"]), (&json!(api), &json!("чат 8 中")));
    let journal = world.database.column("SELECT body FROM journal WHERE kind = 'assertion' ORDER BY id").await;
    assert!(journal.iter().any(|b| serde_json::from_str::<Value>(b).unwrap()["agent_context_id"] == "чат 8 中"));

    let form = changed(
        &[("grant_type", crate::harness::EXCHANGE), ("requested_token_type", ID_JAG), ("audience", &world.service.url)],
        &[("subject_token", tokens["access_token"].as_str().unwrap()), ("subject_token_type", ACCESS_TOKEN)],
    );
    for answer in [world.token_raw("desk-agent", &form).await, world.token_raw("desk-agent", &form[1..]).await] {
        assert_eq!(
            (answer.header("cache-control"), answer.header("pragma")),
            ("no-store", "no-cache"),
            "{}",
            answer.status
        );
    }
}

/// A name, the changes to the request, and the error.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

both! {
    async fn every_wrong_request_gets_its_error_and_changes_nothing(world: World) {
        let (_, tokens, _, assertion) = world.delegated().await;
        let foreign = world.tokens(&world.signed_in(ALICE).await, "travel-agent").await;
        let (aud, issuer) = (world.service.url.clone(), world.issuer());
        let slash = format!("{aud}/");
        let (fragment, query) = (format!("{aud}#f"), format!("{aud}?q=1"));
        let own_slash = format!("{issuer}/");
        let (api, other_api) = (format!("{aud}/api/"), format!("{aud}/other/"));
        let long = "x".repeat(257);
        let big = format!("{}.e30.AA", "A".repeat(17_000));
        let access = tokens["access_token"].as_str().unwrap();
        let id_token = tokens["id_token"].as_str().unwrap();
        let foreign_id = foreign["id_token"].as_str().unwrap();
        let id_type = ("subject_token_type", ID_TOKEN);
        // What is known of the good request must not answer for a bad one.
        assert_eq!(world.exchange("desk-agent", &tokens, &[]).await.0, 200);
        let before = rows(&world).await;
        let cases: &[Case<'_>] = &[
            ("no audience", &[("audience", "")], "invalid_request"),
            ("two audiences", &[("audience", &aud), ("audience", "https://other.example")], "invalid_target"),
            ("one audience twice", &[("audience", &aud), ("audience", &aud)], "invalid_target"),
            ("relative", &[("audience", "/api")], "invalid_target"),
            ("no URL", &[("audience", "fake service")], "invalid_target"),
            ("fragment", &[("audience", &fragment)], "invalid_target"),
            ("query", &[("audience", &query)], "invalid_target"),
            ("http", &[("audience", "http://other.example")], "invalid_target"),
            ("not allowed", &[("audience", "https://third.example")], "invalid_target"),
            ("slash", &[("audience", &slash)], "invalid_target"),
            ("ourselves", &[("audience", &issuer)], "invalid_target"),
            ("ourselves with a slash", &[("audience", &own_slash)], "invalid_target"),
            ("U+0000", &[("audience", "https://a.example/\0")], "invalid_request"),
            ("relative resource", &[("resource", "/api")], "invalid_target"),
            ("resource with fragment", &[("resource", "https://a.example/#f")], "invalid_target"),
            ("foreign resource", &[("resource", "https://other.example/api/")], "invalid_target"),
            ("resource beside", &[("resource", &other_api)], "invalid_target"),
            ("one of two foreign", &[("resource", &api), ("resource", &other_api)], "invalid_target"),
            ("unknown scope", &[("scope", "api.read admin")], "invalid_scope"),
            ("malformed scope", &[("scope", "api.read\"")], "invalid_scope"),
            ("two scopes", &[("scope", "api.read"), ("scope", "api.write")], "invalid_request"),
            ("no requested type", &[("requested_token_type", "")], "invalid_request"),
            ("another requested type", &[("requested_token_type", ACCESS_TOKEN)], "invalid_request"),
            ("no subject token", &[("subject_token", "")], "invalid_request"),
            ("two subject tokens", &[("subject_token", access), ("subject_token", access)], "invalid_request"),
            ("no subject type", &[("subject_token_type", "")], "invalid_request"),
            ("another subject type", &[("subject_token_type", ID_JAG)], "invalid_request"),
            ("access token said to be an ID token", &[id_type], "invalid_grant"),
            ("ID token said to be an access token", &[("subject_token", id_token)], "invalid_grant"),
            ("another client's access token", &[("subject_token", foreign["access_token"].as_str().unwrap())], "invalid_grant"),
            ("another client's ID token", &[("subject_token", foreign_id), id_type], "invalid_grant"),
            ("refresh token as access token", &[("subject_token", tokens["refresh_token"].as_str().unwrap())], "invalid_grant"),
            ("ID-JAG as ID token", &[("subject_token", &assertion), id_type], "invalid_grant"),
            ("ID-JAG as access token", &[("subject_token", &assertion)], "invalid_grant"),
            ("garbage", &[("subject_token", "a.b.c"), id_type], "invalid_grant"),
            ("not a token", &[("subject_token", "\u{1F600}")], "invalid_grant"),
            ("oversized", &[("subject_token", &big), id_type], "invalid_grant"),
            ("actor", &[("actor_token", access), ("actor_token_type", ACCESS_TOKEN)], "invalid_request"),
            ("authorization_details", &[("authorization_details", "[]")], "invalid_request"),
            ("long context", &[("agent_context_id", &long)], "invalid_request"),
            ("context with a line break", &[("agent_platform", "a\nb")], "invalid_request"),
            ("context turned about", &[("agent_context_id", "chat \u{202e}7")], "invalid_request"),
            ("context that hides", &[("agent_context_id", "chat\u{200b}7")], "invalid_request"),
            ("context with tags", &[("agent_platform", "desk\u{e0041}\u{e0042}")], "invalid_request"),
            ("no grant", &[("grant_type", "")], "invalid_request"),
        ];
        for (name, changes, code) in cases {
            let (status, body) = world.exchange("desk-agent", &tokens, changes).await;
            assert_eq!((status, &body["error"]), (400, &json!(code)), "{name}: {body}");
            assert!(body["error_description"].as_str().is_some_and(|d| !d.is_empty()), "{name}: {body}");
        }
        // What we mint is for others: it is no grant here.
        let bearer = [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", assertion.as_str())];
        let (status, body) = world.token("desk-agent", &bearer).await;
        assert_eq!((status, &body["error"]), (400, &json!("unsupported_grant_type")));
        let form = [("grant_type", crate::harness::EXCHANGE), ("requested_token_type", ID_JAG), ("audience", aud.as_str()),
            ("subject_token", access), ("subject_token_type", ACCESS_TOKEN)];
        let (status, body) = world.token("console", &form).await;
        assert_eq!((status, &body["error"]), (400, &json!("unauthorized_client")));
        let request = world.http.post(format!("{}/token", world.url)).basic_auth("desk-agent", Some(crate::harness::SECRET));
        let request = request.header("content-type", "application/x-www-form-urlencoded").header("dpop", "e30.e30.AA");
        let answer = crate::harness::Answer::read(request.body(encode(&form)).send().await.unwrap()).await;
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_request")), "{}", answer.body);
        assert_eq!(rows(&world).await, before);
    }
}

/// A token of our making, in the place of the ID token.
async fn refused(world: &World, tokens: &Value, name: &str, token: &str) {
    let subject = [("subject_token", token), ("subject_token_type", ID_TOKEN)];
    let (status, body) = world.exchange("desk-agent", tokens, &subject).await;
    assert_eq!((status, &body["error"]), (400, &json!("invalid_grant")), "{name}: {body}");
}

#[tokio::test]
async fn forged_id_tokens() {
    let world = World::start(Engine::Sqlite).await;
    let (_, tokens, ..) = world.delegated().await;
    let token = tokens["id_token"].as_str().unwrap();
    let (signed, _) = token.rsplit_once('.').unwrap();
    let payload = token.split('.').nth(1).unwrap();
    let header = |value: &Value| format!("{}.{payload}", URL_SAFE_NO_PAD.encode(value.to_string()));
    let ring = &world.app.issuer.ring;
    let kid = ring.active.kid();
    let before = rows(&world).await;
    refused(&world, &tokens, "unsigned", &format!("{signed}.")).await;
    refused(&world, &tokens, "none", &format!("{}.", header(&json!({"alg": "none"})))).await;
    refused(&world, &tokens, "none with kid", &format!("{}.", header(&json!({"alg": "none", "kid": kid})))).await;
    let crit = json!({"alg": "ES256", "kid": kid, "crit": ["x"], "x": 1});
    refused(&world, &tokens, "crit", &format!("{}.AA", header(&crit))).await;

    // The published key as a shared secret, in the forms it might be mistaken for one.
    let jwk = serde_json::to_value(ring.active.public_jwk()).unwrap();
    let mut hs256 = Header::new(Algorithm::HS256);
    hs256.kid = Some(kid.to_string());
    for secret in [jwk.to_string(), jwk["x"].as_str().unwrap().to_owned()] {
        let key = EncodingKey::from_secret(secret.as_bytes());
        let forged = jsonwebtoken::encode(&hs256, &claims(token), &key).unwrap();
        refused(&world, &tokens, "HS256", &forged).await;
    }

    // Signed by us, and still not for this.
    let good: IdToken = serde_json::from_value(claims(token)).unwrap();
    let sign = |change: fn(&mut IdToken)| {
        let mut claims = good.clone();
        change(&mut claims);
        sign_by(&ring.active, ID_TOKEN_TYP, &claims)
    };
    refused(&world, &tokens, "expired", &sign(|c| c.exp = NOW)).await;
    refused(&world, &tokens, "another issuer", &sign(|c| c.iss = "https://id.example".into())).await;
    refused(&world, &tokens, "another client", &sign(|c| c.aud = ClientId::parse("travel-agent").unwrap())).await;
    refused(&world, &tokens, "no such session", &sign(|c| c.sid = "0".repeat(32))).await;
    refused(&world, &tokens, "another user", &sign(|c| c.sub = Subject::parse("somebody").unwrap())).await;
    refused(&world, &tokens, "a notice", &sign_by(&ring.active, "logout+jwt", &good)).await;
    assert_eq!(rows(&world).await, before);
    let subject = [("subject_token", sign(|c| c.exp = NOW + Seconds(1))), ("subject_token_type", ID_TOKEN.to_owned())];
    let subject: Vec<(&str, &str)> = subject.iter().map(|(n, v)| (*n, v.as_str())).collect();
    assert_eq!(
        world.exchange("desk-agent", &tokens, &subject).await.0,
        200,
        "the forgeries differ from this by one thing each"
    );
}

#[tokio::test]
async fn subject_tokens_end() {
    let world = World::start(Engine::Sqlite).await;
    let (browser, tokens, ..) = world.delegated().await;
    let id = [("subject_token", tokens["id_token"].as_str().unwrap()), ("subject_token_type", ID_TOKEN)];
    assert_eq!(world.exchange("desk-agent", &tokens, &id).await.0, 200);
    // The cached facts are of this second still when the token is over.
    let refused = async |name: &str, changes: &[(&str, &str)]| {
        let (status, body) = world.exchange("desk-agent", &tokens, changes).await;
        assert_eq!((status, &body["error"]), (400, &json!("invalid_grant")), "{name}: {body}");
    };
    let expires_in = tokens["expires_in"].as_i64().unwrap();
    world.clock.advance(Seconds(expires_in - 1));
    assert_eq!(world.exchange("desk-agent", &tokens, &[]).await.0, 200);
    world.clock.advance(Seconds(1));
    refused("expired access token", &[]).await;
    world.clock.advance(Seconds((3600 - expires_in - 1).max(0)));
    if expires_in < 3600 {
        assert_eq!(world.exchange("desk-agent", &tokens, &id).await.0, 200);
        world.clock.advance(Seconds(1));
    }
    refused("expired ID token", &id).await;

    let tokens = world.tokens(&browser, "desk-agent").await;
    let id = [("subject_token", tokens["id_token"].as_str().unwrap()), ("subject_token_type", ID_TOKEN)];
    assert_eq!(world.exchange("desk-agent", &tokens, &id).await.0, 200);
    let page = browser.get("/connections").await;
    browser.submit(&page, "/logout", &[]).await;
    for changes in [&[][..], &id] {
        let (status, body) = world.exchange("desk-agent", &tokens, changes).await;
        assert_eq!((status, &body["error"]), (400, &json!("invalid_grant")), "its session is over: {body}");
    }
}

#[tokio::test]
async fn a_user_without_anything_verified() {
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(BOB).await;
    let tokens = world.tokens(&browser, "desk-agent").await;
    let (status, body) = world.exchange("desk-agent", &tokens, &[]).await;
    assert_eq!((status, &body["error"]), (400, &json!("access_denied")));
    assert!(body["error_description"].as_str().unwrap().contains("verified"), "{body}");
    assert_eq!(world.database.column("SELECT id FROM ticket").await, [""; 0]);
}

#[tokio::test]
async fn an_old_sign_in_has_to_be_renewed() {
    let declare = |service: &str| format!("{}max_auth_age = \"1h\"\n", declarations(service));
    let world = World::with(Engine::Sqlite, declare).await;
    let (browser, tokens, ..) = world.delegated().await;
    world.clock.advance(Seconds(3600));
    let refreshed = [("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
    let (status, tokens) = world.token("desk-agent", &refreshed).await;
    assert_eq!(status, 200, "{tokens}");
    assert_eq!(world.exchange("desk-agent", &tokens, &[]).await.0, 200, "exactly the age that is allowed");
    world.clock.advance(Seconds(1));
    let (status, body) = world.exchange("desk-agent", &tokens, &[]).await;
    assert_eq!(
        (status, &body["error"], &body["max_age"]),
        (400, &json!("insufficient_user_authentication"), &json!(3600)),
        "{body}"
    );

    let page = browser.get("/login?again=1").await;
    let typed = [("email", ALICE), ("password", crate::harness::PASSWORD)];
    assert_eq!(browser.submit(&page, "/login", &typed).await.status, 303);
    let (status, body) = world.exchange("desk-agent", &tokens, &[]).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(claims(body["access_token"].as_str().unwrap())["auth_time"], (NOW + Seconds(3601)).0);
}

#[tokio::test]
async fn the_client_s_name_at_the_service() {
    let declare = |service: &str| {
        format!("{}client_ids = {{ \"desk-agent\" = \"https://agent.example/agent.json\" }}\n", declarations(service))
    };
    let world = World::with(Engine::Sqlite, declare).await;
    let (browser, tokens, _, assertion) = world.delegated().await;
    assert_eq!(claims(&assertion)["client_id"], "https://agent.example/agent.json");

    // A service nobody configured: the client is who it is here, the smallest set of claims leaves, and nobody can be told.
    let other =
        [("audience", "https://other.example"), ("scope", "anything"), ("resource", "https://other.example/v1")];
    world.agree(&browser, "desk-agent", &tokens, "always", &other).await;
    let (status, body) = world.exchange("desk-agent", &tokens, &other).await;
    assert_eq!(status, 200, "{body}");
    let minted = claims(body["access_token"].as_str().unwrap());
    let names: Vec<&String> = minted.as_object().unwrap().keys().collect();
    let expected = [
        "aud",
        "auth_time",
        "client_id",
        "email",
        "email_verified",
        "exp",
        "iat",
        "iss",
        "jti",
        "resource",
        "scope",
        "sub",
    ];
    assert_eq!(names, expected);
    assert_eq!((&minted["client_id"], &minted["aud"]), (&json!("desk-agent"), &json!("https://other.example")));
    let list = world.api("GET", "/delegations?aud=https://other.example", &world.admin_token()).await.json();
    let id = list["items"][0]["id"].as_str().unwrap();
    let answer = world.api("DELETE", &format!("/delegations/{id}"), &world.admin_token()).await;
    assert_eq!((answer.status, &answer.json()["status"]), (202, &json!("withdrawn")), "{}", answer.body);
    assert_eq!(world.database.column("SELECT id FROM delivery").await, [""; 0]);
}

both! {
    async fn a_service_that_was_taken_out_is_no_audience_any_more(world: World) {
        let (_, tokens, ..) = world.delegated().await;
        let without = declarations(&world.service.url).split("[[services]]").next().unwrap().to_owned();
        let other = world.replica(&without).await;
        for server in [&world, &other] {
            let (status, body) = server.exchange("desk-agent", &tokens, &[]).await;
            assert_eq!((status, &body["error"]), (400, &json!("invalid_target")), "{body}");
        }
    }
}
