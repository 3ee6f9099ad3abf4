use serde_json::json;

use super::*;
use crate::domain::client::ClientPolicy;
use crate::domain::service::Source;
use crate::domain::service_policy::{Dialect, ServicePolicy};
use crate::domain::time::Seconds;

/// Rows to decide on.
struct Rows {
    account: Account,
    auth_time: Timestamp,
    client: Client,
    service: Service,
    consents: Vec<Consent>,
    record: Option<Record>,
    provider: ClientId,
    issuer: IssuerUrl,
    root: IssuerUrl,
}

impl Rows {
    fn facts(&self) -> Facts<'_> {
        Facts {
            account: &self.account,
            auth_time: self.auth_time,
            client: &self.client,
            service: &self.service,
            consents: &self.consents,
            record: self.record.as_ref(),
            provider_client_id: &self.provider,
            issuer: &self.issuer,
            root: &self.root,
        }
    }
}

fn client_id(text: &str) -> ClientId {
    ClientId::parse(text).unwrap()
}

fn rows() -> Rows {
    let policy = ServicePolicy {
        resources: vec!["https://a.example/api".into()],
        scopes: vec!["read".into(), "write".into()],
        max_auth_age: Some(Seconds(3600)),
        ..ServicePolicy::of(Dialect::AuthMd)
    };
    let audience = Audience::parse("https://a.example").unwrap();
    let service = Service { policy, source: Source::Declared, shown: None, version: 1, ..Service::unknown(audience) };
    let metadata = json!({"token_endpoint_auth_method": "client_secret_basic", "grant_types": [TOKEN_EXCHANGE]});
    Rows {
        account: Account {
            id: "a".into(),
            sub: Subject::parse("sub").unwrap(),
            email: "alice@example.com".into(),
            email_verified: true,
            name: Some("Alice".into()),
            phone_number: None,
            phone_verified: false,
            version: 1,
        },
        auth_time: Timestamp(1000),
        client: Client {
            key: "c".into(),
            client_id: client_id("desk"),
            metadata: serde_json::from_value(metadata).unwrap(),
            policy: ClientPolicy {
                audiences: vec!["https://a.example".into(), "https://id.example".into()],
                ..ClientPolicy::default()
            },
            secret_hash: None,
            version: 1,
        },
        service,
        consents: vec![Consent {
            id: "k".into(),
            delegation_id: Some("d".into()),
            client_key: "c".into(),
            mode: Mode::Always,
            asked_scope: Scope::stored("read write"),
            scope: Scope::stored("read"),
            resources: vec!["https://a.example/api".into()],
            claims: Claim::ALL.into_iter().collect(),
            shown: None,
            request_key: "q".into(),
            number: 1,
            created_at: Timestamp(0),
            last_used_at: None,
            ended_at: None,
        }],
        record: Some(Record { id: "d".into(), sub: Subject::parse("first sub").unwrap(), ended: false }),
        provider: client_id("https://id.example/agent-auth.json"),
        issuer: IssuerUrl::parse("https://id.example").unwrap(),
        root: IssuerUrl::parse("https://id.example").unwrap(),
    }
}

fn request(scope: Option<&str>) -> Request {
    Request {
        audience: Audience::parse("https://a.example").unwrap(),
        asked_as: None,
        resources: vec![],
        scope: scope.map(Scope::stored),
        agent_platform: None,
        agent_context_id: Some("chat".into()),
    }
}

