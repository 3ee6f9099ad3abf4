use serde_json::{Value, json};

use super::*;

fn audience(text: &str) -> Audience {
    Audience::parse(text).unwrap()
}

fn fixture(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/metadata/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// What is found when a document is at the first place of its kind, and nothing elsewhere.
fn found(asked: &str, documents: &[(Kind, Value)]) -> Vec<Looked> {
    let mut left = documents.to_vec();
    let look = |Place { kind, url }| {
        let at = left.iter().position(|(of, _)| *of == kind);
        let found = at.map(|at| left.remove(at).1.into()).ok_or_else(|| "the server answered 404".to_owned());
        Looked { kind, url, found }
    };
    places(&audience(asked)).into_iter().map(look).collect()
}

fn read(asked: &str, documents: &[(Kind, Value)]) -> Understood {
    understand(&audience(asked), &audience(asked), &found(asked, documents))
}

pub(super) fn server(asked: &str, body: Value) -> Understood {
    read(asked, &[(Kind::AuthorizationServer, body)])
}

/// Dialect, whether it takes ID-JAGs, where assertions and notices go.
pub(super) fn summary(understood: &Understood) -> String {
    let notices: Vec<_> =
        understood.notices.iter().map(|n| format!("{} {}", n.value.format.as_str(), n.value.endpoint)).collect();
    format!(
        "{} | {} | {} | {}",
        understood.dialect.value.as_str(),
        understood.id_jag.value.as_str(),
        understood.endpoint.value.as_deref().unwrap_or("-"),
        if notices.is_empty() { "-".to_owned() } else { notices.join(", ") }
    )
}

/// Everything that was said of why, for finding a reason in it.
pub(super) fn reasons(understood: &Understood) -> String {
    let fields = understood.fields().into_iter().map(|f| format!("{}: {}", f.value.0, f.why));
    let remarks = understood.remarks.iter().map(|r| format!("{}: {}", r.member, r.why));
    let documents = understood.documents.iter().map(|d| format!("{}: {}", d.verdict.as_str(), d.why));
    fields.chain(remarks).chain(documents).collect::<Vec<_>>().join("\n")
}

/// File, what is asked for, the summary, and reasons that have to be there.
type Case = (&'static str, &'static str, &'static str, &'static [&'static str]);

const FIXTURES: [Case; 17] = [
    (
        "as-00-portal-for-keys",
        "https://leads.example",
        "none | no | - | -",
        &[
            "token_endpoint: it is at api.login.example, which is neither leads.example nor under it",
            "agent_auth.identity_endpoint: it is the same address as agent_auth.claim_endpoint, so it is a page",
            "agent_auth.revocation_uri: \"https://api.leads.example/businesses/api-keys/{id}\" is a template",
            "takes ID-JAGs: it says that it does not support them",
            "agent_auth.registration_note: it says of itself: \"Leads currently supports",
        ],
    ),
    (
        "as-01-null-endpoints",
        "https://shop.example/",
        "none | no | - | -",
        &[
            "token_endpoint: it is null",
            "agent_auth.register_uri: it is null",
            "assertions are not among them",
            "no protected APIs",
        ],
    ),
    (
        "as-02-agent-auth-only",
        "https://home.example",
        "none | no | - | -",
        &["agent_auth.revocation_uri: \"https://home.example/docs/integrations/mcp/\" is a page to read"],
    ),
    (
        "as-03-slash-issuer-v01",
        "https://auth.notes.example/",
        "auth.md v0.1 | yes | https://auth.notes.example/agent/auth | logout+jwt https://auth.notes.example/agent/auth/revoke",
        &["authorization_servers: it belongs in the metadata of a resource", "events_supported names the withdrawal"],
    ),
    (
        "as-05-foreign-issuer",
        "https://gateway.example",
        "none | not said | - | -",
        &["proves nothing: it names another issuer"],
    ),
    (
        "as-06-own-words-agent-auth",
        "https://menu.example",
        "none | no | - | -",
        &[
            "agent_auth.register_uri: \"https://menu.example/auth.md\" is a page to read",
            "in a member of its own making",
        ],
    ),
    (
        "as-07-same-uri-for-all",
        "https://pay.example",
        "none | no | - | -",
        &["agent_auth.register_uri: it is the same address as agent_auth.claim_uri"],
    ),
    (
        "as-08-comment-and-reserved-paths",
        "https://workplan.example",
        "none | no | - | -",
        &[
            "_comment: it says of itself: \"This site has no protected APIs today.",
            "JWT bearer (RFC 7523) is not among them",
        ],
    ),
    (
        "as-09-misspelt-null",
        "https://m2.example",
        "none | no | - | -",
        &[
            "intropection_endpoint: it is unknown; introspection_endpoint may be what was meant",
            "token_endpoint: it is null",
        ],
    ),
    (
        "as-10-response-type-none",
        "https://design.example",
        "none | no | - | -",
        &["response_types_supported: none is no response type"],
    ),
    (
        "as-11-id-jag-profile",
        "https://mcp.tracker.example",
        "resource authorization server | yes | https://mcp.tracker.example/token | -",
        &[
            "revocation_endpoint: it is the token endpoint as well",
            "resources: the authorization server says that it guards these",
        ],
    ),
    (
        "as-12-nested-no-events",
        "https://analytics.example",
        "auth.md nested | yes | https://analytics.example/oauth/token/ | -",
        &[
            "assertions go to: it is the token endpoint as well, so assertions go there as a JWT bearer grant",
            "withdrawals go to: it offers nothing",
        ],
    ),
    (
        "as-13-relative-skill-mixed-hosts",
        "https://api.gateway.example",
        "auth.md nested | yes | https://api.gateway.example/agent/identity | secevent+jwt https://api.gateway.example/agent/event/notify",
        &[
            "agent_auth.skill: \"/auth.md\" is relative",
            "agent_auth.register_uri: it is at gateway.example, which is neither api.gateway.example nor under it",
            "credentials: the kinds of credential that it names, in a member of its own making",
        ],
    ),
    (
        "as-14-verified-email-no-token-endpoint",
        "https://app.building.example/",
        "auth.md v0.1 | yes | https://app.building.example/agent/auth | logout+jwt https://app.building.example/agent/auth/revoke",
        &["no events are named, so it may as well be for clients that revoke", "does not say of which kind"],
    ),
    (
        "as-15-events-without-assertion",
        "https://clinic.example",
        "auth.md v0.2-v0.7 | no | https://clinic.example/auth/register | secevent+jwt https://clinic.example/auth/events",
        &["agent_auth.events_endpoint: it is offered although no assertions are taken"],
    ),
    (
        "as-16-gateway-issuer-foreign-endpoints",
        "https://mcp.gw.example/mcp",
        "none | not said | - | -",
        &["token_endpoint: it is at login.gw.example, which is neither", "authorization_endpoint: it has a query"],
    ),
    (
        "as-17-jwks-elsewhere",
        "https://wiki.example",
        "none | no | - | -",
        &["jwks_uri: it is a directory of keys for HTTP message signatures"],
    ),
];

#[test]
fn what_the_documents_of_others_come_out_as() {
    for (file, asked, expected, why) in FIXTURES {
        let understood = server(asked, fixture(file));
        assert_eq!(summary(&understood), expected, "{file}\n{}", reasons(&understood));
        for reason in why {
            assert!(reasons(&understood).contains(reason), "{file}: {reason} in\n{}", reasons(&understood));
        }
        let stored = serde_json::to_string(&understood).unwrap();
        assert_eq!(serde_json::from_str::<Understood>(&stored).unwrap(), understood, "{file}");
        assert_eq!(understood.policy().validate(), Ok(()), "{file}");
    }
    let instead = |file: &str, asked: &str| server(asked, fixture(file)).takes_instead;
    let keys = "service_auth: keys by its portal https://leads.example/api-keys";
    assert_eq!(instead("as-00-portal-for-keys", "https://leads.example").as_deref(), Some(keys));
    let clinic = instead("as-15-events-without-assertion", "https://clinic.example");
    assert_eq!(clinic.as_deref(), Some("anonymous and service_auth"));
    let design = instead("as-10-response-type-none", "https://design.example");
    assert_eq!(design.as_deref(), Some("the grant client_credentials"));
    assert_eq!(instead("as-01-null-endpoints", "https://shop.example/"), None);
    assert_eq!(instead("as-09-misspelt-null", "https://m2.example"), None);
}

#[test]
fn a_resource_leads_to_its_authorization_server_once() {
    let asked = audience("https://api.notes.example/");
    let resource = found(asked.as_str(), &[(Kind::ProtectedResource, fixture("prm-03-slash-issuer-v01"))]);
    assert_eq!(understand(&asked, &asked, &resource).issuer, None);
    let target = hint(&asked, &resource).unwrap();
    assert_eq!(target.as_str(), "https://auth.notes.example/");
    let mut looked = found(target.as_str(), &[(Kind::AuthorizationServer, fixture("as-03-slash-issuer-v01"))]);
    looked.extend(resource);
    let understood = understand(&asked, &target, &looked);
    assert_eq!(understood.guarded_by(), Some("https://auth.notes.example/"));
    assert_eq!(understood.name.value.as_deref(), Some("notes"));
    assert_eq!(understood.resources.value, ["https://api.notes.example/"]);

    let asked = audience("https://mcp.plan.example/mcp");
    let resource = found(asked.as_str(), &[(Kind::ProtectedResource, fixture("prm-04-names-a-document"))]);
    let named = hint(&asked, &resource).map(|named| named.to_string());
    assert_eq!(named.as_deref(), Some("https://www.plan.example"), "the document's name is no part of the issuer");

    for (resource, servers, why) in [
        ("https://elsewhere.example/", json!(["https://auth.example"]), "another resource"),
        ("https://mcp.plan.example/mcp", json!(["https://mcp.plan.example/mcp/"]), "itself"),
        ("https://mcp.plan.example/mcp", json!([]), "nobody"),
        ("https://mcp.plan.example/mcp", json!("https://auth.example"), "no list"),
        ("https://mcp.plan.example/mcp", json!([null, 7, "auth"]), "no URL"),
    ] {
        let body = json!({"resource": resource, "authorization_servers": servers});
        assert_eq!(hint(&asked, &found(asked.as_str(), &[(Kind::ProtectedResource, body)])), None, "{why}");
    }
}

#[test]
fn where_documents_are() {
    let urls = |of: &str| places(&audience(of)).into_iter().map(|place| place.url).collect::<Vec<_>>();
    let root = [
        "https://a.example/.well-known/oauth-authorization-server",
        "https://a.example/.well-known/openid-configuration",
        "https://a.example/.well-known/oauth-protected-resource",
    ];
    assert_eq!(urls("https://a.example"), root);
    assert_eq!(urls("https://a.example/"), root);
    let below = [
        "https://a.example:8443/.well-known/oauth-authorization-server/t/1",
        "https://a.example:8443/t/1/.well-known/oauth-authorization-server",
        "https://a.example:8443/t/1/.well-known/openid-configuration",
        "https://a.example:8443/.well-known/oauth-protected-resource/t/1",
    ];
    assert_eq!(urls("https://a.example:8443/t/1/"), below);
}

pub(super) const S: &str = "https://s.example";
const JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";

/// A whole document of v0.1, with members of `agent_auth` laid over it; null takes one out.
pub(super) fn v01(changes: &Value) -> Value {
    let mut block = json!({
        "register_uri": "https://s.example/agent/auth", "claim_uri": "https://s.example/agent/auth/claim",
        "revocation_uri": "https://s.example/agent/auth/revoke", "identity_types_supported": ["identity_assertion"],
        "identity_assertion": {"assertion_types_supported": [JAG], "credential_types_supported": ["api_key"]},
        "events_supported": [REVOKED],
    });
    for (name, value) in changes.as_object().unwrap() {
        if *value == json!("absent") {
            block.as_object_mut().unwrap().remove(name);
        } else {
            block[name] = value.clone();
        }
    }
    json!({"issuer": S, "agent_auth": block})
}

const REVOKED: &str = "https://schemas.workos.com/events/agent/auth/identity/assertion/revoked";

/// The variations of wire facts 7.2, one after the other: what is changed, what comes out, and the reason that is kept.
#[test]
fn variations() {
    let auth = "https://s.example/agent/auth";
    let good = "auth.md v0.1 | yes | https://s.example/agent/auth | logout+jwt https://s.example/agent/auth/revoke";
    let untold = "auth.md v0.1 | yes | https://s.example/agent/auth | -";
    let new =
        "auth.md nested | yes | https://s.example/agent/identity | logout+jwt https://s.example/agent/auth/revoke";
    let flat =
        "auth.md v0.2-v0.7 | yes | https://s.example/agent/identity | logout+jwt https://s.example/agent/auth/revoke";
    let no = "auth.md v0.1 | no | https://s.example/agent/auth | logout+jwt https://s.example/agent/auth/revoke";
    let none = "none | yes | - | logout+jwt https://s.example/agent/auth/revoke";
    let unsaid =
        "auth.md v0.1 | not said | https://s.example/agent/auth | logout+jwt https://s.example/agent/auth/revoke";
    let identity = "https://s.example/agent/identity";
    for (changes, expected, why) in [
        (json!({}), good, "register_uri is the name of v0.1"),
        // V0, V7: what the notice endpoint really is.
        (json!({"events_supported": ["revocation"]}), good, "events_supported names"),
        (json!({"events_supported": "revocation"}), good, "events_supported names"),
        (
            json!({"events_supported": ["https://schemas.workos.com/events/agent/identity/assertion/revoked"]}),
            good,
            "names",
        ),
        (json!({"events_supported": ["https://other.example/event"]}), untold, "does not name the withdrawal"),
        (json!({"events_supported": []}), untold, "does not name the withdrawal"),
        (json!({"events_supported": "absent"}), good, "no events are named"),
        (json!({"revocation_uri": auth}), untold, "it is the same address as agent_auth.register_uri"),
        (json!({"revocation_uri": "https://s.example/agent/auth/claim"}), untold, "agent_auth.claim_uri"),
        (
            json!({"revocation_uri": "absent", "revocation_endpoint": "https://s.example/agent/auth/revoke"}),
            good,
            "names",
        ),
        (
            json!({"revocation_uri": "absent", "revocation_endpoint": "https://s.example/r", "events_supported": "absent"}),
            untold,
            "agent_auth.revocation_endpoint: it is for clients that revoke their own tokens",
        ),
        // V1, V14: names.
        (
            json!({"identity_endpoint": identity, "revocation_uri": "https://s.example/agent/auth/revoke"}),
            flat,
            "passed over for the newer",
        ),
        (json!({"identity_endpoint": auth}), &flat.replace("identity |", "auth |"), "the same address by another name"),
        (
            json!({"register_uri": "absent", "registration_endpoint": identity, "events_endpoint": null}),
            new,
            "registration_endpoint is where",
        ),
        (json!({"skill": "absent", "skill_uri": "https://s.example/auth.md"}), good, ""),
        // V2: values.
        (json!({"register_uri": null}), none, "agent_auth.register_uri: it is null"),
        (json!({"register_uri": ""}), none, "agent_auth.register_uri: it is empty"),
        (json!({"register_uri": 7}), none, "it is not a text"),
        (json!({"register_uri": "not applicable"}), none, "\"not applicable\" is not a URL"),
        (json!({"register_uri": "/agent/auth"}), none, "\"/agent/auth\" is relative"),
        (json!({"register_uri": "https://s.example/{tenant}/auth"}), none, "is a template"),
        (json!({"register_uri": "mailto:agents@s.example"}), none, "is not https"),
        (json!({"register_uri": "http://s.example/agent/auth"}), none, "is not https"),
        (json!({"register_uri": "https://s.example/auth.html"}), none, "is a page to read"),
        (json!({"register_uri": "https://u:p@s.example/agent/auth"}), none, "user or password"),
        (json!({"register_uri": "https://s.example/agent/auth#x"}), none, "fragment"),
        (
            json!({"register_uri": "https://s.example/api/auth?action=agent"}),
            &good
                .replace(auth, "https://s.example/api/auth?action=agent")
                .replace("api/auth?action=agent/revoke", "agent/auth/revoke"),
            "it has a query",
        ),
        (
            json!({"revocation_uri": "https://s.example/keys/{id}"}),
            untold,
            "agent_auth.revocation_uri: \"https://s.example/keys/{id}\" is a template",
        ),
        (
            json!({"revocation_uri": "https://api.s.example/revoke"}),
            &good.replace("s.example/agent/auth/revoke", "api.s.example/revoke"),
            "",
        ),
        (
            json!({"revocation_uri": "https://evils.example/revoke"}),
            untold,
            "it is at evils.example, which is neither s.example nor under it",
        ),
        (json!({"revocation_uri": "https://127.0.0.1/revoke"}), untold, "it is at 127.0.0.1"),
        (json!({"revocation_uri": "http://127.0.0.1/revoke"}), untold, "it is at 127.0.0.1"),
        (json!({"revocation_uri": "https://[::1]/revoke"}), untold, "it is at [::1]"),
        (json!({"revocation_uri": "https://169.254.169.254/latest"}), untold, "it is at 169.254.169.254"),
        // V4: nested where it belongs beside.
        (
            json!({"revocation_uri": "absent", "identity_assertion": {"assertion_types_supported": [JAG], "revocation_uri": "https://s.example/agent/auth/revoke"}}),
            good,
            "",
        ),
        (
            json!({"register_uri": "https://s.example/claim", "claim_uri": "absent", "anonymous": {"claim_uri": "https://s.example/claim"}}),
            none,
            "the same address as agent_auth.anonymous.claim_uri",
        ),
        // V5: kinds of registration.
        (
            json!({"identity_assertion": {}, "identity_types_supported": "identity_assertion"}),
            good,
            "does not say of which kind",
        ),
        (json!({"identity_assertion": {}, "identity_types_supported": ["none"]}), no, "assertions are not among them"),
        (json!({"identity_assertion": {}, "identity_types_supported": ["id_jag"]}), good, "does not say of which kind"),
        (
            json!({"identity_assertion": {}, "identity_types_supported": ["client_credentials", 7, null]}),
            no,
            "not among them",
        ),
        (json!({"identity_assertion": null, "identity_types_supported": "absent"}), unsaid, "no document says whether"),
        (
            json!({"identity_assertion": {"assertion_types_supported": ["verified_email"]}}),
            no,
            "ID-JAGs are not among them",
        ),
        (json!({"identity_assertion": {"assertion_types_supported": JAG}}), good, "it lists them"),
        (json!({"anonymous": {}}), good, ""),
        // V12: what they add.
        (json!({"available": false}), no, "it says that it is not available"),
        (json!({"unsupported_identity_types": ["cross_app_access"]}), no, "it says that it does not support them"),
        (json!({"unsupported_identity_types": ["anonymous"]}), good, ""),
        (
            json!({"status": "beta", "rate_limits": {"per_hour": 5}}),
            good,
            "agent_auth.status: it says of itself: \"beta\"",
        ),
    ] {
        let understood = server(S, v01(&changes));
        assert_eq!(summary(&understood), expected, "{changes}\n{}", reasons(&understood));
        assert!(reasons(&understood).contains(why), "{changes}: {why} in\n{}", reasons(&understood));
    }
}

/// V3, V6, V8, V13: where the block is, and what surrounds it.
#[test]
fn documents_that_are_not_where_they_should_be() {
    let block = v01(&json!({}))["agent_auth"].clone();
    let good = "auth.md v0.1 | yes | https://s.example/agent/auth | logout+jwt https://s.example/agent/auth/revoke";
    let openid = json!({"issuer": S, "jwks_uri": "https://s.example/jwks", "agent_auth": block});
    let plain = json!({"issuer": S, "token_endpoint": "https://s.example/token"});
    assert_eq!(summary(&read(S, &[(Kind::OpenId, openid.clone())])), good);
    let both = read(S, &[(Kind::AuthorizationServer, plain.clone()), (Kind::OpenId, openid)]);
    assert_eq!(summary(&both), good);
    assert_eq!(both.dialect.document.as_deref(), Some("https://s.example/.well-known/openid-configuration"));

    let resource = |servers: Value| json!({"resource": "https://s.example/", "authorization_servers": servers, "agent_auth": block});
    let with = |server: &Value, servers: Value| {
        read(S, &[(Kind::AuthorizationServer, server.clone()), (Kind::ProtectedResource, resource(servers))])
    };
    assert_eq!(summary(&with(&plain, json!([S]))), good, "in the resource's document");
    let other = with(&plain, json!(["https://other.example"]));
    assert_eq!(summary(&other), "resource authorization server | not said | https://s.example/token | -");
    let alone = read(S, &[(Kind::ProtectedResource, resource(json!([S])))]);
    assert_eq!((summary(&alone).as_str(), alone.issuer), ("none | not said | - | -", None), "it proves nobody");

    for (issuer, why) in [
        (json!(null), "it names no issuer"),
        (json!(["https://s.example"]), "it names no issuer"),
        (json!("https://S.example"), "it names another issuer, \"https://S.example\""),
        (json!("https://s.example:443"), "it names another issuer"),
        (json!("https://s.example//"), "it names another issuer"),
        (json!("https://s.example/x"), "it names another issuer"),
        (json!("http://s.example"), "it names another issuer"),
    ] {
        let mut body = v01(&json!({}));
        body["issuer"] = issuer;
        let understood = server(S, body);
        assert_eq!((summary(&understood).as_str(), &understood.issuer), ("none | not said | - | -", &None));
        assert!(reasons(&understood).contains(why), "{why} in {}", reasons(&understood));
    }
    assert!(reasons(&server(S, json!([]))).contains("it is not a JSON object"));
    let both = json!({"issuer": S, "agent_auth": "see /auth.md"});
    assert!(reasons(&server(S, both)).contains("agent_auth: it is not an object"));
}

#[test]
fn a_slash_at_the_end_is_an_alias() {
    for (asked, issuer) in [("https://s.example", "https://s.example/"), ("https://s.example/", "https://s.example")] {
        let mut body = v01(&json!({}));
        body["issuer"] = json!(issuer);
        let understood = server(asked, body);
        assert_eq!(understood.issuer.as_deref(), Some(issuer));
        assert!(understood.is_alias() && understood.guarded_by().is_none());
    }
    let exact = v01(&json!({}));
    let mut slash = exact.clone();
    slash["issuer"] = json!("https://s.example/");
    let both = read(S, &[(Kind::AuthorizationServer, slash), (Kind::OpenId, exact)]);
    assert_eq!(both.issuer.as_deref(), Some(S), "byte for byte comes first");
    assert!(!both.is_alias());
}

#[test]
fn what_a_plain_server_says_of_id_jags() {
    let server = |members: Value| {
        let mut body = json!({"issuer": S, "token_endpoint": "https://s.example/token"});
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        server(S, body)
    };
    let bearer = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    let plain = "resource authorization server";
    for (members, takes, dialect) in [
        (json!({}), "not said", plain),
        (json!({"grant_types_supported": [bearer]}), "not said", plain),
        (json!({"grant_types_supported": ["authorization_code"]}), "no", "none"),
        (json!({"grant_types_supported": []}), "no", "none"),
        (json!({"grant_types_supported": null}), "not said", plain),
        (json!({"authorization_grant_profiles_supported": [ID_JAG_PROFILE]}), "yes", plain),
        (
            json!({"authorization_grant_profiles_supported": ID_JAG_PROFILE, "grant_types_supported": [bearer]}),
            "yes",
            plain,
        ),
        (
            json!({"authorization_grant_profiles_supported": ["urn:other"], "grant_types_supported": ["password"]}),
            "no",
            "none",
        ),
        (json!({"token_endpoint": "https://login.other.example/token"}), "not said", "none"),
    ] {
        let understood = server(members.clone());
        assert_eq!(
            (understood.id_jag.value.as_str(), understood.dialect.value.as_str()),
            (takes, dialect),
            "{members}"
        );
        assert_eq!(understood.policy().takes_id_jag, takes != "no");
    }
    let told = server(json!({"global_token_revocation_endpoint": "https://s.example/gtr"}));
    assert_eq!(told.notices[0].value.format, Format::GlobalRevocation);
    let listed =
        server(json!({"protected_resources": ["https://api.s.example/", "api"], "resource": "https://x.example/"}));
    assert_eq!(listed.resources.value, ["https://api.s.example/"]);
    let foreign = json!({"resource": "https://x.example/", "authorization_servers": [S]});
    let documents = [(Kind::AuthorizationServer, json!({"issuer": S})), (Kind::ProtectedResource, foreign)];
    let understood = read(S, &documents);
    assert!(understood.resources.value.is_empty() && reasons(&understood).contains("does not list it"));
}

#[test]
fn what_a_user_was_shown_changes_with_protocol_and_host_only() {
    let shown = |changes: Value| server(S, v01(&changes)).shown();
    let as_it_was = shown(json!({}));
    assert_eq!(as_it_was, "auth.md v0.1; logout+jwt at s.example");
    assert_eq!(shown(json!({"revocation_uri": "https://s.example/elsewhere"})), as_it_was);
    assert_eq!(shown(json!({"scopes_supported": ["a"], "note": "hello"})), as_it_was);
    assert_ne!(shown(json!({"revocation_uri": "https://push.s.example/revoke"})), as_it_was);
    assert_ne!(shown(json!({"identity_endpoint": "https://s.example/agent/identity"})), as_it_was);
    let nothing = Understood::nothing(&audience(S), Vec::new(), "why");
    assert_eq!(nothing.shown(), "none");
}

/// However large and however hostile, what is kept has bounds.
#[test]
fn what_is_kept_is_bounded() {
    let many: Vec<String> = (0..5000).map(|n| format!("scope-{n}")).collect();
    let resources: Vec<String> = (0..5000).map(|n| format!("https://s.example/{n}")).collect();
    let mut body = v01(&json!({"identity_types_supported": many.clone(), "available": "no\u{202e}"}));
    for n in 0..500 {
        body[format!("x{n}_endpoint")] = json!(null);
        body[format!("\u{1b}[2J{n}\u{202e}_uri")] = json!(null);
    }
    body["note"] = json!("\u{202e}".repeat(10_000));
    body["scopes_supported"] = json!(many);
    body["protected_resources"] = json!(resources);
    body["resource_name"] = json!("a\u{202e}b");
    let understood = server(S, body);
    assert_eq!((understood.scopes.value.len(), understood.resources.value.len()), (64, 64));
    assert!(understood.remarks.len() <= 48 && understood.name.value.is_none());
    let text = serde_json::to_string(&understood).unwrap();
    assert!(text.len() < 64 * 1024, "{}", text.len());
    assert!(!text.contains('\u{202e}') && !text.contains("\\u001b"), "nothing hides in it: {text}");
}
