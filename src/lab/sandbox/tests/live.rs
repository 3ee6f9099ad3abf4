//! What is seen of the sandbox while it happens: verdicts, the stream of events, the page.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use http_body_util::BodyExt as _;
use serde_json::json;
use tower_service::Service as _;

use crate::domain::time::Seconds;
use crate::lab::flaws::Dialect;
use crate::lab::sandbox::checks::{Check, Verdict};
use crate::lab::sandbox::testing::{NOW, World};
use crate::lab::sandbox::{Sandbox, stream};

/// The checks of the latest token that passed, the one that failed, and those that were not reached.
fn latest(sandbox: &Sandbox) -> (Vec<Check>, Option<Check>, Vec<Check>) {
    let state = sandbox.state();
    let verdicts = &state.tokens().next().unwrap().verdicts;
    let of = |wanted: Verdict| verdicts.iter().filter(move |(_, verdict)| *verdict == wanted).map(|(check, _)| *check);
    let failed: Vec<Check> = of(Verdict::Failed).collect();
    assert!(failed.len() <= 1);
    (of(Verdict::Passed).collect(), failed.first().copied(), of(Verdict::NotReached).collect())
}

#[tokio::test]
async fn each_check_has_its_verdict() {
    let w = World::new().await;
    w.credential(json!({})).await;
    let (all, failed, left) = latest(&w.sandbox);
    assert_eq!((all.len(), failed, left.len()), (22, None, 0), "{all:?}");
    for (changes, expected) in [
        (json!({"iss": "https://id.example"}), Check::Issuer),
        (json!({"aud": "https://other.example"}), Check::Audience),
        (json!({"exp": NOW - Seconds(60), "iat": NOW - Seconds(300)}), Check::Times),
        (json!({"jti": null}), Check::Jti),
        (json!({"client_id": "desk-agent"}), Check::Client),
        (json!({"email_verified": "true"}), Check::Contact),
        (json!({"resource": "https://other.example/"}), Check::Resource),
        (json!({"cnf": {"jkt": "x"}}), Check::Possession),
    ] {
        w.register(&w.assertion(changes), "api_key").await;
        let at = all.iter().position(|check| *check == expected).unwrap();
        assert_eq!(latest(&w.sandbox), (all[..at].to_vec(), Some(expected), all[at + 1..].to_vec()));
    }
    // Looked at once more when it is used up, and shown where it belongs.
    let token = w.assertion(json!({}));
    w.register(&token, "api_key").await;
    w.register(&token, "api_key").await;
    assert_eq!(latest(&w.sandbox).1, Some(Check::Jti));
    w.revoke(&w.notice(json!({"events": {}}))).await;
    assert_eq!(latest(&w.sandbox).1, Some(Check::Events));
    w.revoke(&w.notice(json!({}))).await;
    assert_eq!(latest(&w.sandbox).1, None);
}

#[tokio::test]
async fn few_tokens_are_remembered_and_none_with_its_signature() {
    let w = World::speaking(Dialect::V01).await;
    for _ in 0..25 {
        w.register(&w.assertion(json!({"aud": "https://other.example"})), "api_key").await;
    }
    let token = w.assertion(json!({}));
    w.register(&token, "api_key").await;
    assert_eq!(w.sandbox.state().tokens().count(), 20);
    let page = String::from_utf8(w.get("/").await.body).unwrap();
    assert!(token.split('.').all(|part| !page.contains(part)), "not a part of it is there as it was sent");
}

async fn open(sandbox: &Sandbox, headers: &[(&str, &str)], query: &str) -> Response<Body> {
    let mut request = Request::get(format!("/sandbox/events/stream{query}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    sandbox.router().call(request.body(Body::empty()).unwrap()).await.unwrap()
}

/// The next piece; nothing at the end.
async fn next(response: &mut Response<Body>) -> Option<String> {
    let frame = tokio::time::timeout(Duration::from_secs(20), response.body_mut().frame()).await.expect("in time")?;
    Some(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
}

#[tokio::test]
async fn events_come_as_they_happen_and_from_where_one_left_off() {
    let w = World::new().await;
    let credential = w.credential(json!({})).await;
    let mut stream = open(&w.sandbox, &[], "").await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let first = next(&mut stream).await.unwrap();
    assert!(first.starts_with("id: 1\ndata: {") && first.contains("registration.created"), "{first}");
    w.call(&credential).await;
    let second = next(&mut stream).await.unwrap();
    assert!(second.starts_with("id: 2\n") && second.contains("resource.served"), "{second}");
    for (headers, query, expected) in [
        (&[("last-event-id", "1")][..], "?after=2", "id: 2\n"),
        (&[], "?after=1", "id: 2\n"),
        (&[], "?after=2", "event: verdict\n"),
        (&[], "?after=99", "id: 1\n"),
        (&[], "?after=-1&x", "id: 1\n"),
    ] {
        let piece = next(&mut open(&w.sandbox, headers, query).await).await.unwrap();
        assert!(piece.starts_with(expected), "{headers:?} {query}: {piece}");
    }
    w.sandbox.close();
    assert_eq!(next(&mut stream).await, None, "the end of the sandbox is the end of the stream");
}

#[tokio::test]
async fn so_many_look_and_no_more() {
    let w = World::new().await;
    let mut streams = Vec::new();
    for _ in 0..stream::MAX_STREAMS {
        let stream = open(&w.sandbox, &[], "").await;
        assert_eq!(stream.status(), 200);
        streams.push(stream);
    }
    let refused = open(&w.sandbox, &[], "").await;
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"30".parse().unwrap()));
    streams.pop();
    assert_eq!(open(&w.sandbox, &[], "").await.status(), 200);
}
