//! The error contract, as a file to review: every way of saying no, with its code, status and text.

use avouch::domain::refusal::{OpenQuestion, Refusal as R};
use avouch::domain::time::{Seconds, Timestamp};
use avouch::http::error::code_and_status;

fn question() -> OpenQuestion {
    OpenQuestion { consent_uri: "https://id.example/consent/x".into(), expires_in: Seconds(600), interval: Seconds(5) }
}

/// One line for each variant, as pattern and example at once: a new variant does not compile until it has a line here.
macro_rules! every_refusal {
    ($($pattern:pat => $example:expr,)*) => {
        fn examples() -> Vec<R> {
            // Without a wildcard: this is what the compiler checks.
            let _listed = |refusal: &R| match refusal { $($pattern => {})* };
            let examples = vec![$($example),*];
            let mut each = examples.iter();
            $(assert!(matches!(each.next(), Some($pattern)), "{} is an example of its pattern", stringify!($pattern));)*
            examples
        }
    };
}

every_refusal! {
    R::NotAForm => R::NotAForm,
    R::BodyTooLarge => R::BodyTooLarge,
    R::BodyIncomplete => R::BodyIncomplete,
    R::HostUnclear => R::HostUnclear,
    R::Missing(_) => R::Missing("redirect_uri"),
    R::Twice(_) => R::Twice("state".into()),
    R::Malformed(..) => R::Malformed("code_challenge_method", "must be S256"),
    R::TextMalformed(..) => R::TextMalformed("agent_platform", "it contains a control character or a line break"),
    R::NotSupported(_) => R::NotSupported("actor_token"),
    R::GrantTypeUnsupported => R::GrantTypeUnsupported,
    R::GrantTypeNotAllowed => R::GrantTypeNotAllowed,
    R::ClientUnauthenticated => R::ClientUnauthenticated,
    R::ClientAuthenticationFailed => R::ClientAuthenticationFailed,
    R::ClientAssertion(_) => R::ClientAssertion("it has expired"),
    R::ClientAuthenticationTwice => R::ClientAuthenticationTwice,
    R::CodeInvalid => R::CodeInvalid,
    R::CodeRedirectMismatch => R::CodeRedirectMismatch,
    R::CodeVerifierWrong => R::CodeVerifierWrong,
    R::RefreshInvalid => R::RefreshInvalid,
    R::TokenOfAnotherClient => R::TokenOfAnotherClient,
    R::ScopeMalformed => R::ScopeMalformed,
    R::ScopeNotGrantable(_) => R::ScopeNotGrantable("api.admin".into()),
    R::ScopeNotOfSignIn(_) => R::ScopeNotOfSignIn("api.admin".into()),
    R::AuthorizeClientUnknown => R::AuthorizeClientUnknown,
    R::RedirectUriUnknown => R::RedirectUriUnknown,
    R::ResponseTypeUnsupported => R::ResponseTypeUnsupported,
    R::LoginRequired => R::LoginRequired,
    R::SignInConsentRequired => R::SignInConsentRequired,
    R::SignInDenied => R::SignInDenied,
    R::RequestNotSupported => R::RequestNotSupported,
    R::RequestUriNotSupported => R::RequestUriNotSupported,
    R::SubjectToken(_) => R::SubjectToken("its session is over"),
    R::AudienceTwice => R::AudienceTwice,
    R::AudienceMalformed(_) => R::AudienceMalformed("it is not a URL"),
    R::AudienceNotAllowed => R::AudienceNotAllowed,
    R::AudienceMisspelt(_) => R::AudienceMisspelt("https://service.example".into()),
    R::AudienceOwn => R::AudienceOwn,
    R::ResourceMalformed(_) => R::ResourceMalformed("it is not a URL"),
    R::ResourceNotOfAudience => R::ResourceNotOfAudience,
    R::AssertionTooLong => R::AssertionTooLong,
    R::ConsentRequired(_) => R::ConsentRequired(question()),
    R::SlowDown(_) => R::SlowDown(question()),
    R::TooManyQuestions => R::TooManyQuestions,
    R::Denied => R::Denied,
    R::DeniedLately(_) => R::DeniedLately(Seconds(3600)),
    R::NoVerifiedContact => R::NoVerifiedContact,
    R::StepUp { .. } => R::StepUp { max_age: Seconds(3600) },
    R::SignInAhead => R::SignInAhead,
    R::BearerMissing => R::BearerMissing,
    R::BearerInvalid => R::BearerInvalid,
    R::BearerScope(_) => R::BearerScope("delegations"),
    R::CredentialsWrong => R::CredentialsWrong,
    R::Throttled(_) => R::Throttled(Seconds(5)),
    R::CrossSite => R::CrossSite,
    R::SignInFormStale => R::SignInFormStale,
    R::NotFound => R::NotFound,
    R::TicketClosed => R::TicketClosed,
    R::TicketMismatch => R::TicketMismatch,
    R::BadQuery(_) => R::BadQuery("cursor is not one of ours".into()),
    R::MethodNotAllowed => R::MethodNotAllowed,
    R::NotJson => R::NotJson,
    R::JsonMalformed(_) => R::JsonMalformed("missing field `id`".into()),
    R::RootOnly => R::RootOnly,
    R::AdminOnly => R::AdminOnly,
    R::KeyNotYet { .. } => R::KeyNotYet { what: "it may sign", at: Timestamp(1_800_000_000) },
    R::KeyState(_) => R::KeyState("only a pending key can be activated"),
    R::IssuerExists => R::IssuerExists,
    R::IssuerDeclared => R::IssuerDeclared,
    R::IssuerDefault => R::IssuerDefault,
    R::Busy => R::Busy,
}

#[test]
fn the_error_contract() {
    let line = |refusal: &R| {
        let debug = format!("{refusal:?}");
        let name = debug.split(|c: char| !c.is_alphanumeric()).next().unwrap();
        let (code, status) = code_and_status(refusal);
        format!("{name:<27}{status} {code:<34}{refusal}")
    };
    insta::assert_snapshot!(examples().iter().map(line).collect::<Vec<_>>().join("\n"));
}
