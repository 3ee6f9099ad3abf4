//! What an assertion is for: resource, scope, details.

use serde_json::Value;
use url::Url;

use super::claims::{Context, malformed};
use super::reply::Refusal;
use crate::domain::scope::Scope;
use crate::lab::flaws::{Class, Rule};

/// What this service offers; an assertion without `scope` gets the first.
pub(super) const SCOPES: [&str; 2] = ["api.read", "api.write"];

impl Context<'_> {
    /// `resource`, where there is one, is this service's (RFC 8707 section 2): its API or something below.
    pub(super) fn resource(&self) -> Result<(), Refusal> {
        let fits = match self.claims.get("resource") {
            None => true,
            Some(Value::Array(list)) => !list.is_empty() && list.iter().all(|one| self.is_own_resource(one)),
            Some(value) => self.is_own_resource(value),
        };
        if fits || self.lacks(Rule::IgnoreResource) {
            return Ok(());
        }
        Refusal::because(Class::Target, "resource is not one of this service's")
    }

    /// Compared as written, so that no spelling leads elsewhere: one with dots that lead upwards is not what its parser makes of it.
    fn is_own_resource(&self, value: &Value) -> bool {
        let Some(text) = value.as_str() else { return false };
        let base = format!("{}/api/", self.origin);
        if self.lacks(Rule::AcceptResourcePrefix) && text.starts_with(base.trim_end_matches('/')) {
            return true;
        }
        let Ok(url) = Url::parse(text) else { return false };
        url.as_str() == text && url.fragment().is_none() && text.starts_with(&base)
    }

    /// What is granted: what the assertion names and this service has.
    pub(super) fn scopes(&self) -> Result<Scope, Refusal> {
        let usual = Scope::from_iter([SCOPES[0]]);
        let Some(value) = self.claims.get("scope") else { return Ok(usual) };
        let no = |why: &'static str| Refusal::new(Class::Scope, why);
        let asked = match value.as_str().and_then(|text| Scope::parse(text).ok()) {
            Some(asked) => asked,
            None if self.lacks(Rule::AcceptAnyScopeText) => return Ok(usual),
            None => return Err(no("scope is not a list of scope tokens")),
        };
        if self.lacks(Rule::GrantAnyScope) {
            return Ok(asked);
        }
        let granted = asked.and(&Scope::from_iter(SCOPES));
        if granted.is_empty() { Err(no("scope names nothing this service has")) } else { Ok(granted) }
    }

    /// No details are understood here, and what is not understood is not granted (RFC 9396 section 5).
    pub(super) fn details(&self) -> Result<(), Refusal> {
        if self.claims.get("authorization_details").is_none() || self.lacks(Rule::IgnoreAuthorizationDetails) {
            return Ok(());
        }
        Err(malformed("authorization_details are not supported"))
    }
}
