//! What a service's answer to a notice means, in the terms of the notice's format.

use serde_json::Value;

use super::notice::Format;

/// What an answer means for the notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The service has it.
    Taken,
    /// It answered well, which proves nothing: it may have taken the notice for something else.
    Unproven,
    /// It will never take it.
    Refused,
    /// It does not know the key that signed it, and will once it has fetched our key set again.
    UnknownKey,
    /// It takes it for one that it had before.
    Replayed,
    /// It said no in a way that may heal.
    Declined,
    /// It could not, or did not answer.
    Failed,
}

/// What the codes of a refusal mean, by all the names that receivers use: RFC 8935 section 2.4 for security event tokens, auth.md
/// ("Revocation") for logout tokens, RFC 7009 section 2.2.1 where something else listens. Services mix them.
const CODES: [(&str, Verdict); 11] = [
    ("invalid_request", Verdict::Refused),
    ("invalid_issuer", Verdict::Refused),
    ("issuer_not_enabled", Verdict::Refused),
    ("invalid_audience", Verdict::Refused),
    ("audience_mismatch", Verdict::Refused),
    ("authentication_failed", Verdict::Refused),
    ("access_denied", Verdict::Refused),
    ("unsupported_token_type", Verdict::Refused),
    ("invalid_key", Verdict::UnknownKey),
    ("invalid_signature", Verdict::UnknownKey),
    ("replay_detected", Verdict::Replayed),
];

/// Judges an answer. `unproven`: the endpoint may be none for notices, so that a 2xx says little.
///
/// Any 2xx is a yes, although RFC 8935 section 2.2 knows only 202 and Global Token Revocation only 204: whoever answers 200 has taken the
/// notice, and would not take it better the next time. Only a 400 or 410 whose body gives a code of the format ends a notice early: others
/// that answer so may be a proxy, or a service that is being mended.
#[must_use]
pub fn judge(format: Format, unproven: bool, status: u16, body: &[u8]) -> Verdict {
    match status {
        200..=299 if unproven && !counts_what_it_revoked(body) => Verdict::Unproven,
        200..=299 => Verdict::Taken,
        // Back-Channel Logout section 2.8: a 400 says that the token is wrong or the logout failed.
        400 if format == Format::BackchannelLogout => code(format, body).unwrap_or(Verdict::Refused),
        400 | 410 => code(format, body).unwrap_or(Verdict::Declined),
        401..=499 => Verdict::Declined,
        _ => Verdict::Failed,
    }
}

/// The code of a refusal: `err` of RFC 8935, `error` of OAuth and auth.md; the format's own name first.
fn code(format: Format, body: &[u8]) -> Option<Verdict> {
    let names = match format {
        Format::SecEvent => ["err", "error"],
        Format::LogoutJwt | Format::GlobalRevocation | Format::BackchannelLogout => ["error", "err"],
    };
    let body: Value = serde_json::from_slice(body).ok()?;
    let said = names.iter().find_map(|name| body.get(name)?.as_str())?;
    CODES.iter().find(|(code, _)| *code == said).map(|(_, verdict)| *verdict)
}

