//! What the lab makes: assertions on the command line, and that nothing of it passes at a server.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use avouch::domain::ids::{IssuerUrl, Jti};
use avouch::domain::rotation::SigningAlg;
use avouch::jose::{Jwks, LabKey, Unverified};
use avouch::lab::flaws::{Cast, Terms};
use serde_json::{Value, json};

use crate::harness::{ALICE, Engine, World, claims, run, text};
use crate::issued::{PLACES, is_taken};

const SERVICE: &str = "http://localhost:8000";

/// Exit code, standard output and standard error.
fn avouch(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let output = run(folder, args);
    (output.status.code().unwrap(), text(&output.stdout).trim_end().to_owned(), text(&output.stderr))
}

fn mint(folder: &Path, args: &[&str]) -> (i32, String, String) {
    avouch(folder, &[&["mint", "--audience", SERVICE], args].concat())
}

#[test]
fn an_assertion_for_a_script() {
    let folder = tempfile::TempDir::new().unwrap();
    let folder = folder.path();
    let (code, token, said) = mint(folder, &["--key", "lab.json", "--scope", "api.read", "--claim", "amr=[\"mfa\"]"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("made lab.json"), "{said}");
    let mode = std::fs::metadata(folder.join("lab.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let (code, jwks, said) = avouch(folder, &["mint", "--key", "lab.json", "--jwks"]);
    assert_eq!((code, said.as_str()), (0, ""));
    assert!(!jwks.contains("\"d\""), "{jwks}");
    let set = Jwks::parse(&serde_json::from_str(&jwks).unwrap());
    let verify = |token: &str| {
        let token = Unverified::parse(token).unwrap();
        let key = set.find(token.kid(), token.alg()).unwrap();
        token.verify::<Value>(key, Some("oauth-id-jag+jwt")).map_err(|e| e.to_string())
    };
    let good = verify(&token).unwrap();
    assert_eq!((&good["aud"], &good["amr"], &good["scope"]), (&json!(SERVICE), &json!(["mfa"]), &json!("api.read")));
    assert_eq!(good["exp"].as_i64().unwrap() - good["iat"].as_i64().unwrap(), 300);
    assert_eq!((&good["iss"], &good["client_id"]), (&json!("https://lab.invalid"), &json!("https://lab.invalid")));

    let (code, token, _) = mint(folder, &["--key", "lab.json", "--flaw", "signature-flipped"]);
    assert_eq!(code, 0);
    assert!(verify(&token).unwrap_err().contains("signature"));
    let (code, _, said) = mint(folder, &["--flaw", "jti-replayed"]);
    assert_eq!(code, 0);
    assert!(said.contains("present it twice"), "{said}");

    let (_, bound, _) = mint(folder, &["--json", "--proof-for", "http://localhost:8000/oauth2/token"]);
    let bound: Value = serde_json::from_str(&bound).unwrap();
    assert_eq!(claims(bound["dpop"].as_str().unwrap())["htm"], "POST");

    let named = ["--issuer", "https://id.example", "--sub", "u", "--client", "c", "--resource", "https://api.example/"];
    let (code, shown, _) = mint(folder, &[&named[..], &["--json", "--alg", "RS256", "--claim", "email=null"]].concat());
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let of_it = claims(shown["assertion"].as_str().unwrap());
    assert_eq!((code, &shown["claims"], &shown["flaw"]), (0, &of_it, &Value::Null));
    for (name, value) in
        [("iss", "https://id.example"), ("sub", "u"), ("client_id", "c"), ("resource", "https://api.example/")]
    {
        assert_eq!(of_it[name], value);
    }
    assert!(of_it.get("email").is_none());
    assert_eq!((&shown["header"]["alg"], &shown["header"]["kid"]), (&json!("RS256"), &shown["jwks"]["keys"][0]["kid"]));
}

#[test]
fn what_no_assertion_is_made_of() {
    let folder = tempfile::TempDir::new().unwrap();
    let folder = folder.path();
    let jwk = r#"{"kty":"EC","crv":"P-256","kid":"main-2025","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
    std::fs::write(folder.join("main.json"), jwk).unwrap();
    std::fs::write(folder.join("empty"), "").unwrap();
    assert_eq!(mint(folder, &["--key", "lab.json"]).0, 0);
    for (args, says) in [
        (&["--flaw", "expird"][..], "did you mean expired?"),
        (&["--flaw", "notice-iss-missing"], "is no flaw of an assertion"),
        (&["--flaw", "signature-in-der", "--alg", "RS256"], "signature-in-der"),
        (&["--claim", "exp=4000000000"], "at most 300 seconds"),
        (&["--claim", "x"], "NAME=VALUE"),
        (&["--key", "main.json"], "no lab's key"),
        (&["--key", "empty"], "empty"),
        (&["--key", "lab.json", "--alg", "RS256"], "signs ES256"),
        (&["--issuer", "http://id.example"], "--issuer"),
        (&["--sub", ""], "--sub"),
        (&["--client", "a b"], "--client"),
        (&["--scope", "a\"b"], "--scope"),
        (&["--alg", "HS256"], "HS256"),
        (&["--jwks"], "--key"),
        (&["--proof-for", "http://localhost:8000/token"], "--json"),
        (&["--json", "--proof-for", "x"], "--proof-for"),
    ] {
        let (code, out, said) = mint(folder, args);
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}: {said}");
        assert!(said.contains(says), "{args:?}: {said}");
    }
    assert_eq!(avouch(folder, &["mint"]).0, 2);
    assert_eq!(avouch(folder, &["mint", "--audience", "x", "--key", "other.json"]).0, 2);
    assert!(!folder.join("other.json").exists(), "nothing is made for a command that is wrong");
    assert_eq!(mint(folder, &["--key", "nowhere/lab.json"]).0, 3);
}

/// A lab's issuer that calls itself by the name of a server.
fn posing_as(url: &str, world: &World) -> Cast {
    Cast::new(IssuerUrl::parse(url).unwrap(), LabKey::of_seed(b"a lab").unwrap(), world.clock.now()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_lab_is_taken_anywhere() {
    let world = World::start(Engine::Sqlite).await;
    let (browser, tokens, ..) = world.delegated().await;
    let cast = posing_as(&world.issuer(), &world);
    let key = &cast.issuer.key;
    let terms = Terms {
        audience: world.issuer(),
        sub: claims(tokens["id_token"].as_str().unwrap())["sub"].as_str().unwrap().to_owned(),
        email: Some(ALICE.into()),
        client_id: "jwt-agent".into(),
        scope: None,
        resource: None,
        jti: Jti::parse("a-lab's").unwrap(),
        alg: SigningAlg::Es256,
    };
    let good = [
        ("ID token", tokens["id_token"].as_str().unwrap().to_owned()),
        ("client assertion", world.client_assertion(&json!({}))),
    ];
    // What is good but for its key, and what no server takes anyway.
    let mut things: Vec<(&str, String)> =
        good.iter().map(|(name, token)| (*name, key.sign_jwt("JWT", &claims(token)).unwrap())).collect();
    things.push(("assertion", cast.assertion(&terms).unwrap().token(&cast).unwrap()));
    for (place, takes) in PLACES {
        for (name, thing) in &things {
            assert!(!is_taken(&world, &browser, place, thing).await, "{place}: {name}");
        }
        for (name, thing) in &good {
            if takes.contains(name) {
                assert!(is_taken(&world, &browser, place, thing).await, "{place}: {name} but for its key");
            }
        }
    }
}

#[test]
fn no_key_of_a_lab_becomes_a_servers_or_a_clients() {
    let folder = tempfile::TempDir::new().unwrap();
    let folder = folder.path();
    let (code, jwks, _) = avouch(folder, &["mint", "--key", "lab.json", "--jwks"]);
    assert_eq!(code, 0);
    assert_eq!(avouch(folder, &["keys", "init"]).0, 0);
    for args in [&["keys", "import", "lab.json"][..], &["keys", "import", "lab.json", "--kid", "main"]] {
        let (code, _, said) = avouch(folder, args);
        assert!(code == 2 && said.contains("a lab's"), "{args:?}: {said}");
    }
    let mut renamed: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("lab.json")).unwrap()).unwrap();
    renamed.as_object_mut().unwrap().remove("kid");
    std::fs::write(folder.join("renamed.json"), renamed.to_string()).unwrap();
    let (code, _, said) = avouch(folder, &["keys", "import", "renamed.json", "--kid", "lab-main"]);
    assert!(code == 2 && said.contains("a lab's"), "{said}");
    let declared = format!(
        "[[clients]]\nclient_id = \"agent\"\nclient_name = \"Agent\"\ntoken_endpoint_auth_method = \"private_key_jwt\"\n\
         redirect_uris = [\"https://agent.example/cb\"]\njwks = '{jwks}'\n"
    );
    std::fs::write(folder.join("avouch.toml"), declared).unwrap();
    let (code, _, said) = avouch(folder, &["check-config"]);
    assert!(code == 2 && said.contains("a lab's"), "{said}");
}
