use serde_json::json;

use super::*;

const URL: &str = "https://agent.example/agent.json";

/// A document that keeps every rule, with some members replaced; null in `changes` removes one.
fn document(changes: Value) -> Value {
    let mut document = json!({
        "client_id": URL,
        "client_name": "Desk Agent",
        "client_uri": "https://agent.example",
        "logo_uri": "https://agent.example/logo.png",
        "tos_uri": "https://agent.example/legal#terms",
        "policy_uri": "https://agent.example/privacy?lang=en",
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks_uri": "https://agent.example/jwks.json",
        "redirect_uris": ["https://agent.example/cb", "http://127.0.0.1:8765/cb", "example.agent:/cb"],
        "scope": "openid email",
        "x_extra": {"allowed": true},
    });
    let Value::Object(changes) = changes else { panic!("changes are an object") };
    for (name, value) in changes {
        document[name] = value;
    }
    document.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    document
}

#[test]
fn urls() {
    let url = |reason| CimdError::Url(IdError(reason));
    let fragment = url("it must not have a fragment");
    let user = url("it must not carry a user or password");
    let empty = url("its host is empty or follows an empty user name");
    let long = format!("https://a.example/{}", "x".repeat(2048));
    for (text, error) in [
        ("https://a.example/agent.json", None),
        ("https://a.example:443/a", None),
        ("https://a.example/a/", None),
        ("https://a.example/", None),
        ("https://a.example//", None),
        ("https://a.example/.well-known/agent", None),
        ("https://a.example/a..b", None),
        ("https://a.example", Some(CimdError::UrlPath)),
        ("https://a.example/a/../b", Some(CimdError::UrlDotSegment)),
        ("https://a.example/./b", Some(CimdError::UrlDotSegment)),
        ("https://a.example/a/..", Some(CimdError::UrlDotSegment)),
        ("https://a.example/a/%2e%2E/b", Some(CimdError::UrlDotSegment)),
        ("https://a.example/a/.%2e/b", Some(CimdError::UrlDotSegment)),
        ("https://a.example/%2E", Some(CimdError::UrlDotSegment)),
        ("https://a.example/a#", Some(fragment.clone())),
        ("https://a.example/a#x", Some(fragment)),
        ("https://u@a.example/a", Some(user.clone())),
        ("https://:p@a.example/a", Some(user)),
        ("https://@a.example/a", Some(empty.clone())),
        ("https:///a.example/a", Some(empty)),
        ("https:a.example/a", Some(CimdError::UrlScheme)),
        ("HTTPS://a.example/a", Some(CimdError::UrlScheme)),
        ("ftp://a.example/a", Some(CimdError::UrlScheme)),
        ("http://a.example/a", Some(CimdError::UrlScheme)),
        ("http://localhost.a.example/a", Some(CimdError::UrlScheme)),
        ("https://a.example/a?", Some(CimdError::UrlQuery)),
        ("https://a.example/a?b=c", Some(CimdError::UrlQuery)),
        ("https://bücher.example/a", Some(url("it contains a character that is not ASCII (RFC 3986 section 2)"))),
        ("/agent.json", Some(url("it is not an absolute URL"))),
        ("https://a.example/ a", Some(url("it contains a space, a control character or a backslash"))),
        ("https://a.example\\a", Some(url("it contains a space, a control character or a backslash"))),
        (long.as_str(), Some(url("it is longer than 2048 bytes"))),
    ] {
        assert_eq!(check_url(text, true).err(), error, "{text}");
    }
    for text in ["http://localhost:4000/a.json", "http://127.0.0.1:4000/a.json", "http://[::1]/a.json"] {
        assert!(check_url(text, true).is_ok(), "{text} in development");
        assert_eq!(check_url(text, false).err(), Some(CimdError::UrlScheme), "{text} in production");
    }
}

#[test]
fn a_good_document_says_everything() {
    let good = judge(URL, &document(json!({})), false).unwrap();
    assert_eq!(good.metadata.client_name.unwrap().as_str(), "Desk Agent");
    assert_eq!(good.metadata.token_endpoint_auth_method, AuthMethod::PrivateKeyJwt);
    assert_eq!(good.jwks_uri.as_deref(), Some("https://agent.example/jwks.json"));
    assert_eq!(good.metadata.redirect_uris.len(), 3);

    let least = json!({"client_id": URL, "token_endpoint_auth_method": "none", "logo_uri": null});
    let least = judge(URL, &least, false).unwrap();
    assert_eq!((least.metadata.token_endpoint_auth_method, least.jwks_uri), (AuthMethod::None, None));
}

#[test]
fn the_fetched_url_is_the_client_id() {
    for other in [
        json!("https://agent.example/agent.json/"),
        json!("https://agent.example:443/agent.json"),
        json!("https://AGENT.example/agent.json"),
        json!([URL]),
        Value::Null,
    ] {
        assert_eq!(judge(URL, &document(json!({"client_id": other})), false), Err(CimdError::ClientId), "{other}");
    }
    let wrong = "https://agent.example";
    assert_eq!(judge(wrong, &document(json!({"client_id": wrong})), false), Err(CimdError::UrlPath));
    for body in [json!([]), json!("text"), Value::Null] {
        assert_eq!(judge(URL, &body, false), Err(CimdError::NotAnObject));
    }
}