/// What the receivers of auth.md v0.1 answer, `{"revoked": n}`, and no endpoint of RFC 7009 does.
fn counts_what_it_revoked(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|body| body.get("revoked").is_some_and(Value::is_u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_answers_mean() {
        use Format::{BackchannelLogout, GlobalRevocation, LogoutJwt, SecEvent};
        use Verdict::{Declined, Failed, Refused, Replayed, Taken, UnknownKey};
        let cases = [
            (SecEvent, 202, "", Taken),
            (SecEvent, 200, "<html>", Taken),
            (LogoutJwt, 200, r#"{"revoked":0}"#, Taken),
            (LogoutJwt, 204, "", Taken),
            (SecEvent, 302, "", Failed),
            (SecEvent, 100, "", Failed),
            (SecEvent, 500, r#"{"err":"invalid_request"}"#, Failed),
            (SecEvent, 503, "", Failed),
            // RFC 8935 section 2.4.
            (SecEvent, 400, r#"{"err":"invalid_request","description":"no"}"#, Refused),
            (SecEvent, 400, r#"{"err":"invalid_issuer"}"#, Refused),
            (SecEvent, 400, r#"{"err":"invalid_audience"}"#, Refused),
            (SecEvent, 400, r#"{"err":"authentication_failed"}"#, Refused),
            (SecEvent, 400, r#"{"err":"access_denied"}"#, Refused),
            (SecEvent, 400, r#"{"err":"invalid_key"}"#, UnknownKey),
            (SecEvent, 410, r#"{"err":"access_denied"}"#, Refused),
            (SecEvent, 400, r#"{"error":"invalid_signature"}"#, UnknownKey),
            (SecEvent, 400, r#"{"err":"invalid_key","error":"invalid_request"}"#, UnknownKey),
            // auth.md v0.1, and OAuth where something else listens.
            (LogoutJwt, 400, r#"{"error":"invalid_request","message":"no"}"#, Refused),
            (LogoutJwt, 400, r#"{"error":"invalid_issuer"}"#, Refused),
            (LogoutJwt, 400, r#"{"error":"invalid_signature"}"#, UnknownKey),
            (LogoutJwt, 400, r#"{"error":"replay_detected"}"#, Replayed),
            (LogoutJwt, 400, r#"{"error":"unsupported_token_type"}"#, Refused),
            (LogoutJwt, 400, r#"{"err":"invalid_audience"}"#, Refused),
            // Global Token Revocation has statuses alone (section 3.4); whatever stands before it may use OAuth's words.
            (GlobalRevocation, 204, "", Taken),
            (GlobalRevocation, 200, "{}", Taken),
            (GlobalRevocation, 400, r#"{"error":"invalid_request"}"#, Refused),
            (GlobalRevocation, 400, r#"{"errorCode":"E0000001"}"#, Declined),
            (GlobalRevocation, 401, "", Declined),
            (GlobalRevocation, 403, "", Declined),
            (GlobalRevocation, 404, "", Declined),
            (GlobalRevocation, 422, "", Declined),
            (BackchannelLogout, 200, "", Taken),
            (BackchannelLogout, 204, "", Taken),
            (BackchannelLogout, 400, "", Refused),
            (BackchannelLogout, 400, r#"{"error":"logout_failed"}"#, Refused),
            (BackchannelLogout, 400, r#"{"error":"invalid_signature"}"#, UnknownKey),
            (BackchannelLogout, 404, "", Declined),
            (BackchannelLogout, 501, "", Failed),
            // What may heal, whatever it says.
            (SecEvent, 401, r#"{"err":"authentication_failed"}"#, Declined),
            (SecEvent, 403, r#"{"err":"access_denied"}"#, Declined),
            (LogoutJwt, 404, r#"{"error":"invalid_request"}"#, Declined),
            (LogoutJwt, 408, "", Declined),
            (LogoutJwt, 425, "", Declined),
            (SecEvent, 429, r#"{"err":"invalid_request"}"#, Declined),
            (SecEvent, 422, "", Declined),
            (LogoutJwt, 400, "", Declined),
            (LogoutJwt, 410, "<h1>Gone</h1>", Declined),
            (LogoutJwt, 400, r#"{"error":"expired"}"#, Declined),
            // Nothing that one could rely on.
            (SecEvent, 400, r#"{"err":["invalid_request"]}"#, Declined),
            (SecEvent, 400, r#"{"err":{"err":"invalid_request"}}"#, Declined),
            (SecEvent, 400, r#"{"err":1}"#, Declined),
            (SecEvent, 400, r#"["err","invalid_request"]"#, Declined),
            (SecEvent, 400, r#""invalid_request""#, Declined),
            (SecEvent, 400, r#"{"err":"invalid_request""#, Declined),
            (SecEvent, 400, "\u{1f}\u{8b}\u{8}\0", Declined),
            (SecEvent, 400, "null", Declined),
        ];
        for (format, status, body, expected) in cases {
            assert_eq!(judge(format, false, status, body.as_bytes()), expected, "{format:?} {status} {body}");
        }
        let nested = "[".repeat(100_000);
        assert_eq!(judge(SecEvent, false, 400, nested.as_bytes()), Declined);
        assert_eq!(judge(SecEvent, true, 200, nested.as_bytes()), Verdict::Unproven);
        assert_eq!(judge(SecEvent, false, 400, b"{\"err\":\"\xff\"}"), Declined);
    }

    #[test]
    fn what_proves_nothing() {
        let yes = |status, body: &str| judge(Format::LogoutJwt, true, status, body.as_bytes());
        for body in ["", "{}", "null", "<html>", r#"{"revoked":true}"#, r#"{"revoked":-1}"#, r#"[{"revoked":1}]"#] {
            assert_eq!(yes(200, body), Verdict::Unproven, "{body}");
        }
        assert_eq!(yes(204, ""), Verdict::Unproven);
        assert_eq!(yes(200, r#"{"revoked":2}"#), Verdict::Taken);
        assert_eq!(yes(503, ""), Verdict::Failed);
        assert_eq!(yes(400, r#"{"error":"unsupported_token_type"}"#), Verdict::Refused);
    }
}
