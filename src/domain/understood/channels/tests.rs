use serde_json::{Value, json};

use super::super::tests::{S, reasons, server, summary, v01};

/// Which event, and whether a yes would prove anything.
#[test]
fn what_the_withdrawal_is_called() {
    let early = "https://schemas.workos.com/events/agent/identity/assertion/revoked";
    let newest = "https://schemas.workos.com/events/agent/auth/identity/assertion/revoked";
    for (events, event, named) in [
        (json!("absent"), None, true),
        (json!([newest]), None, true),
        (json!(["revocation"]), None, true),
        (json!([early]), Some(early), true),
        (json!([early, newest]), None, true),
        (json!(early), Some(early), true),
        (json!(["https://other.example/event"]), None, false),
        (json!([]), None, false),
        (json!({"a": early}), None, true),
        (json!([7, null, [early]]), None, false),
    ] {
        let changes = json!({"events_endpoint": "https://s.example/events", "revocation_uri": "absent", "events_supported": events});
        let understood = server(S, v01(&changes));
        let channel = &understood.notices[0].value;
        assert_eq!((channel.event.as_deref(), channel.named), (event, named), "{events}");
        let receiver = understood.policy().notices.remove(0);
        assert_eq!((receiver.event.as_deref(), receiver.unproven), (event, !named), "{events}");
    }
    let shown: Vec<String> =
        server(S, v01(&json!({"events_supported": [early]}))).fields().into_iter().map(|field| field.value.1).collect();
    let called = format!("https://s.example/agent/auth/revoke (logout+jwt, called {early})");
    assert!(shown.contains(&called), "{shown:?}");
}

#[test]
fn global_token_revocation() {
    let (endpoint, methods) =
        ("global_token_revocation_endpoint", "global_token_revocation_endpoint_auth_methods_supported");
    let taken = "global-token-revocation https://s.example/gtr";
    let told = |members: Value| {
        let mut body = json!({"issuer": S, "token_endpoint": "https://s.example/token"});
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        server(S, body)
    };
    for (members, expected, why) in [
        (json!({endpoint: "https://s.example/gtr"}), taken, "it takes Global Token Revocation"),
        (json!({endpoint: "https://s.example/gtr", methods: ["global-token-revocation+jwt"]}), taken, ""),
        (json!({endpoint: "https://s.example/gtr", methods: ["client_secret_basic", "private_key_jwt"]}), taken, ""),
        (json!({endpoint: "https://s.example/gtr", methods: "Bearer"}), taken, ""),
        (
            json!({endpoint: "https://s.example/gtr", methods: ["client_secret_basic"]}),
            "-",
            "it takes no signed token there",
        ),
        (json!({endpoint: "https://s.example/gtr", methods: []}), "-", "it takes no signed token there"),
        (json!({endpoint: "https://s.example/gtr", methods: 7}), taken, ""),
        (json!({endpoint: "https://s.example/gtr/connection/{name}"}), "-", "is a template"),
        (json!({endpoint: "https://other.example/gtr"}), "-", "which is neither s.example nor under it"),
        (json!({endpoint: "https://s.example/token"}), "-", "it is the same address as token_endpoint"),
        (json!({endpoint: "http://s.example/gtr"}), "-", "is not https"),
        (json!({endpoint: null}), "-", "it is null"),
        (json!({"agent_auth": {endpoint: "https://s.example/gtr"}}), taken, ""),
    ] {
        let understood = told(members.clone());
        let summary = summary(&understood);
        assert!(summary.ends_with(&format!("| {expected}")), "{members}: {summary}");
        assert!(reasons(&understood).contains(why), "{members}: {}", reasons(&understood));
    }
}
