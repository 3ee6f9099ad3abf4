//! What is written is read again as it was.

use super::*;
use crate::domain::ids::Jti;

fn decision(mode: Mode) -> Decision {
    Decision {
        aud: "https://s.example".into(),
        mode,
        scope: "r".into(),
        resources: vec!["https://s.example/\"api\"".into()],
        sid: "s".into(),
        agent_platform: Some("}\",\"body\":{".into()),
        agent_context_id: None,
    }
}

#[test]
fn what_is_written_is_read() {
    let sid = || "s".to_owned();
    let disabled = Disabled { name: "\"}".into(), why: Why::Configuration };
    let named = Named { name: "n".into(), members: vec!["email".into()] };
    let attempt = Attempt {
        delivery_id: "o".into(),
        number: 2,
        jti: Jti::parse("j").unwrap(),
        kid: "k".into(),
        endpoint: "https://s.example/revoke".into(),
        status: None,
        error: Some("no answer in time".into()),
        latency: 5,
        answer: String::new(),
        state: DeliveryState::Queued,
        due_at: Timestamp(5),
        held: true,
    };
    let assertion = Assertion {
        sub: Subject::parse("u").unwrap(),
        aud: "https://s.example".into(),
        exp: Timestamp(9),
        kid: "k".into(),
        scope: None,
        resource: Some(OneOrMany::One("https://s.example".into())),
        agent_platform: None,
        agent_context_id: Some("chat".into()),
    };
    let withdrawal = Withdrawal {
        aud: "https://s.example".into(),
        sub: Subject::parse("u").unwrap(),
        why: Why::User,
        consents: 2,
        client: None,
        notices: vec![Notice { id: "o".into(), round: Round::Second, due_at: Timestamp(7) }],
        cancelled: Vec::new(),
    };
    let events = [
        ("session.opened", Event::SessionOpened { sid: sid() }),
        ("session.renewed", Event::SessionRenewed { sid: sid() }),
        ("session.ended", Event::SessionEnded { sid: sid() }),
        ("signin_consent.given", Event::SigninConsentGiven { scope: "openid".into() }),
        ("sign_in.ended", Event::SignInEnded {}),
        ("code.reused", Event::CodeReused { family: "f".into() }),
        ("refresh_token.reused", Event::RefreshTokenReused { family: "f".into() }),
        ("refresh_token.revoked", Event::RefreshTokenRevoked { family: "f".into() }),
        ("access_token.revoked", Event::AccessTokenRevoked {}),
        ("consent.given", Event::ConsentGiven(decision(Mode::Until(Timestamp(7))))),
        ("consent.denied", Event::ConsentDenied(decision(Mode::Denied))),
        ("consent.revised", Event::ConsentRevised {}),
        ("assertion", Event::Assertion(assertion)),
        ("withdrawal", Event::Withdrawal(withdrawal)),
        ("delivery.attempt", Event::DeliveryAttempt(attempt)),
        ("logout.owed", Event::LogoutOwed { delivery_id: "o".into(), sid: sid() }),
        ("delivery.retried", Event::DeliveryRetried { delivery_id: "o".into(), was: DeliveryState::Refused }),
        ("account.disabled", Event::AccountDisabled(disabled.clone())),
        ("client.disabled", Event::ClientDisabled(disabled.clone())),
        ("service.disabled", Event::ServiceDisabled(disabled.clone())),
        ("account.enabled", Event::AccountEnabled(disabled.clone())),
        ("client.enabled", Event::ClientEnabled(disabled.clone())),
        ("service.enabled", Event::ServiceEnabled(disabled)),
        ("account.added", Event::AccountAdded(named.clone())),
        ("account.edited", Event::AccountEdited(named.clone())),
        ("client.added", Event::ClientAdded(named.clone())),
        ("client.edited", Event::ClientEdited(named.clone())),
        ("service.added", Event::ServiceAdded(named.clone())),
        ("service.edited", Event::ServiceEdited(named)),
        ("service.discovered", Event::ServiceDiscovered { aud: "a".into(), shown: "s".into() }),
        (
            "service.changed",
            Event::ServiceChanged {
                aud: "a".into(),
                before: "s".into(),
                after: "t".into(),
                fields: vec!["notices".into()],
            },
        ),
        ("service.pinned", Event::ServicePinned { aud: "a".into() }),
        ("service.unpinned", Event::ServiceUnpinned { aud: "a".into() }),
        ("issuer.created", Event::IssuerCreated { by: Origin::Config }),
        ("issuer.described", Event::IssuerDescribed { by: Origin::Admin }),
        ("issuer.disabled", Event::IssuerDisabled { by: Origin::Admin }),
        ("admin_token.rotated", Event::AdminTokenRotated {}),
        ("issuer.enabled", Event::IssuerEnabled { by: Origin::Config }),
        ("key.prepared", Event::KeyPrepared { kid: "k".into(), alg: SigningAlg::Rs256 }),
        (
            "key.activated",
            Event::KeyActivated {
                kid: "k".into(),
                after: Some("j".into()),
                early: Some(Early::Forced),
                reason: Some("why".into()),
            },
        ),
        ("key.removed", Event::KeyRemoved { kid: "k".into(), reason: None }),
        ("reseal.began", Event::ResealBegan { from: "a".into(), to: "b".into() }),
        ("reseal.ended", Event::ResealEnded { retired: vec!["a".into()], to: "b".into() }),
        ("key.revoked", Event::KeyRevoked { kid: "k".into(), reason: "why".into() }),
    ];
    for (kind, event) in events {
        let (written, body) = event.columns();
        assert_eq!(written, kind);
        assert_eq!(Event::read(kind, &body), Some(event), "{body}");
    }
    let (_, body) = Event::ConsentGiven(decision(Mode::Until(Timestamp(7)))).columns();
    assert!(body.contains(r#""mode":"until","until":7,"scope":"r""#), "{body}");
    assert_eq!(Event::ConsentRevised {}.columns().1, "{}");
    assert_eq!(Event::read("assertion", "{}"), None);
    assert_eq!(Event::read("nothing", "{}"), None);
}
