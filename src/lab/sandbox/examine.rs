//! What an assertion has to pass before anything is given for it, in the order of auth.md, "Implementation steps", and the ID-JAG draft,
//! section 4.4.1.

use serde_json::Value;

use super::Sandbox;
use super::checks::{Check, Checks};
use super::claims::Context;
use super::members::Members;
use super::person::Person;
use super::possession::Proof;
use super::reply::Refusal;
use super::state::Mark;
use super::token::Token;
use crate::domain::claims::ID_JAG;
use crate::domain::ids::IssuerUrl;
use crate::domain::scope::Scope;
use crate::domain::time::Timestamp;
use crate::lab::flaws::{Class, Rule};

/// Who presents an assertion.
pub(super) enum Presenter<'a> {
    /// Whoever has it, as auth.md lets them.
    Bearer,
    /// A client that has proved who it is, and perhaps that it holds a key.
    Client(&'a str, Option<&'a Proof>),
    /// Whoever uses the API, where no client is asked for.
    Api,
}

/// What an assertion says, all of it believed.
pub(super) struct Examined {
    pub(super) issuer: IssuerUrl,
    pub(super) sub: String,
    pub(super) person: Person,
    pub(super) scopes: Scope,
    /// The resources that it is for, as it names them.
    pub(super) resource: Option<Value>,
    pub(super) agent_platform: Option<String>,
    pub(super) agent_context_id: Option<String>,
    /// Nothing where a `jti` is not asked for.
    pub(super) mark: Option<Mark>,
}

impl Sandbox {
    /// Believes an assertion, or says why not. Nothing is kept.
    pub(super) async fn examine(
        &self,
        assertion: &str,
        presenter: Presenter<'_>,
        checks: &mut Checks,
    ) -> Result<Examined, Refusal> {
        let now = self.0.clock.now();
        checks.ask(Check::Form);
        let token = Token::read(assertion, self.0.broken)?;
        checks.read(&token);
        let issuer = self.0.trust.believe(&token, ID_JAG, checks, now).await?;
        self.drop_what_another_key_gave(&issuer, &token, now);
        let context = self.context(&token.claims, now);
        checks.ask(Check::Audience);
        context.audience()?;
        checks.ask(Check::Times);
        let until = context.times()?;
        checks.ask(Check::Jti);
        let mark = context.jti()?.map(|jti| Mark::new(issuer.as_str(), jti, until));
        self.judge_replay(mark.as_ref(), now)?;
        checks.ask(Check::Subject);
        let sub = context.subject()?.to_owned();
        checks.ask(Check::OtherTokens);
        // Whoever takes any kind of token looks for nothing in it that belongs in another.
        if token.typ() == Some(ID_JAG) {
            context.is_no_other()?;
        }
        checks.ask(Check::Types);
        context.types()?;
        match presenter {
            Presenter::Bearer => {
                checks.ask(Check::Client);
                self.judge_client(&issuer, &token.claims, now).await?;
            }
            Presenter::Client(client_id, _) => {
                checks.ask(Check::SameClient);
                self.is_same_client(&token.claims, client_id)?;
            }
            Presenter::Api => {}
        }
        checks.ask(Check::Contact);
        let person = context.person()?;
        checks.ask(Check::SignIn);
        context.auth_time()?;
        checks.ask(Check::SecondName);
        context.second_name()?;
        checks.ask(Check::Resource);
        context.resource()?;
        checks.ask(Check::Scope);
        let scopes = context.scopes()?;
        checks.ask(Check::Details);
        context.details()?;
        checks.ask(Check::Possession);
        self.judge_possession(&token.claims, &presenter)?;
        let text = |name: &str| token.claims.text(name).map(str::to_owned);
        Ok(Examined {
            sub,
            person,
            scopes,
            resource: token.claims.get("resource").cloned(),
            agent_platform: text("agent_platform"),
            agent_context_id: text("agent_context_id"),
            mark,
            issuer,
        })
    }

    /// What a service does that takes an issuer with another key for another issuer.
    fn drop_what_another_key_gave(&self, issuer: &IssuerUrl, token: &Token, now: Timestamp) {
        if !self.0.broken.lacks(Rule::DropConsentsWhenKeysChange) {
            return;
        }
        let kid = token.header.text("kid").unwrap_or_default();
        let mut state = self.state();
        if state.has_another_key(issuer.as_str(), kid) {
            state.end_all(|registration| registration.iss == issuer.as_str(), now);
        }
    }

    /// Whether a `jti` was used before; asked once more when it is used up, since others come at the same time.
    pub(super) fn judge_replay(&self, mark: Option<&Mark>, now: Timestamp) -> Result<(), Refusal> {
        let used = mark.is_some_and(|mark| self.state().is_used(mark, now));
        if used && !self.0.broken.lacks(Rule::NoJtiMemory) {
            return Refusal::because(Class::Replay, "this jti was used before");
        }
        Ok(())
    }

    /// The client of the claim is the one that authenticated (ID-JAG draft section 4.4.1).
    fn is_same_client(&self, claims: &Members, authenticated: &str) -> Result<(), Refusal> {
        let named = claims.text("client_id");
        let known = named.is_some_and(|named| self.0.clients.iter().any(|client| client.id == named));
        let excused = if known { Rule::IgnoreAuthenticatedClient } else { Rule::TrustClientId };
        if named == Some(authenticated) || self.0.broken.lacks(excused) {
            return Ok(());
        }
        Refusal::because(Class::Client, "client_id is not the client that authenticated")
    }

    /// An assertion that is bound to a key comes with a proof of that key (ID-JAG draft section 9.8.1.2; RFC 7800 section 3.1).
    fn judge_possession(&self, claims: &Members, presenter: &Presenter<'_>) -> Result<(), Refusal> {
        let Some(cnf) = claims.get("cnf").filter(|_| !self.0.broken.lacks(Rule::IgnoreCnf)) else { return Ok(()) };
        let proven = match presenter {
            Presenter::Client(_, Some(proof)) => Some(proof.jkt.as_str()),
            Presenter::Client(_, None) | Presenter::Bearer | Presenter::Api => None,
        };
        let only_jkt = cnf.as_object().is_some_and(|cnf| cnf.len() == 1);
        let jkt = cnf.get("jkt").and_then(Value::as_str).filter(|_| only_jkt);
        if jkt.is_some() && jkt == proven {
            return Ok(());
        }
        Refusal::because(
            Class::Possession,
            "the assertion is bound to a key (cnf), and no proof of that key came with it",
        )
    }

    pub(super) fn context<'a>(&'a self, claims: &'a Members, now: Timestamp) -> Context<'a> {
        Context { claims, origin: &self.0.origin, now, dialect: self.0.dialect, broken: self.0.broken }
    }
}
