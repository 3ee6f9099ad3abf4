//! What leaves for a service: no more than the user was shown, than is verified, and than the service has now; and what a request is told
//! that means a service by another name.

use serde_json::{Value, json};

use crate::harness::{ACCESS_TOKEN, ALICE, BOB, Engine, World, both, claims, declarations};

/// The usual declarations, with lines added to the service.
fn with_service(service: &str, lines: &str) -> String {
    declarations(service).replace("name = \"Fake Service\"", &format!("name = \"Fake Service\"\n{lines}"))
}

/// Somebody with a phone number that was never checked, and a service that takes whom it gets.
fn unverified(service: &str) -> String {
    with_service(
        service,
        "claims = [\"email\", \"email_verified\", \"name\", \"phone_number\", \"phone_number_verified\"]",
    )
    .replace(
        &format!("email = \"{BOB}\"\n"),
        &format!("email = \"{BOB}\"\nphone_number = \"+15550100\"\nphone_number_verified = true\n"),
    )
    .replace("name = \"Alice Example\"", "name = \"Alice Example\"\nphone_number = \"+15550101\"")
}

async fn minted(world: &World, tokens: &Value, changes: &[(&str, &str)]) -> Value {
    let (status, body) = world.exchange("desk-agent", tokens, changes).await;
    assert_eq!(status, 200, "{body}");
    claims(body["access_token"].as_str().unwrap())
}

async fn refused(world: &World, tokens: &Value, changes: &[(&str, &str)]) -> (String, String) {
    let (status, body) = world.exchange("desk-agent", tokens, changes).await;
    assert_eq!(status, 400, "{body}");
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    (text("error"), text("error_description"))
}

both! {
    async fn a_claim_that_was_not_shown_is_asked_for(world: World) {
        let before = world.replica(&with_service(&world.service.url, "claims = [\"email\", \"email_verified\"]")).await;
        let (browser, tokens, _, assertion) = before.delegated().await;
        assert_eq!((&claims(&assertion)["email"], &claims(&assertion)["name"]), (&json!(ALICE), &Value::Null));

        // The operator lets more leave: nothing does until the user has seen it, and the page says what is new.
        let after = world.replica(&with_service(&world.service.url, "claims = [\"email\", \"email_verified\", \"name\"]")).await;
        let (status, body) = after.exchange("desk-agent", &tokens, &[]).await;
        assert_eq!((status, &body["error"]), (400, &json!("consent_required")), "{body}");
        let path = body["consent_uri"].as_str().unwrap().strip_prefix(&world.issuer()).unwrap().to_owned();
        let page = browser.at(&after).get(&path).await.body;
        assert!(page.contains("is more than you agreed to then"), "{page}");
        assert!(page.contains("<b class=\"new\">New</b> Your name") && !page.contains("New</b> Your e-mail"), "{page}");
        let browser = browser.at(&after);
        after.clock.advance(avouch::domain::time::Seconds(5));
        after.agree(&browser, "desk-agent", &tokens, "always", &[]).await;
        assert_eq!(minted(&after, &tokens, &[]).await["name"], "Alice Example");
        // With less again, what was agreed to covers it.
        let less = world.replica(&with_service(&world.service.url, "claims = [\"email\"]")).await;
        let said = minted(&less, &tokens, &[]).await;
        assert_eq!((&said["email"], &said["email_verified"], &said["name"]), (&json!(ALICE), &Value::Null, &Value::Null));
    }
}

#[tokio::test]
async fn what_is_not_verified_stays_here() {
    let world = World::with(Engine::Sqlite, unverified).await;
    for (user, shown, withheld, said) in [
        (BOB, "+15550100 (verified)", BOB, json!([null, null, "+15550100", true])),
        (ALICE, "alice@example.com (verified)", "+15550101", json!([ALICE, true, null, null])),
    ] {
        let browser = world.signed_in(user).await;
        let tokens = world.tokens(&browser, "desk-agent").await;
        let (_, body) = world.exchange("desk-agent", &tokens, &[]).await;
        let path = body["consent_uri"].as_str().unwrap().strip_prefix(&world.issuer()).unwrap().to_owned();
        let page = browser.get(&path).await.body;
        assert!(page.contains(shown), "{page}");
        assert!(page.contains(&format!("<b><bdi>{withheld}</bdi></b> is not verified, so it is not shared")), "{page}");
        world.clock.advance(avouch::domain::time::Seconds(5));
        world.agree(&browser, "desk-agent", &tokens, "always", &[]).await;
        let assertion = minted(&world, &tokens, &[]).await;
        let names = ["email", "email_verified", "phone_number", "phone_number_verified"];
        assert_eq!(json!(names.map(|name| &assertion[name])), said, "{assertion}");
    }
}