/// The member that is at fault, and why.
fn fault(changes: &Value) -> String {
    judge(URL, &document(changes.clone()), true).map(|_| "accepted").unwrap_err().to_string()
}

#[test]
fn secrets_and_methods() {
    for method in ["client_secret_basic", "client_secret_post"] {
        let fault = fault(&json!({"token_endpoint_auth_method": method}));
        assert_eq!(
            fault,
            "token_endpoint_auth_method: it rests on a shared secret: it must be private_key_jwt or none"
        );
    }
    for (method, expected) in [
        (Value::Null, "it is missing"),
        (json!("client_secret_jwt"), "is not supported"),
        (json!("tls_client_auth"), "is not supported"),
        (json!("None"), "is not supported"),
        (json!(["none"]), "invalid type"),
    ] {
        let fault = fault(&json!({"token_endpoint_auth_method": method}));
        assert!(fault.starts_with("token_endpoint_auth_method: ") && fault.contains(expected), "{fault}");
    }
    for changes in [json!({"client_secret": "s"}), json!({"client_secret_expires_at": 0})] {
        assert_eq!(judge(URL, &document(changes.clone()), false), Err(CimdError::Secret), "{changes}");
    }
    let mut null_secret = document(json!({}));
    null_secret["client_secret"] = Value::Null;
    assert_eq!(judge(URL, &null_secret, false), Err(CimdError::Secret));
}

#[test]
fn key_sets() {
    let ec = json!({"kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM", "kid": "1"});
    let inline = |keys: Value| json!({"jwks_uri": null, "jwks": {"keys": keys}});
    let good = judge(URL, &document(inline(json!([ec]))), false).unwrap();
    assert_eq!(good.metadata.jwks.unwrap().as_json(), &json!({"keys": [ec]}));
    let mut private = inline(json!([ec, {"kty": "EC", "crv": "P-256", "x": "x", "y": "y", "d": "AA"}]));
    for method in ["private_key_jwt", "none"] {
        private["token_endpoint_auth_method"] = json!(method);
        assert!(fault(&private).starts_with("jwks: it holds a private or symmetric key"), "of a client with {method}");
    }
    assert!(fault(&inline(json!([]))).starts_with("jwks: it must be an object"));
    for (changes, error) in [
        (json!({"jwks_uri": null}), CimdError::KeysMissing),
        (json!({"jwks": {"keys": [ec]}}), CimdError::KeysTwice),
        (json!({"jwks": {"keys": [ec]}, "token_endpoint_auth_method": "none"}), CimdError::KeysTwice),
    ] {
        assert_eq!(judge(URL, &document(changes.clone()), false), Err(error), "{changes}");
    }
}

#[test]
fn inner_urls_are_https() {
    for name in ["client_uri", "logo_uri", "tos_uri", "policy_uri", "jwks_uri"] {
        for bad in [
            json!("http://agent.example/x"),
            json!("//agent.example/x"),
            json!("data:image/png;base64,AA"),
            json!("https://u:p@agent.example/x"),
            json!("javascript:alert(1)"),
            json!(""),
            json!(7),
        ] {
            let body = document(json!({name: bad}));
            assert_eq!(judge(URL, &body, true), Err(CimdError::Link(name)), "{name} {bad}");
        }
        let loopback = document(json!({name: "http://localhost:4000/x"}));
        assert!(judge(URL, &loopback, true).is_ok(), "{name} in development");
        assert_eq!(judge(URL, &loopback, false), Err(CimdError::Link(name)), "{name} in production");
    }
}

#[test]
fn what_every_client_must_keep() {
    for (changes, expected) in [
        (json!({"redirect_uris": ["https://agent.example/cb", 1]}), "redirect_uris: "),
        (
            json!({"redirect_uris": ["http://agent.example/cb"]}),
            "redirect_uris: \"http://agent.example/cb\": it must be https",
        ),
        (json!({"redirect_uris": ["javascript:alert(1)"]}), "redirect_uris: \"javascript:alert(1)\": "),
        (json!({"client_name": "a\u{202e}b"}), "client_name: it contains an invisible character"),
        (json!({"client_name": {"en": "x"}}), "client_name: "),
    ] {
        let fault = fault(&changes);
        assert!(fault.starts_with(expected), "{changes}: {fault}");
    }
}

#[test]
fn scopes() {
    for bad in [json!(["openid"]), json!("a\"b"), json!("a\tb"), json!("x ".repeat(600))] {
        assert_eq!(judge(URL, &document(json!({"scope": bad})), false), Err(CimdError::Scope), "{bad}");
    }
}

#[test]
fn our_own_template_keeps_the_rules() {
    let template = include_str!("../../../cimd/agent-auth.json");
    for (issuer, allow_loopback) in [("https://id.example", false), ("http://localhost:4000", true)] {
        let body = serde_json::from_str(&template.replace("{{issuer}}", issuer)).unwrap();
        let own = judge(&format!("{issuer}/agent-auth.json"), &body, allow_loopback).unwrap();
        assert_eq!(own.metadata.token_endpoint_auth_method, AuthMethod::PrivateKeyJwt);
    }
}
