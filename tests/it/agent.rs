//! The scripted agent and its user, who know an issuer by its identifier only: at the default issuer and at a path issuer alike.

use avouch::domain::ids::ClientId;
use avouch::lab::agent::{Agent, Ask, Browser, Decision, Exchanged, Http, Person, Registration};
use avouch::net::{Net, Policy};
use avouch::rng::Rng;

use crate::harness::{ALICE, BOB, CALLBACK, Engine, PASSWORD, SECRET, Serving, World, claims, eventually, twins};

fn http() -> Http {
    Http::new(Net::new(Policy { allow_private_addresses: true, allowed_networks: Vec::new() }).unwrap())
}

fn person(email: &str) -> Person {
    Person { browser: Browser::new(http()), email: email.into(), password: PASSWORD.into() }
}

async fn agent(issuer: &str) -> Agent {
    let registration = Registration {
        client_id: ClientId::parse("desk-agent").unwrap(),
        client_secret: SECRET.into(),
        redirect_uri: CALLBACK.into(),
    };
    Agent::discover(http(), issuer, registration).await.unwrap()
}

/// Signs somebody in. Answers with the access token.
async fn signed_in(agent: &Agent, who: &Person) -> String {
    let authorization = agent.authorize("openid email", &Rng::seeded(1)).unwrap();
    let called_back = who.sign_in_to(&authorization.url).await.unwrap();
    let tokens = agent.tokens(&authorization, &called_back).await.unwrap();
    tokens["access_token"].as_str().unwrap().to_owned()
}

async fn asked(agent: &Agent, token: &str, ask: &Ask) -> String {
    match agent.exchange(token, ask).await.unwrap() {
        Exchanged::ConsentRequired { consent_uri, .. } => consent_uri,
        other => panic!("the user was not asked: {other:?}"),
    }
}

#[tokio::test]
async fn two_issuers_on_one_origin() {
    let bobs = format!("email = \"{BOB}\"\n");
    let verified = |service: &str| twins(service).replace(&bobs, &format!("{bobs}email_verified = true\n"));
    let world = World::with(Engine::Sqlite, verified).await;
    let ask = Ask {
        audience: world.service.url.clone(),
        resource: format!("{}/api/", world.service.url),
        scope: "api.read".into(),
        context: "Reconcile October".into(),
    };
    let host = world.service.url.strip_prefix("http://").unwrap();
    let issuers = [world.issuer(), format!("{}/acme", world.issuer())];
    // One browser for both issuers, and one of somebody else beside it, on the same origin.
    let (alice, bob) = (person(ALICE), person(BOB));
    for issuer in &issuers {
        let agent = agent(issuer).await;
        let token = signed_in(&agent, &alice).await;
        let question = asked(&agent, &token, &ask).await;
        assert!(question.starts_with(&format!("{issuer}/consent/")), "{question}");
        alice.decide(&question, Decision::Allow("always")).await.unwrap();
        let assertion = agent.assertion(&token, &ask).await.unwrap();
        assert_eq!(claims(&assertion)["iss"], issuer.as_str());

        // Bob's denial is his own, and does not touch what Alice allowed.
        let bobs = signed_in(&agent, &bob).await;
        bob.decide(&asked(&agent, &bobs, &ask).await, Decision::Deny).await.unwrap();
        assert!(
            matches!(agent.exchange(&bobs, &ask).await.unwrap(), Exchanged::Refused(body) if body["error"] == "access_denied")
        );
        assert!(matches!(agent.exchange(&token, &ask).await.unwrap(), Exchanged::Assertion(_)));
    }
    // What is stopped at one issuer goes on at the other.
    alice.stop(&issuers[1], host).await.unwrap();
    let again = alice.stop(&issuers[1], host).await.err().unwrap();
    assert!(again.contains("shows nothing to stop"), "{again}");
    for (issuer, goes_on) in issuers.iter().zip([true, false]) {
        let agent = agent(issuer).await;
        let token = signed_in(&agent, &alice).await;
        let answer = agent.exchange(&token, &ask).await.unwrap();
        assert_eq!(matches!(answer, Exchanged::Assertion(_)), goes_on, "{issuer}: {answer:?}");
    }
}

