//! Whatever a sandbox names is there: each address in its metadata, its text, its page and its answers, in every dialect.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::lab::flaws::Dialect;
use crate::lab::sandbox::metadata::places;
use crate::lab::sandbox::testing::{World, read};
use crate::net::Method;

/// Every address of this origin in a text, as a path.
fn named(text: &str, origin: &str) -> BTreeSet<String> {
    let ends = |c: char| c.is_whitespace() || "\"'<>|)`,;\\".contains(c);
    let absolute = text.split(origin).skip(1).map(|rest| rest.split(ends).next().unwrap());
    let relative = ["href=\"", "src=\"", "action=\""].into_iter().flat_map(|before| {
        text.split(before).skip(1).map(|rest| rest.split('"').next().unwrap()).filter(|path| path.starts_with('/'))
    });
    // A sentence may end with one; a fragment is for the reader.
    let path = |path: &str| path.split('#').next().unwrap().trim_end_matches(['.', ':']).to_owned();
    absolute.chain(relative).map(path).filter(|path| path.starts_with('/')).collect()
}

/// Status of an empty request.
async fn answers(w: &World, method: Method, path: &str) -> u16 {
    let headers = [("content-type", "application/json")];
    if method == Method::Post { w.send(method, path, &headers, "").await.status } else { w.get(path).await.status }
}

/// Whether anything at all is there, whichever method it takes.
async fn is_there(w: &World, path: &str) -> bool {
    let get = answers(w, Method::Get, path).await;
    let status = if get == 405 { answers(w, Method::Post, path).await } else { get };
    status != 404 && status != 405 && status < 500
}

/// What it says to an agent that has to have a user asked.
async fn interaction(w: &World) -> Value {
    let recent = json!({"auth_time": crate::lab::sandbox::testing::NOW});
    w.identify(&w.assertion(recent.clone())).await;
    let other = crate::lab::sandbox::testing::merged(recent, json!({"sub": "user-2"}));
    w.identify(&w.assertion(other)).await.1
}

#[tokio::test]
async fn whatever_it_names_answers() {
    for dialect in Dialect::ALL {
        let w = World::speaking(dialect).await;
        let mut paths = BTreeSet::new();
        for document in
            ["/", "/auth.md", "/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource"]
        {
            let response = w.get(document).await;
            assert_eq!(response.status, 200, "{dialect:?} {document}");
            paths.extend(named(&String::from_utf8(response.body).unwrap(), &w.aud));
        }
        let hint = w.get("/api/resource").await;
        paths.extend(named(hint.header("www-authenticate").unwrap(), &w.aud));
        if dialect == Dialect::V01 {
            let anonymous = json!({"type": "anonymous", "requested_credential_type": "api_key"});
            paths.extend(named(&w.post(&anonymous).await.1.to_string(), &w.aud));
        } else if dialect != Dialect::Plain {
            let asked = interaction(&w).await.to_string();
            assert!(asked.contains("interaction_required"), "{asked}");
            paths.extend(named(&asked, &w.aud));
        }
        // The stream has no end, and is a test of its own.
        paths.remove("/sandbox/events/stream");
        assert!(paths.len() >= 12, "{dialect:?}: {paths:?}");
        let mut gone = Vec::new();
        for path in &paths {
            if !is_there(&w, path).await {
                gone.push(path);
            }
        }
        assert!(gone.is_empty(), "{dialect:?} names {gone:?}");
    }
}

#[tokio::test]
async fn each_place_takes_the_method_that_it_is_said_to_take() {
    for dialect in Dialect::ALL {
        let w = World::speaking(dialect).await;
        for (methods, path, _) in places(dialect).into_iter().filter(|(_, path, _)| !path.ends_with("/stream")) {
            for method in methods.split(", ") {
                let method = if method == "POST" { Method::Post } else { Method::Get };
                let status = answers(&w, method, path).await;
                assert!(status != 404 && status != 405 && status < 500, "{dialect:?} {method:?} {path}: {status}");
            }
        }
    }
}

#[tokio::test]
async fn a_plain_one_signs_nobody_in() {
    let w = World::speaking(Dialect::Plain).await;
    let (status, body) = read(&w.get("/oauth2/authorize?response_type=code&redirect_uri=https://x.example").await);
    assert_eq!((status, &body["error"]), (400, &json!("unsupported_response_type")));
}
