//! Flaws of proof of possession, and of other ways to name a user.

use serde_json::json;

use super::answer::{Answer, Dialect};
use super::draft::Presented;

const PROOF: Answer = Answer::Refuse { status: 400, codes: &["invalid_dpop_proof", "invalid_grant"] };
const BROKEN: &[(Dialect, Answer)] = &[(Dialect::Plain, PROOF)];

flaws! { Assertion Token;
    "cnf-without-proof" "It is bound to a key (cnf), and no proof of that key comes with it."
        IdJag "9.8.1.2.2", Must Possession Profile ["claims.cnf"] unless "ignore-cnf" => |d, cast| {
            cast.bind(d);
            d.presented = Presented::Usual;
        };
    "cnf-with-a-strangers-proof" "It is bound to a key, and the proof that comes with it is by another one."
        IdJag "9.8.1.2.2", Must Possession Service ["claims.cnf" "request"] unless "ignore-cnf" => |d, cast| {
            cast.bind(d);
            d.presented = Presented::WithStrangersProof;
        };
    "cnf-with-a-proof-for-another-address" "It is bound to a key, and the proof that comes with it was made for another address."
        Rfc9449 "4.3", Must Possession Service ["claims.cnf" "request"]
        unless "accept-any-dpop-proof" or "ignore-cnf" except BROKEN => |d, cast| {
            cast.bind(d);
            d.presented = Presented::WithProofForAnotherAddress;
        };
    "cnf-of-a-certificate" "It is bound to a client certificate, and none comes with it."
        Rfc8705 "3", Must Possession Profile ["claims.cnf"] unless "ignore-cnf" => |d, cast| {
            d.set("cnf", json!({"x5t#S256": cast.issuer.holder.thumbprint()}));
        };
    "cnf-unknown" "It is bound in a way that nobody knows."
        IdJag "9.8.1.2.2", Should Possession Profile ["claims.cnf"] unless "ignore-cnf" => |d, _| {
            d.set("cnf", json!({"lab": "unknown"}));
        };
    "sub-id-malformed" "The second name of the user (sub_id) has no format."
        IdJag "3.2.2", Should Malformed Profile ["claims.sub_id"] unless "ignore-sub-id" => |d, _| {
            d.set("sub_id", json!({"id": "lab"}));
        };
    "sub-id-of-an-unknown-format" "The second name of the user has a format that nobody knows."
        IdJag "3.2.2", Should Malformed Profile ["claims.sub_id"] unless "ignore-sub-id" => |d, _| {
            d.set("sub_id", json!({"format": "lab-unknown", "id": "lab"}));
        };
    "sub-id-of-another-user" "The second name of the user is another user's of the same issuer."
        Rfc9493 "3.2.3", Should Malformed Profile ["claims.sub_id"] unless "ignore-sub-id" => |d, cast| {
            d.set("sub_id", json!({"format": "iss_sub", "iss": cast.issuer.url, "sub": cast.others.sub}));
        };
}
