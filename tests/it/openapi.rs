//! The description of `/api/v1`: it names every route there, and real answers are what it says.

use std::collections::BTreeSet;

use avouch::http::{openapi, paths};
use serde_json::{Value, json};

use crate::harness::{Answer, Engine, World, both};

fn document() -> Value {
    serde_json::from_str(&openapi()).unwrap()
}

/// What a `$ref` points at.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(at) => document.pointer(at.strip_prefix('#').unwrap()).unwrap_or_else(|| panic!("{at}")),
        None => schema,
    }
}

/// Holds a value against its schema: types, words, and every member in both directions.
fn assert_described(document: &Value, schema: &Value, value: &Value, at: &str) {
    let schema = resolved(document, schema);
    if let Some(one_of) = schema["oneOf"].as_array() {
        let other = one_of.iter().find(|s| s["type"] != "null").unwrap();
        assert!(value.is_null() || other.is_object(), "{at}");
        if !value.is_null() {
            assert_described(document, other, value, at);
        }
        return;
    }
    if let Value::Object(members) = value {
        let mut parts = vec![schema];
        while let Some(at) = parts.iter().position(|part| part["allOf"].is_array()) {
            let all = parts.remove(at)["allOf"].as_array().into_iter().flatten();
            parts.extend(all.map(|part| resolved(document, part)));
        }
        for (name, member) in members {
            let described = parts.iter().map(|part| &part["properties"][name]).find(|s| s.is_object());
            let described = described.unwrap_or_else(|| panic!("{at}.{name} is not described"));
            assert_described(document, described, member, &format!("{at}.{name}"));
        }
        let required = parts.iter().filter_map(|part| part["required"].as_array()).flatten();
        for name in required.map(|name| name.as_str().unwrap()) {
            assert!(members.contains_key(name), "{at}.{name} is missing");
        }
        return;
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        _ => "array",
    };
    let types = &schema["type"];
    assert!(types == kind || types.as_array().is_some_and(|t| t.contains(&json!(kind))), "{at}: {value} is no {types}");
    if let Some(words) = schema["enum"].as_array() {
        assert!(words.contains(value), "{at}: {value} is none of {words:?}");
    }
    for item in value.as_array().into_iter().flatten() {
        assert_described(document, &schema["items"], item, &format!("{at}[]"));
    }
}

fn described(document: &Value, method: &str, path: &str, answer: &Answer) {
    let responses = &document["paths"][path][method]["responses"];
    let of_status = &responses[answer.status.to_string()];
    let response = if of_status.is_null() { &responses["default"] } else { of_status };
    let (kind, content) = resolved(document, response)["content"].as_object().unwrap().iter().next().unwrap();
    assert_eq!(answer.header("content-type"), kind, "{method} {path}");
    assert_described(document, &content["schema"], &answer.json(), &format!("{method} {path} {}", answer.status));
}

#[test]
fn the_description() {
    insta::assert_snapshot!(openapi());
}

#[tokio::test]
async fn every_route_and_every_method_is_described() {
    let world = World::start(Engine::Sqlite).await;
    let document = document();
    let mut ids = BTreeSet::new();
    let routes = paths().into_iter().map(|(_, path)| path);
    let routes: BTreeSet<_> =
        routes.filter(|path| path.starts_with("/api/") && *path != "/api/v1/openapi.json").collect();
    let named: BTreeSet<_> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(named, routes);
    for path in routes {
        let at = path.strip_prefix("/api/v1").unwrap().replace("{id}", "x");
        // What a path can be asked with is in the refusal of another method.
        let refused = world.api("PUT", &at, "x").await;
        assert_eq!(refused.status, 405);
        let allowed = refused.header("allow").to_ascii_lowercase();
        let allowed: BTreeSet<_> = allowed.split(',').filter(|method| *method != "head").collect();
        let operations = document["paths"][path].as_object().unwrap();
        assert_eq!(operations.keys().map(String::as_str).collect::<BTreeSet<_>>(), allowed, "{path}");
        for operation in operations.values() {
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{operation}");
        }
    }
}