both! {
    async fn what_a_service_no_longer_has_is_no_longer_granted(world: World) {
        let browser = world.signed_in(ALICE).await;
        let tokens = world.tokens(&browser, "desk-agent").await;
        let api = format!("{}/api/", world.service.url);
        let all = [("scope", "api.read api.write"), ("resource", api.as_str())];
        world.agree(&browser, "desk-agent", &tokens, "always", &all).await;
        let none = [("scope", "")];
        let said = minted(&world, &tokens, &none).await;
        assert_eq!((&said["scope"], &said["resource"]), (&json!("api.read api.write"), &json!(api)));

        let ours = declarations(&world.service.url);
        let narrowed = world.replica(&ours.replace("scopes = [\"api.read\", \"api.write\"]", "scopes = [\"api.read\"]")).await;
        assert_eq!(minted(&narrowed, &tokens, &none).await["scope"], "api.read");
        // Nothing is left of what was agreed to: an assertion that names nothing would be good for everything.
        let renamed = world.replica(&ours.replace("scopes = [\"api.read\", \"api.write\"]", "scopes = [\"api.other\"]")).await;
        assert_eq!(refused(&renamed, &tokens, &none).await.0, "consent_required");
        world.clock.advance(avouch::domain::time::Seconds(5));
        let moved = world.replica(&ours.replace("/api/\"]", "/v2/\"]")).await;
        assert_eq!(refused(&moved, &tokens, &none).await.0, "consent_required");
        let back = world.replica(&ours).await;
        assert_eq!(minted(&back, &tokens, &none).await["scope"], "api.read api.write");
    }
}

#[tokio::test]
async fn an_assertion_fits_into_what_services_take() {
    let long = |n: usize| format!("https://other.example/{n}{}", "x".repeat(1900));
    let world = World::start(Engine::Sqlite).await;
    let browser = world.signed_in(ALICE).await;
    let tokens = world.tokens(&browser, "desk-agent").await;
    let (one, two, three) = (long(1), long(2), long(3));
    let few = [("audience", "https://other.example"), ("scope", ""), ("resource", &*one), ("resource", &*two)];
    let many = [&few[..], &[("resource", &*three)]].concat();
    for asked in [&few[..], &many] {
        world.agree(&browser, "desk-agent", &tokens, "once", asked).await;
    }
    let (status, body) = world.exchange("desk-agent", &tokens, &few).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["resource"], json!([one, two]), "RFC 8693: as in the claim");
    assert!(body["access_token"].as_str().unwrap().len() <= 8192);
    let (error, description) = refused(&world, &tokens, &many).await;
    assert_eq!(error, "invalid_request", "{description}");
    let used = world.database.column("SELECT id FROM consent WHERE ended_at IS NOT NULL").await;
    assert_eq!(used.len(), 1, "and the once is still there");
}

both! {
    async fn a_service_by_another_name(world: World) {
        let service = world.service.url.clone();
        let browser = world.signed_in(ALICE).await;
        let tokens = world.tokens(&browser, "desk-agent").await;
        let port = service.rsplit(':').next().unwrap();
        let spellings = [
            format!("{service}/"),
            format!("http://LOCALHOST:{port}").replace("LOCALHOST", &service["http://".len()..service.rfind(':').unwrap()].to_uppercase()),
            format!("{service}/."),
            format!("{service}/%2e"),
        ];
        let meant = async |world: &World| {
            for spelling in &spellings {
                let (error, description) = refused(world, &tokens, &[("audience", spelling)]).await;
                assert_eq!(error, "invalid_target", "{spelling}: {description}");
                assert!(description.ends_with(&format!("did you mean {service}?")), "{spelling}: {description}");
            }
        };
        meant(&world).await;
        let all = declarations(&service).replace(&format!("audiences = [\"{service}\", \"https://other.example\"]"), "audiences = [\"*\"]");
        // From here on the ceiling is that of both: it stands in the database.
        let any = world.replica(&all).await;
        meant(&any).await;
        // Nobody is told of a service that their ceiling does not have.
        let (status, body) = any.exchange("travel-agent", &any.tokens(&browser, "travel-agent").await, &[("audience", "https://other.example/")]).await;
        assert_eq!((status, &body["error_description"]), (400, &json!("this client may not ask for this audience")));
        for (name, value) in [
            ("audience", "https://b\u{fc}cher.example"),
            ("audience", "https://\u{430}.example"),
            ("audience", "https://a.example/\u{202e}x"),
            ("audience", "javascript://a.example"),
            ("resource", "https://a.example/\u{202e}x"),
            ("resource", "javascript://a.example/%0aalert(1)"),
        ] {
            let changes = if name == "audience" { vec![(name, value)] } else { vec![("audience", "https://a.example"), (name, value)] };
            assert_eq!(refused(&any, &tokens, &changes).await.0, "invalid_target", "{name} {value}");
        }
        assert_eq!(world.database.column("SELECT id FROM ticket").await.len(), 0, "nobody was asked");
    }
}

both! {
    async fn who_signed_out_is_told_so(world: World) {
        let (browser, tokens, ..) = world.delegated().await;
        let page = browser.get("/connections").await;
        assert_eq!(browser.submit(&page, "/logout", &[]).await.status, 303);
        let over = "subject_token: its session is over: the user has to sign in again";
        assert_eq!(refused(&world, &tokens, &[]).await, ("invalid_grant".into(), over.into()));
        let made_up = [("subject_token", "made-up"), ("subject_token_type", ACCESS_TOKEN)];
        assert!(refused(&world, &tokens, &made_up).await.1.contains("not a valid access token of this client"));
        let (_, theirs) = world.exchange("travel-agent", &tokens, &[]).await;
        assert!(theirs["error_description"].as_str().unwrap().contains("not a valid access token"), "another client's: {theirs}");
    }
}
