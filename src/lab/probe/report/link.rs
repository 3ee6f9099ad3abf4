//! Where rules can be read.

use crate::lab::flaws::{Section, Spec};

const ID_JAG: &str = "https://datatracker.ietf.org/doc/html/draft-ietf-oauth-identity-assertion-authz-grant";
const CIMD: &str = "https://datatracker.ietf.org/doc/html/draft-ietf-oauth-client-id-metadata-document";
const AUTH_MD: &str = "https://github.com/workos/auth.md/blob/main/agent-services/README.md";
const EMA: &str = "https://github.com/modelcontextprotocol/ext-auth/blob/main/specification/stable/enterprise-managed-authorization.mdx";
const OPENID: &str = "https://openid.net/specs/openid-connect-core-1_0.html";
const BACK_CHANNEL: &str = "https://openid.net/specs/openid-connect-backchannel-1_0.html";

/// The address of a section; of its document where that has no addresses for its sections.
#[must_use]
pub fn link(section: Section) -> Option<String> {
    let Section { spec, at } = section;
    let base = match spec {
        Spec::IdJag => ID_JAG,
        Spec::Cimd => CIMD,
        // Its sections are numbered for people only.
        Spec::Ema => return Some(EMA.to_owned()),
        Spec::AuthMd => {
            let heading: String = at.to_lowercase().chars().map(|c| if c == ' ' { '-' } else { c }).collect();
            return Some(format!("{AUTH_MD}#{heading}"));
        }
        // These name their sections, and number them for people only.
        Spec::OpenId => return Some(named(OPENID, at, &[("2", "IDToken"), ("5.1", "StandardClaims")])),
        Spec::BackChannel => return Some(named(BACK_CHANNEL, at, &[("2.4", "LogoutToken"), ("2.6", "Validation")])),
        _ => &format!("https://www.rfc-editor.org/rfc/{}", rfc(spec)?),
    };
    Some(format!("{base}#section-{at}"))
}

/// As its address has it.
fn rfc(spec: Spec) -> Option<&'static str> {
    let slug = spec.slug();
    let number = slug.strip_prefix("rfc")?;
    number.bytes().all(|c| c.is_ascii_digit()).then_some(slug)
}

fn named(document: &str, at: &str, names: &[(&str, &str)]) -> String {
    match names.iter().find(|(number, _)| *number == at) {
        Some((_, name)) => format!("{document}#{name}"),
        None => document.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::flaws::all;

    #[test]
    fn every_rule_can_be_read() {
        for flaw in all() {
            let address = link(flaw.section).unwrap_or_else(|| panic!("{flaw:?}"));
            assert!(url::Url::parse(&address).is_ok_and(|url| url.scheme() == "https"), "{address}");
        }
        let at = |spec, at| link(Section { spec, at }).unwrap();
        assert_eq!(at(Spec::Rfc7515, "4.1.11"), "https://www.rfc-editor.org/rfc/rfc7515#section-4.1.11");
        assert_eq!(at(Spec::IdJag, "4.4.1"), format!("{ID_JAG}#section-4.4.1"));
        assert_eq!(at(Spec::AuthMd, "Verifying ID-JAGs"), format!("{AUTH_MD}#verifying-id-jags"));
        assert_eq!(at(Spec::OpenId, "5.1"), format!("{OPENID}#StandardClaims"));
    }
}