both! {
    async fn real_answers_are_as_described(world: World) {
        let served = Answer::read(world.http.get(format!("{}/api/v1/openapi.json", world.url)).send().await.unwrap()).await;
        assert_eq!((served.status, served.header("content-type")), (200, "application/json"));
        let document = served.json();
        assert_eq!(document["servers"], json!([{"url": world.issuer()}]));
        let (browser, _, delegation, _) = world.delegated().await;
        let root = world.admin_token();
        let (many, one) = ("/api/v1/delegations", "/api/v1/delegations/{id}");
        described(&document, "get", many, &world.api("GET", "/delegations", &root).await);
        described(&document, "get", many, &world.api("GET", "/delegations?limit=0", &root).await);
        described(&document, "get", many, &world.api("GET", "/delegations", "made-up").await);
        described(&document, "get", one, &world.api("GET", &format!("/delegations/{delegation}"), &root).await);
        described(&document, "delete", one, &world.api("DELETE", &format!("/delegations/{delegation}"), &root).await);
        described(&document, "get", one, &world.api("GET", &format!("/delegations/{delegation}"), &root).await);
        let (many, one) = ("/api/v1/services", "/api/v1/services/{id}");
        world.service.publish_server(json!({"issuer": world.service.url, "resource": 7, "agent_auth": {
            "register_uri": format!("{}/agent/auth", world.service.url), "revocation_uri": null, "skill": "/auth.md",
            "events_endpoint": format!("{}/events", world.service.url), "identity_types_supported": ["none"],
        }}));
        let body = json!({"url": world.service.url});
        let discovered = world.api_json("POST", "/services/discover", &root, &body).await;
        assert_eq!(discovered.json()["notices"].as_array().unwrap().len(), 1, "{}", discovered.body);
        described(&document, "post", "/api/v1/services/discover", &discovered);
        described(&document, "post", "/api/v1/services/discover", &world.api_json("POST", "/services/discover", &root, &json!({})).await);
        let tokens = world.tokens(&browser, "desk-agent").await;
        world.exchange("desk-agent", &tokens, &[("audience", "https://other.example"), ("scope", "")]).await;
        let list = world.api("GET", "/services", &root).await;
        described(&document, "get", many, &list);
        for item in list.json()["items"].as_array().unwrap() {
            let at = format!("/services/{}", item["id"].as_str().unwrap());
            described(&document, "get", one, &world.api("GET", &at, &root).await);
            described(&document, "post", &format!("{one}/refresh"), &world.api("POST", &format!("{at}/refresh"), &root).await);
            for method in ["POST", "DELETE"] {
                let answer = world.api(method, &format!("{at}/pin"), &root).await;
                described(&document, &method.to_ascii_lowercase(), &format!("{one}/pin"), &answer);
            }
        }
        let sub = world.database.column("SELECT sub FROM account").await.remove(0);
        for (list, one, at) in [("users", "{sub}", sub.as_str()), ("clients", "{client_id}", "desk-agent")] {
            described(&document, "get", &format!("/api/v1/{list}"), &world.api("GET", &format!("/{list}"), &root).await);
            for method in ["GET", "PATCH", "DELETE"] {
                let answer = world.api_json(method, &format!("/{list}/{at}"), &root, &json!({"disabled": method == "PATCH"})).await;
                assert_eq!(answer.status, 200);
                described(&document, &method.to_ascii_lowercase(), &format!("/api/v1/{list}/{one}"), &answer);
            }
        }
        let (many, one) = ("/api/v1/issuers", "/api/v1/issuers/{id}");
        let new = json!({"id": "acme", "name": "Acme"});
        let added = crate::issuers::manage(&world, "POST", "", &root, &new).await;
        assert_eq!(added.status, 201);
        described(&document, "post", many, &added);
        described(&document, "post", many, &crate::issuers::manage(&world, "POST", "", &root, &new).await);
        described(&document, "get", many, &world.api("GET", "/issuers", &root).await);
        for method in ["GET", "PATCH", "DELETE"] {
            let answer = crate::issuers::manage(&world, method, "/acme", &root, &json!({"colour": "#0a7d5c"})).await;
            assert_eq!(answer.status, 200);
            described(&document, &method.to_ascii_lowercase(), one, &answer);
        }
    }
}