#[tokio::test]
async fn what_is_not_the_issuers_answer_is_refused() {
    let world = World::with(Engine::Sqlite, twins).await;
    let registration = Registration {
        client_id: ClientId::parse("desk-agent").unwrap(),
        client_secret: SECRET.into(),
        redirect_uri: CALLBACK.into(),
    };
    // Metadata of another name than the one it was asked for (RFC 8414 section 3.3).
    let elsewhere = world.issuer().replace("localhost", "127.0.0.1");
    let refused = Agent::discover(http(), &elsewhere, registration).await.err().unwrap();
    assert!(refused.contains("says that its issuer is"), "{refused}");
    // An answer of the other issuer, and one to another request (RFC 9207; RFC 6749 section 10.12).
    let agent = agent(&world.issuer()).await;
    let alice = person(ALICE);
    let authorization = agent.authorize("openid email", &Rng::seeded(1)).unwrap();
    let called_back = alice.sign_in_to(&authorization.url).await.unwrap();
    let mixed_up = called_back.replace("iss=", "iss=x");
    assert!(agent.tokens(&authorization, &mixed_up).await.is_err());
    let other = agent.authorize("openid email", &Rng::seeded(2)).unwrap();
    assert!(agent.tokens(&other, &called_back).await.is_err());
    assert!(agent.tokens(&authorization, &called_back).await.is_ok());
}

/// What `avouch serve` prints where nothing is declared works as it is pasted: up to an assertion that the sandbox accepts.
#[tokio::test]
async fn what_serve_prints_works_as_pasted() {
    let folder = tempfile::TempDir::new().unwrap();
    let serve = || Serving::start(folder.path(), &["serve", "--port", "0"]);
    let first = serve();
    let printed = || std::fs::read_to_string(folder.path().join("log")).unwrap();
    eventually("all of it is printed", async || printed().contains("  connections  ")).await;
    drop(first);
    let printed = printed();
    let block: Vec<_> = printed.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    let sandbox = Serving::start(folder.path(), &["sandbox", "--port", "0"]);
    let block = block.join("\n").replace("http://localhost:8000", &sandbox.url);
    std::fs::write(folder.path().join("avouch.toml"), &block).unwrap();
    let value = |key: &str| block.split(&format!("{key} = \"")).nth(1).unwrap().split('"').next().unwrap().to_owned();
    // A database belongs to one issuer, and the port is another one now.
    std::fs::remove_dir_all(folder.path().join("data")).unwrap();
    std::fs::remove_dir_all(folder.path().join("keys")).unwrap();
    let provider = serve();

    let registration = Registration {
        client_id: ClientId::parse(&value("client_id")).unwrap(),
        client_secret: value("client_secret").as_str().into(),
        redirect_uri: CALLBACK.into(),
    };
    let agent = Agent::discover(http(), &provider.url, registration).await.unwrap();
    let person =
        Person { browser: Browser::new(http()), email: value("email"), password: value("password").as_str().into() };
    let token = signed_in(&agent, &person).await;
    let ask =
        Ask { audience: sandbox.url.clone(), resource: String::new(), scope: String::new(), context: String::new() };
    person.decide(&asked(&agent, &token, &ask).await, Decision::Allow("once")).await.unwrap();
    let assertion = agent.assertion(&token, &ask).await.unwrap();
    let given = http()
        .post_json(
            &format!("{}/agent/auth", sandbox.url),
            &serde_json::json!({"type": "identity_assertion",
        "assertion_type": "urn:ietf:params:oauth:token-type:id-jag", "requested_credential_type": "api_key", "assertion": assertion}),
        )
        .await
        .unwrap();
    assert_eq!(given.status, 200, "{}", given.body);
}
