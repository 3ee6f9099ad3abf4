//! Why rules matter: what somebody could do where one is not kept. A sentence for each class, not for each flaw.

use crate::lab::flaws::{Class, Flaw, Kind};

/// What somebody could do to a service that has this flaw.
#[must_use]
pub fn matters(flaw: &Flaw) -> &'static str {
    match flaw.kind {
        Kind::Assertion | Kind::Sandbox => of_assertion(flaw.class),
        Kind::Notice => of_notice(flaw.class),
        Kind::Jwks => of_key_set(flaw.class),
        Kind::Cimd => of_document(flaw.class),
    }
}

/// The same for an effect, by its name.
#[must_use]
pub fn matters_of_effect(name: &str) -> Option<&'static str> {
    let sentence = match name {
        "refetches-for-an-unknown-key" => {
            "After the issuer changes its keys, its users would be locked out until some cache runs out."
        }
        "does-not-fetch-for-each-assertion" => {
            "Anybody could make the service flood the issuer with requests, and it would stop working whenever the issuer is down."
        }
        "revocation-ends-the-credential" => "An agent would keep its access after the user took it back.",
        "revocation-spares-other-users" => "One user's withdrawal would end the access of others.",
        "a-refusal-gives-no-credential" => "Whoever is refused would get in all the same.",
        "credentials-are-not-stored" => "A cache on the way could keep credentials, and give them to somebody else.",
        "one-assertion-one-credential" => {
            "Whoever sees an assertion on its way could be quick, and get a credential of their own beside the agent's."
        }
        "grants-no-more-than-was-asked" => "An agent could do more than the user agreed to.",
        "a-bad-request-is-answered" => {
            "What nobody expected would bring the service down, or leave its clients without an answer."
        }
        "metadata-name-their-issuer" => "Nobody could know for whom an assertion is to be made.",
        "challenge-names-the-metadata" | "metadata-say-where-assertions-go" | "metadata-say-that-id-jags-are-taken" => {
            "Agents could not find out by themselves how to get access."
        }
        "metadata-say-where-notices-go" => "Nobody could tell the service that a user withdrew.",
        "no-refresh-token" => {
            "An agent's access would outlive what the provider vouches for, and nobody would be asked again."
        }
        "consents-survive-a-new-key" => {
            "Whenever the issuer changes its keys, all its users would have to agree again, and learn to agree without reading."
        }
        _ => return None,
    };
    Some(sentence)
}

fn of_assertion(class: Class) -> &'static str {
    match class {
        Class::Malformed => {
            "Attacks begin with what a rule does not allow: one program takes it for this, the next one for that, and another one breaks."
        }
        Class::Type => {
            "A token that was made for something else, such as an ID token, would let whoever holds it sign in as the user."
        }
        Class::Signature => "Anybody could write a token in any user's name, and sign in with it.",
        Class::Issuer => "Somebody whom the service never trusted could vouch for its users.",
        Class::Audience => {
            "Another service that was shown an assertion could pass it on, and sign in here as the user."
        }
        Class::Expiry => "An assertion that leaks, in a log or a backup, could be used long after its time.",
        Class::Replay => "Whoever sees an assertion once could use it again, and get a credential of their own.",
        Class::Client => "An agent could use an assertion that the user gave to another agent.",
        Class::ClientAuthentication => "Whoever gets hold of an assertion could redeem it in the name of the agent.",
        Class::Contact => "Somebody could get at an account by an address that nobody has verified to be theirs.",
        Class::Authentication => "A session that was left open or stolen long ago would be as good as a fresh sign-in.",
        Class::Interaction => {
            "A stranger with somebody's address could be linked to that person's account, who never hears of it."
        }
        Class::Possession => {
            "A stolen assertion could be used although it is bound to a key that the thief does not have."
        }
        Class::Target => "An agent could get at an API that the assertion is not for.",
        Class::Scope => "An agent could get more access than the user agreed to.",
        Class::Access => "A user who may not come in would.",
        Class::Bearer => {
            "An assertion, which is to be shown once and elsewhere, would open the API to everybody who sees it."
        }
        Class::Unavailable => {
            "Whatever answers in the issuer's place, be it a broken server, would decide who gets in."
        }
        Class::Tolerated => "Good assertions would be refused, and users locked out.",
    }
}

fn of_notice(class: Class) -> &'static str {
    match class {
        Class::Signature | Class::Issuer => "Anybody could end users' access, whenever they like.",
        Class::Type => {
            "A token that was made for something else could be passed off as a notice, and end somebody's access."
        }
        Class::Audience => {
            "Another service could pass on a notice that it was sent, and end access that nobody withdrew."
        }
        Class::Replay | Class::Expiry => "An old notice could end access that the user has given again since.",
        Class::Tolerated => "Access would end that nobody withdrew.",
        Class::Unavailable => "A withdrawal would be lost, and the agent keep its access.",
        _ => {
            "A notice that can be read in two ways could end the wrong user's access, or be acknowledged and end nothing."
        }
    }
}

fn of_key_set(class: Class) -> &'static str {
    match class {
        Class::Tolerated => "A harmless change of the issuer's key set would lock out all its users.",
        Class::Signature => {
            "A key that the issuer has withdrawn, or publishes for something else, would still sign in its name."
        }
        _ => {
            "A broken or hostile answer in the place of the key set could be believed, or bring the service to a halt."
        }
    }
}

fn of_document(class: Class) -> &'static str {
    match class {
        Class::Tolerated => {
            "A harmless change of the client's document would lock out its users, or end what they agreed to."
        }
        _ => "Somebody could pass for another agent by a document that proves nothing.",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::lab::flaws::all;

    #[test]
    fn there_is_a_sentence_for_each_and_not_one_for_all() {
        let said: BTreeSet<&str> = all().iter().map(|flaw| matters(flaw)).collect();
        assert!(said.len() > 20, "{}", said.len());
        for sentence in said {
            assert!(sentence.ends_with('.') && !sentence[..sentence.len() - 1].contains(". "), "{sentence}");
        }
        assert_eq!(matters_of_effect("no-such-effect"), None);
    }
}
