//! Flaws of an assertion's signature.

use serde_json::json;

use super::draft::{Finish, Signer};
use super::header::UNREADABLE;

flaws! { Assertion Token;
    "signed-by-a-stranger" "Another key signed than the one that the header names."
        Rfc7515 "5.2", Must Signature Library ["key"] unless "ignore-signature" => |d, _| {
            d.signer = Signer::Stranger;
        };
    "signed-by-a-removed-key" "A key signed that the issuer publishes no more, under its own name."
        Rfc7517 "4.5", Must Signature Library ["header.kid" "key"] unless "never-refetch-jwks" or "ignore-kid" => |d, cast| {
            d.head("kid", json!(cast.issuer.removed.kid()));
            d.signer = Signer::Removed;
        };
    "signature-flipped" "One bit of the signature is another."
        Rfc7515 "5.2", Must Signature Library ["signature"] unless "ignore-signature" => |d, _| {
            d.finish = Finish::Flipped;
        };
    "signature-of-another-token" "The signature is that of a token that differs only in its jti."
        Rfc7515 "5.2", Must Signature Library ["signature"] unless "ignore-signature" => |d, _| {
            d.finish = Finish::Transplanted;
        };
    "signature-missing" "There is no signature, although the algorithm has one."
        Rfc7515 "5.2", Must Signature Library ["signature"] unless "ignore-signature" => |d, _| {
            d.finish = Finish::Empty;
        };
    "signature-truncated" "The last byte of the signature is missing."
        Rfc7518 "3.4", Must Signature Library ["signature"] unless "ignore-signature" => |d, _| {
            d.finish = Finish::Truncated;
        };
    "signature-in-der" "The signature is in DER, as in a certificate, and not as in a JWT."
        Rfc7518 "3.4", Must Signature Library ["signature"] unless "accept-signature-in-der" or "ignore-signature" => |d, _| {
            d.finish = Finish::Der;
        };
    "signature-r-zero" "The first half of the signature is zero."
        Rfc7518 "3.4", Must Signature Library ["signature"] unless "ignore-signature" => |d, _| {
            d.finish = Finish::Zeros(0, 32);
        };
    "signature-s-zero" "The second half of the signature is zero."
        Rfc7518 "3.4", Must Signature Library ["signature"] unless "ignore-signature" => |d, _| {
            d.finish = Finish::Zeros(32, 64);
        };
    "signature-all-zero" "The whole signature is zero, which some libraries took for any key's."
        Rfc7518 "3.4", Must Signature Library ["signature"] unless "ignore-signature" => |d, _| {
            d.finish = Finish::Zeros(0, usize::MAX);
        };
    "signature-padded" "The base64 of the signature is padded."
        Rfc7515 "2", Must Malformed Profile ["signature"] unless "accept-padding" except UNREADABLE => |d, _| {
            d.finish = Finish::Padded;
        };
}