fn mint(request: &Request, rows: &Rows) -> IdJag {
    match decide(request, rows.facts(), "q", &Jti::parse("j").unwrap(), Timestamp(2000)) {
        Ok(Decision::Mint(grant)) => grant.claims,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_covered_request_is_granted_what_the_consent_gives() {
    let claims = mint(&request(None), &rows());
    assert_eq!(claims.check("https://id.example", Timestamp(2000)), Ok(()));
    assert_eq!(claims.scope.as_deref(), Some("read"));
    assert_eq!(claims.resource, Some(OneOrMany::One("https://a.example/api".into())));
    assert_eq!(claims.client_id.as_str(), "https://id.example/agent-auth.json");
    assert_eq!((claims.auth_time, claims.sub.as_str()), (Timestamp(1000), "first sub"));
    assert_eq!((claims.email_verified, claims.phone_number_verified), (Some(true), None));
    assert_eq!(mint(&request(Some("read write")), &rows()).scope.as_deref(), Some("read"), "narrowed");
}

#[test]
fn every_rule_says_no() {
    type Spoil = fn(&mut Request, &mut Rows);
    let cases: [(&str, Spoil, Refusal); 9] = [
        ("grant", |_, f| f.client.metadata.grant_types.clear(), Refusal::GrantTypeNotAllowed),
        ("ceiling", |_, f| f.client.policy.audiences.clear(), Refusal::AudienceNotAllowed),
        ("ourselves", |r, _| r.audience = Audience::parse("https://id.example").unwrap(), Refusal::AudienceOwn),
        ("resource", |r, _| r.resources = vec!["https://b.example/".into()], Refusal::ResourceNotOfAudience),
        ("scope", |r, _| r.scope = Some(Scope::stored("admin")), Refusal::ScopeNotGrantable("admin".into())),
        ("contact", |_, f| f.account.email_verified = false, Refusal::NoVerifiedContact),
        ("old sign-in", |_, f| f.auth_time = Timestamp(-1601), Refusal::StepUp { max_age: Seconds(3600) }),
        ("sign-in to come", |_, f| f.auth_time = Timestamp(2061), Refusal::SignInAhead),
        (
            "denied",
            |_, f| {
                f.consents[0].mode = Mode::Denied;
                f.consents[0].asked_scope = Scope::default();
                f.consents[0].resources.clear();
            },
            Refusal::Denied,
        ),
    ];
    for (name, spoil, expected) in cases {
        let (mut r, mut f) = (request(None), rows());
        spoil(&mut r, &mut f);
        assert_eq!(
            decide(&r, f.facts(), "q", &Jti::parse("j").unwrap(), Timestamp(2000)).map(|d| format!("{d:?}")),
            Err(expected),
            "{name}"
        );
    }
    let unanswered: [(&str, Spoil); 4] = [
        ("nobody asked", |_, f| f.consents.clear()),
        ("no record", |_, f| f.record = None),
        ("an ended record", |_, f| f.record.as_mut().unwrap().ended = true),
        ("another record", |_, f| f.record.as_mut().unwrap().id = "e".into()),
    ];
    for (name, spoil) in unanswered {
        let (mut r, mut f) = (request(None), rows());
        spoil(&mut r, &mut f);
        assert!(
            matches!(decide(&r, f.facts(), "q", &Jti::parse("j").unwrap(), Timestamp(2000)), Ok(Decision::Ask { .. })),
            "{name}"
        );
    }
}

/// Whatever the ceiling: this issuer never, another one of this server if it was declared as a service.
#[test]
fn issuers_of_this_server() {
    let (root, acme) = ("https://id.example", "https://id.example/acme");
    for (issuer, audience, declared, allowed) in [
        (root, root, false, false),
        (root, root, true, false),
        (root, "https://id.example/", true, false),
        (root, "https://ID.example:443/%2e", true, false),
        (root, acme, false, false),
        (root, "https://id.example/%61cme", false, false),
        (root, "https://id.example/nobody", false, false),
        (root, acme, true, true),
        (acme, acme, true, false),
        (acme, "https://id.example/acme/", true, false),
        (acme, "https://id.example/x/../acme", true, false),
        (acme, root, false, false),
        (acme, "https://id.example/beta", false, false),
        (acme, root, true, true),
        (acme, "https://id.example/beta", true, true),
        (acme, "https://id.example.org/acme", false, true),
    ] {
        let (mut r, mut f) = (request(None), rows());
        r.audience = Audience::parse(audience).unwrap();
        f.issuer = IssuerUrl::parse(issuer).unwrap();
        f.client.policy.audiences = vec!["*".into()];
        f.service.source = if declared { Source::Declared } else { Source::Discovered };
        let decided = decide(&r, f.facts(), "q", &Jti::parse("j").unwrap(), Timestamp(2000)).map(|_| ());
        let expected = if allowed { Ok(()) } else { Err(Refusal::AudienceOwn) };
        assert_eq!(decided, expected, "{issuer} for {audience}, declared: {declared}");
    }
}

#[test]
fn the_client_id_at_the_service() {
    let mut f = rows();
    f.service.policy.client_ids.insert(client_id("desk"), client_id("mapped"));
    assert_eq!(mint(&request(None), &f).client_id.as_str(), "mapped");
    f.service.policy.client_ids.clear();
    f.service.policy.client_id_source = ClientIdSource::Client;
    assert_eq!(mint(&request(None), &f).client_id.as_str(), "desk");
}

#[test]
fn what_makes_a_question_another() {
    let key = |r: &Request| r.key(&"a".into(), "s", &"c".into());
    let base = request(Some("read"));
    let mut other = base.clone();
    other.agent_context_id = None;
    assert_ne!(key(&base), key(&other));
    assert_ne!(key(&base), base.key(&"a".into(), "s2", &"c".into()));
    assert_ne!(key(&base), key(&request(None)));
    assert_eq!(key(&base), key(&base.clone()));
}
