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
        ("https://a.example/.well-known/agent", None),
        ("https://a.example/a..b", None),
        ("https://a.example", Some(CimdError::UrlPath)),
        ("https://a.example/", Some(CimdError::UrlPath)),
        ("https://a.example//", Some(CimdError::UrlPath)),
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
        ("https://bücher.example/a", Some(CimdError::UrlNotAscii)),
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
    assert_eq!(good.client_id, URL);
    assert_eq!(good.client_name.as_deref(), Some("Desk Agent"));
    assert_eq!(good.auth_method, AuthMethod::PrivateKeyJwt);
    assert_eq!(good.keys, Keys::At(Url::parse("https://agent.example/jwks.json").unwrap()));
    assert_eq!(good.redirect_uris.len(), 3);
    assert_eq!(good.tos_uri.unwrap().as_str(), "https://agent.example/legal#terms");
    assert_eq!(good.scope.as_deref(), Some("openid email"));

    let least = json!({"client_id": URL, "token_endpoint_auth_method": "none", "logo_uri": null});
    let least = judge(URL, &least, false).unwrap();
    assert_eq!((least.auth_method, least.keys, least.logo_uri), (AuthMethod::Public, Keys::None, None));
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
    let wrong = "https://agent.example/";
    assert_eq!(judge(wrong, &document(json!({"client_id": wrong})), false), Err(CimdError::UrlPath));
    for body in [json!([]), json!("text"), Value::Null] {
        assert_eq!(judge(URL, &body, false), Err(CimdError::NotAnObject));
    }
}

#[test]
fn secrets_and_methods() {
    for (changes, error) in [
        (json!({"token_endpoint_auth_method": null}), CimdError::MethodMissing),
        (json!({"token_endpoint_auth_method": "client_secret_basic"}), CimdError::MethodSecret),
        (json!({"token_endpoint_auth_method": "client_secret_post"}), CimdError::MethodSecret),
        (json!({"token_endpoint_auth_method": "client_secret_jwt"}), CimdError::MethodSecret),
        (json!({"token_endpoint_auth_method": "tls_client_auth"}), CimdError::MethodUnknown),
        (json!({"token_endpoint_auth_method": "None"}), CimdError::MethodUnknown),
        (json!({"token_endpoint_auth_method": ["none"]}), CimdError::MethodUnknown),
        (json!({"client_secret": "s"}), CimdError::Secret),
        (json!({"client_secret_expires_at": 0}), CimdError::Secret),
    ] {
        assert_eq!(judge(URL, &document(changes.clone()), false), Err(error), "{changes}");
    }
    let mut null_secret = document(json!({}));
    null_secret["client_secret"] = Value::Null;
    assert_eq!(judge(URL, &null_secret, false), Err(CimdError::Secret));
}

#[test]
fn key_sets() {
    let ec = json!({"kty": "EC", "crv": "P-256", "x": "x", "y": "y", "kid": "1"});
    let inline = |keys: Value| json!({"jwks_uri": null, "jwks": {"keys": keys}});
    let good = judge(URL, &document(inline(json!([ec]))), false).unwrap();
    assert_eq!(good.keys, Keys::Inline(json!({"keys": [ec]})));
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        let mut key = ec.clone();
        key[name] = json!("AA");
        let body = document(inline(json!([ec, key])));
        assert_eq!(judge(URL, &body, false), Err(CimdError::KeysPrivate), "{name}");
        let mut public = body.clone();
        public["token_endpoint_auth_method"] = json!("none");
        assert_eq!(judge(URL, &public, false), Err(CimdError::KeysPrivate), "{name} of a public client");
    }
    for (changes, error) in [
        (json!({"jwks_uri": null}), CimdError::KeysMissing),
        (json!({"jwks": {"keys": [ec]}}), CimdError::KeysTwice),
        (json!({"jwks": {"keys": [ec]}, "token_endpoint_auth_method": "none"}), CimdError::KeysTwice),
        (inline(json!([])), CimdError::KeysMalformed),
        (inline(json!("x")), CimdError::KeysMalformed),
        (inline(json!(["x"])), CimdError::KeysMalformed),
        (inline(json!(vec![ec.clone(); 33])), CimdError::KeysMalformed),
        (json!({"jwks_uri": null, "jwks": "x"}), CimdError::KeysMalformed),
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
fn redirects() {
    for (list, error) in [
        (json!("https://agent.example/cb"), CimdError::Redirects),
        (json!(["https://agent.example/cb", 1]), CimdError::Redirects),
        (json!(vec!["https://agent.example/cb"; 33]), CimdError::Redirects),
        (json!(["/cb"]), CimdError::RedirectMalformed),
        (json!(["https://agent.example/cb#"]), CimdError::RedirectMalformed),
        (json!(["https://u@agent.example/cb"]), CimdError::RedirectMalformed),
        (json!(["\tjavascript:alert(1)"]), CimdError::RedirectMalformed),
        (json!([format!("https://agent.example/{}", "x".repeat(2048))]), CimdError::RedirectMalformed),
        (json!(["javascript:alert(1)"]), CimdError::RedirectScheme),
        (json!(["JavaScript:alert(1)"]), CimdError::RedirectScheme),
        (json!(["data:text/html,x"]), CimdError::RedirectScheme),
        (json!(["http://agent.example/cb"]), CimdError::RedirectPlain),
    ] {
        assert_eq!(judge(URL, &document(json!({"redirect_uris": list})), true), Err(error), "{list}");
    }
}

#[test]
fn names_and_scopes() {
    let long = "x".repeat(101);
    for bad in [json!(""), json!("  "), json!(long), json!("a\nb"), json!("a\u{202e}b"), json!({"en": "x"})] {
        assert_eq!(judge(URL, &document(json!({"client_name": bad})), false), Err(CimdError::Name), "{bad}");
    }
    assert!(judge(URL, &document(json!({"client_name": "ä".repeat(100)})), false).is_ok());
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
        assert_eq!(own.auth_method, AuthMethod::PrivateKeyJwt);
    }
}
