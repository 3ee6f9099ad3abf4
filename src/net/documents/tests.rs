use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::super::testing::{Server, answer, open};
use super::*;
use crate::net::NetError;

const NOW: Timestamp = Timestamp(1_800_000_000);
const JSON: &str = "application/json";

async fn json_server(body: &'static str) -> Server {
    Server::start(move |_| answer(200, JSON, body)).await
}

/// Answers with the number of the request, and these headers.
async fn counting(headers: &'static str) -> (Server, Url) {
    let count = AtomicUsize::new(0);
    let server = Server::start(move |_| {
        let body = format!(r#"{{"n":{}}}"#, count.fetch_add(1, Ordering::SeqCst) + 1);
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\ncontent-type: {JSON}\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
            .into_bytes()
    })
    .await;
    let url = url(&server, "/doc");
    (server, url)
}

fn url(server: &Server, path: &str) -> Url {
    Url::parse(&server.url(path)).unwrap()
}

fn n(outcome: Outcome) -> i64 {
    outcome.unwrap().body["n"].as_i64().unwrap()
}

#[tokio::test]
async fn only_a_small_json_object_with_status_200_is_a_document() {
    type Judge = fn(&DocumentError) -> bool;
    let table: [(&str, u16, &str, String, Judge); 10] = [
        ("not found", 404, JSON, "{}".into(), |e| matches!(e, DocumentError::Status(404))),
        ("other success", 203, JSON, "{}".into(), |e| matches!(e, DocumentError::Status(203))),
        ("redirect", 302, JSON, "{}".into(), |e| matches!(e, DocumentError::Status(302))),
        (
            "page",
            200,
            "text/html",
            "{}".into(),
            |e| matches!(e, DocumentError::ContentType(kind) if kind == "text/html"),
        ),
        ("cut", 200, JSON, r#"{"a":"#.into(), |e| matches!(e, DocumentError::Malformed(_))),
        ("two", 200, JSON, "{}{}".into(), |e| matches!(e, DocumentError::Malformed(_))),
        ("deep", 200, JSON, "[".repeat(4000), |e| matches!(e, DocumentError::Malformed(_))),
        ("many", 200, JSON, format!("{{\"a\":[{}0]}}", ",".repeat(4200)), |e| {
            matches!(e, DocumentError::TooManyValues)
        }),
        ("list", 200, JSON, "[]".into(), |e| matches!(e, DocumentError::NotAnObject)),
        (
            "long",
            200,
            JSON,
            format!("{{}}{}", " ".repeat(5119)),
            |e| matches!(e, DocumentError::Net(e) if matches!(**e, NetError::TooLarge { limit: 5120 })),
        ),
    ];
    for (name, status, content_type, body, expected) in table {
        let server = Server::start(move |_| answer(status, content_type, &body)).await;
        let documents = Documents::new(open());
        for _ in 0..2 {
            let error = documents.get(&url(&server, "/"), Limits::CIMD, NOW).await.unwrap_err();
            assert!(expected(&error), "{name}: {error:?}");
        }
        assert_eq!(server.seen().len(), 2, "{name}: a failure is not kept");
    }
    let full = Box::leak(format!("{{}}{}", " ".repeat(5118)).into_boxed_str());
    let server = json_server(full).await;
    Documents::new(open()).get(&url(&server, "/"), Limits::CIMD, NOW).await.unwrap();
}

#[test]
fn json_has_several_names() {
    for yes in [JSON, "Application/JSON; charset=utf-8", "application/jwk-set+json", "application/cimd+json ;v=1"] {
        assert!(is_json(yes), "{yes}");
    }
    for no in ["", "text/json", "text/html", "application/+json", "application/jsonp", "application/x; a=+json"] {
        assert!(!is_json(no), "{no}");
    }
}

#[tokio::test]
async fn freshness_is_the_servers_within_our_bounds() {
    let limits = Limits { floor: Seconds(60), ceiling: Seconds(1000), ..Limits::CIMD };
    let table = [
        ("", 60),
        ("cache-control: max-age=500\r\n", 500),
        ("Cache-Control: public, MAX-AGE=\"500\"\r\n", 500),
        ("cache-control: public\r\ncache-control: max-age=500\r\n", 500),
        ("cache-control: max-age=500\r\nage: 100\r\n", 400),
        ("cache-control: max-age=500\r\nage: -100\r\n", 500),
        ("cache-control: max-age=500\r\nage: 900\r\n", 60),
        ("cache-control: max-age=1\r\n", 60),
        ("cache-control: no-store\r\n", 60),
        ("cache-control: no-cache, max-age=500\r\n", 60),
        ("cache-control: max-age=400, max-age=500\r\n", 400),
        ("cache-control: max-age=99999\r\n", 1000),
        ("cache-control: max-age=x\r\n", 60),
        ("cache-control: s-maxage=500\r\n", 60),
        ("cache-control: max-age=500\r\nage: 99999999999999999999\r\n", 500),
        ("cache-control: max-age=500\r\nage: 18446744073709551615\r\n", 60),
        ("pragma: no-cache\r\nexpires: Fri, 15 Jan 2027 08:05:00 GMT\r\n", 60),
        // NOW is 08:00:00 of that day.
        ("expires: Fri, 15 Jan 2027 08:05:00 GMT\r\n", 300),
        ("expires: 0\r\n", 60),
        ("cache-control: max-age=70\r\nexpires: Fri, 15 Jan 2027 08:05:00 GMT\r\n", 70),
        // A tenth of the time since it was changed (RFC 9111 section 4.2.2).
        ("last-modified: Fri, 15 Jan 2027 07:00:00 GMT\r\n", 360),
    ];
    for (headers, expected) in table {
        let (_server, url) = counting(headers).await;
        let document = Documents::new(open()).get(&url, limits, NOW).await.unwrap();
        assert_eq!((document.fetched_at, document.fresh_until - NOW), (NOW, Seconds(expected)), "{headers}");
    }
}

#[tokio::test]
async fn a_document_is_kept_until_it_is_stale() {
    let (server, mut url) = counting("cache-control: max-age=100\r\n").await;
    let documents = Documents::new(open());
    assert_eq!(n(documents.get(&url, Limits::CIMD, NOW).await), 1);
    assert_eq!(n(documents.clone().get(&url, Limits::CIMD, NOW + Seconds(99)).await), 1);
    url.set_fragment(Some("part"));
    assert_eq!(n(documents.get(&url, Limits::CIMD, NOW + Seconds(99)).await), 1);
    assert_eq!(n(documents.get(&url, Limits::CIMD, NOW + Seconds(100)).await), 2);
    assert_eq!(n(documents.get(&url, Limits::CIMD, NOW).await), 3, "the clock was set back");
    assert_eq!(n(documents.get(&url, Limits::JWKS, NOW).await), 4, "another kind has other limits");
    documents.forget(&url, Limits::CIMD);
    assert_eq!(n(documents.get(&url, Limits::CIMD, NOW).await), 5);
    assert_eq!(server.seen().len(), 5);
}

#[tokio::test]
async fn callers_at_the_same_time_share_one_fetch_and_its_failure() {
    for (status, expected) in [(200, 1), (500, 2)] {
        let server = Server::start(move |_| answer(status, JSON, "{}")).await;
        let documents = Documents::new(open());
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (documents, url) = (documents.clone(), url(&server, "/"));
            callers.spawn(async move { documents.get(&url, Limits::CIMD, NOW).await });
        }
        for outcome in callers.join_all().await {
            assert_eq!(outcome.is_ok(), status == 200);
        }
        assert_eq!(server.seen().len(), 1);
        let _ = documents.get(&url(&server, "/"), Limits::CIMD, NOW).await;
        assert_eq!(server.seen().len(), expected, "a failure is told only to those who waited");
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_the_fetch_to_the_next() {
    let count = AtomicUsize::new(0);
    let server = Server::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Vec::new(),
        _ => answer(200, JSON, r#"{"n":2}"#),
    })
    .await;
    let documents = Documents::new(open());
    let spawn =
        |documents: Documents, url: Url| tokio::spawn(async move { documents.get(&url, Limits::CIMD, NOW).await });
    let first = spawn(documents.clone(), url(&server, "/"));
    while server.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    let second = spawn(documents.clone(), url(&server, "/"));
    tokio::task::yield_now().await;
    first.abort();
    assert_eq!(n(second.await.unwrap()), 2);
}

#[tokio::test]
async fn a_forced_fetch_has_a_pause() {
    let (server, url) = counting("cache-control: max-age=5000\r\n").await;
    let documents = Documents::new(open());
    assert_eq!(n(documents.get(&url, Limits::JWKS, NOW).await), 1);
    assert_eq!(n(documents.refetch(&url, Limits::JWKS, NOW + Seconds(1)).await), 2, "the first force needs no pause");
    assert_eq!(n(documents.refetch(&url, Limits::JWKS, NOW + Seconds(30)).await), 2);
    assert_eq!(n(documents.refetch(&url, Limits::JWKS, NOW + Seconds(31)).await), 3);
    assert_eq!(n(documents.get(&url, Limits::JWKS, NOW + Seconds(32)).await), 3);
    let both = tokio::join!(
        documents.refetch(&url, Limits::JWKS, NOW + Seconds(100)),
        documents.refetch(&url, Limits::JWKS, NOW + Seconds(100))
    );
    assert_eq!((n(both.0), n(both.1)), (4, 4), "the second joins the first");
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn a_forced_fetch_that_fails_says_so_and_leaves_the_copy() {
    let count = AtomicUsize::new(0);
    let server = Server::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => answer(200, JSON, r#"{"n":1}"#),
        _ => answer(500, JSON, "{}"),
    })
    .await;
    let (documents, url) = (Documents::new(open()), url(&server, "/"));
    assert_eq!(n(documents.get(&url, Limits::JWKS, NOW).await), 1);
    let error = documents.refetch(&url, Limits::JWKS, NOW).await.unwrap_err();
    assert!(matches!(error, DocumentError::Status(500)), "{error:?}");
    assert_eq!(n(documents.refetch(&url, Limits::JWKS, NOW + Seconds(1)).await), 1);
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn the_cache_is_bounded_and_drops_what_was_used_longest_ago() {
    let server = Server::start(|request: &str| {
        let status = if request.starts_with("GET /missing") { 404 } else { 200 };
        answer(status, JSON, &format!("{{}}{}", " ".repeat(98)))
    })
    .await;
    for bounds in [Bounds { documents: 3, bytes: 10_000 }, Bounds { documents: 100, bytes: 300 }] {
        let documents = Documents::with_bounds(open(), bounds);
        let fetched = async |path: &str, limits: Limits| {
            let before = server.seen().len();
            let _ = documents.get(&url(&server, path), limits, NOW).await;
            server.seen().len() > before
        };
        for path in ["/a", "/b", "/c"] {
            assert!(fetched(path, Limits::CIMD).await, "{path} is new");
        }
        for i in 0..5 {
            assert!(fetched(&format!("/missing/{i}"), Limits::CIMD).await, "a failure is not kept");
            assert!(fetched(&format!("/other/{i}"), Limits::JWKS).await, "another kind");
        }
        for path in ["/b", "/c", "/a"] {
            assert!(!fetched(path, Limits::CIMD).await, "{path} was not pushed out");
        }
        assert!(fetched("/d", Limits::CIMD).await);
        assert!(!fetched("/c", Limits::CIMD).await && !fetched("/a", Limits::CIMD).await);
        assert!(fetched("/b", Limits::CIMD).await, "used longest ago");
        let places = lock(&documents.0.cache).slots.len();
        assert!(places <= 3 * bounds.documents, "{places} places: documents of two kinds and what is missing");
    }
}

#[tokio::test]
async fn callers_that_go_away_fill_no_cache() {
    let server = Server::start(|_| Vec::new()).await;
    let documents = Documents::with_bounds(open(), Bounds { documents: 3, bytes: 1000 });
    for i in 0..10 {
        let url = url(&server, &format!("/{i}"));
        let _ = tokio::time::timeout(Duration::ZERO, documents.get(&url, Limits::CIMD, NOW)).await;
    }
    assert_eq!(lock(&documents.0.cache).slots.len(), 3);
}
