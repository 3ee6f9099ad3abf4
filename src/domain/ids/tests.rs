use super::*;

#[test]
fn issuers() {
    for good in [
        "https://id.example",
        "http://localhost:4000",
        "http://127.0.0.1:1",
        "http://[::1]:4000",
        "https://id.example/acme",
        "https://id.example/t/v2.0",
    ] {
        assert!(IssuerUrl::parse(good).is_ok(), "{good}");
    }
    for bad in [
        "https://id.example/",
        "http://id.example",
        "id.example",
        "https://id.example?x",
        "https://id.example#",
        "https://u@id.example",
        "ftp://localhost",
        "https://id.example/p/",
        "https://id.example//p",
        "https://id.example/p/../q",
        "https://id.example/./p",
        "https://id.example/%70",
        "https://id.example/p;q",
        "https://",
    ] {
        assert!(IssuerUrl::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn parts_of_an_issuer() {
    for (text, origin, base) in [
        ("https://id.example", "https://id.example", ""),
        ("https://id.example:8443/acme", "https://id.example:8443", "/acme"),
        ("http://localhost:4000/a/b", "http://localhost:4000", "/a/b"),
    ] {
        let issuer = IssuerUrl::parse(text).unwrap();
        assert_eq!((issuer.origin(), issuer.base()), (origin, base));
    }
}

#[test]
fn spellings_of_an_issuer() {
    let root = IssuerUrl::parse("https://id.example").unwrap();
    let acme = IssuerUrl::parse("https://id.example/acme").unwrap();
    // The audience; whether it is the root, whether it is acme, whether it is at or under the root.
    for (text, is_root, is_acme, is_under) in [
        ("https://id.example", true, false, true),
        ("https://id.example/", true, false, true),
        ("https://id.example//", true, false, true),
        ("https://ID.Example", true, false, true),
        ("HTTPS://id.example", true, false, true),
        ("https://id.example.", true, false, true),
        ("https://id.example:443", true, false, true),
        ("https://id.example/.", true, false, true),
        ("https://id.example/%2e", true, false, true),
        ("https://id.example/acme/..", true, false, true),
        ("https://id.example/acme/.%2E/", true, false, true),
        ("https://id.example/acme", false, true, true),
        ("https://id.example/acme/", false, true, true),
        ("https://id.example//acme", false, true, true),
        ("https://id.example/./acme", false, true, true),
        ("https://id.example/beta/../acme", false, true, true),
        ("https://id.example/%61cme", false, true, true),
        ("https://id.example/%2561cme", false, false, true),
        ("https://id.example/ACME", false, false, true),
        ("https://id.example/acme/beta", false, false, true),
        ("https://id.example/acmes", false, false, true),
        ("https://id.example/%", false, false, true),
        ("https://id.example:8443", false, false, false),
        ("https://id.example.org", false, false, false),
        ("https://a.id.example", false, false, false),
        ("https://other.example/id.example", false, false, false),
    ] {
        let audience = Audience::parse(text).unwrap();
        let found = (audience.names(&root), audience.names(&acme), audience.is_at_or_under(&root));
        assert_eq!(found, (is_root, is_acme, is_under), "{text}");
    }
    let deep = IssuerUrl::parse("http://localhost:4000/t").unwrap();
    for (text, is_under) in [
        ("http://localhost:4000/t/acme", true),
        ("http://localhost:4000/%74/acme", true),
        ("http://localhost:4000/", false),
        ("http://localhost:4000/tt", false),
        ("http://localhost:4001/t", false),
        ("https://localhost:4000/t", false),
    ] {
        assert_eq!(Audience::parse(text).unwrap().is_at_or_under(&deep), is_under, "{text}");
    }
}

#[test]
fn clients() {
    let long = "a".repeat(MAX_URL);
    for good in ["desk-agent", "https://agent.example/agent.json", "!", &long] {
        assert_eq!(ClientId::parse(good).unwrap().as_str(), good);
    }
    let longer = format!("{long}a");
    for bad in ["", "a b", "a\0", "a\u{7f}", "é", &longer] {
        assert!(ClientId::parse(bad).is_err(), "{bad}");
        assert!(serde_json::from_value::<ClientId>(bad.into()).is_err(), "{bad}");
    }
}

#[test]
fn subjects() {
    let long = "u".repeat(255);
    for good in ["u", "first sub", &long] {
        assert_eq!(Subject::parse(good).unwrap().as_str(), good);
    }
    let longer = format!("{long}u");
    for bad in ["", "u\0", "u\n", "ü", &longer] {
        assert!(Subject::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn jtis() {
    let long = "j".repeat(256);
    for good in ["j", "ü 1", &long] {
        assert_eq!(Jti::parse(good).unwrap().as_str(), good);
    }
    let longer = format!("{long}j");
    for bad in ["", "j\0", "j\n", &longer] {
        assert!(Jti::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn an_identifier_is_a_text_in_json() {
    let json = r#"[{"desk":"desk"},"k"]"#;
    let read: (std::collections::BTreeMap<ClientId, ClientId>, ClientKey) = serde_json::from_str(json).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), json);
}

#[test]
fn audiences_keep_every_byte() {
    let with = Audience::parse("https://auth.example/").unwrap();
    let without = Audience::parse("https://auth.example").unwrap();
    assert_ne!(with, without);
    for (audience, shown) in [
        ("https://auth.example/", "auth.example"),
        ("https://AUTH.example:443", "auth.example"),
        ("https://auth.example/acme", "auth.example/acme"),
        ("https://auth.example:8443/acme/", "auth.example:8443/acme"),
        ("https://xn--bcher-kva.example", "xn--bcher-kva.example"),
    ] {
        assert_eq!(Audience::parse(audience).unwrap().host(), shown);
    }
    for bad in
        ["/relative", "auth.example", "https://a.example#f", "https://a.example?q=1", "http://a.example", "urn:x:y"]
    {
        assert!(Audience::parse(bad).is_err(), "{bad}");
    }
}
