//! The service that is told of withdrawals.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;

/// How a fake service answers a notice.
#[derive(Clone, Debug)]
pub(crate) enum Behaviour {
    Status(u16),
    /// With these headers.
    Headers(u16, Vec<(&'static str, String)>),
    /// With this body.
    Says(u16, Vec<u8>),
    /// Takes the request and never answers.
    Hang,
    /// Answers without end.
    Stream,
}

/// A document as a service publishes it.
#[derive(Clone, Debug)]
pub(crate) enum Published {
    Json(serde_json::Value),
    /// Status, headers, body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// No answer ever comes.
    Hanging,
    /// The body goes on for ever.
    Endless,
}

/// A relying service that keeps what it is told: a real listener.
#[derive(Clone)]
pub(crate) struct FakeService {
    pub(crate) url: String,
    pub(crate) behaviour: Arc<Mutex<Behaviour>>,
    /// What it publishes, by path: status, content type, body. Elsewhere there is nothing.
    pub(crate) documents: Arc<Mutex<HashMap<String, Published>>>,
    /// The paths that were asked for, in order.
    pub(crate) fetched: Arc<Mutex<Vec<String>>>,
    /// The headers of each notice, in order.
    pub(crate) heads: Arc<Mutex<Vec<axum::http::HeaderMap>>>,
    /// Content type and body of each notice, in order.
    pub(crate) notices: Arc<Mutex<Vec<(String, String)>>>,
}

impl FakeService {
    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1:0").await
    }

    /// At every loopback address, each of which is a host of its own.
    pub(crate) async fn start_everywhere() -> Self {
        Self::start_at("0.0.0.0:0").await
    }

    async fn start_at(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        let service = Self {
            url,
            behaviour: Arc::new(Mutex::new(Behaviour::Status(200))),
            documents: Arc::default(),
            fetched: Arc::default(),
            heads: Arc::default(),
            notices: Arc::default(),
        };
        let handler = service.clone();
        let router =
            axum::Router::new().fallback(move |request: axum::extract::Request| handler.clone().answer(request));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        service
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }

    pub(crate) fn received(&self) -> Vec<String> {
        self.notices.lock().unwrap().iter().map(|(_, body)| body.clone()).collect()
    }

    /// A header of each notice, in order.
    pub(crate) fn header(&self, name: &str) -> Vec<String> {
        let text = |head: &axum::http::HeaderMap| head.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        self.heads.lock().unwrap().iter().map(text).collect()
    }

    /// Publishes a document at a path.
    pub(crate) fn publish(&self, path: &str, document: Published) {
        self.documents.lock().unwrap().insert(path.to_owned(), document);
    }

    /// Publishes authorization server metadata, and nothing else.
    pub(crate) fn publish_server(&self, body: serde_json::Value) {
        self.documents.lock().unwrap().clear();
        self.publish("/.well-known/oauth-authorization-server", Published::Json(body));
    }

    /// How often something was asked for.
    pub(crate) fn fetches(&self) -> usize {
        self.fetched.lock().unwrap().len()
    }

    async fn document(self, path: &str) -> axum::response::Response {
        self.fetched.lock().unwrap().push(path.to_owned());
        let found = self.documents.lock().unwrap().get(path).cloned();
        let json = vec![("content-type", "application/json".to_owned())];
        let (status, headers, body) = match found {
            None => (404, json, axum::body::Body::from("{}")),
            Some(Published::Json(body)) => (200, json, axum::body::Body::from(body.to_string())),
            Some(Published::Answer(status, headers, body)) => (status, headers, axum::body::Body::from(body)),
            Some(Published::Hanging) => std::future::pending().await,
            Some(Published::Endless) => (200, json, axum::body::Body::new(Endless)),
        };
        let mut response = axum::response::Response::new(body);
        *response.status_mut() = axum::http::StatusCode::from_u16(status).unwrap();
        for (name, value) in headers {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        response
    }

    async fn answer(self, request: axum::extract::Request) -> axum::response::Response {
        if request.method() == axum::http::Method::GET {
            let path = request.uri().path().to_owned();
            return self.document(&path).await;
        }
        self.heads.lock().unwrap().push(request.headers().clone());
        let kind = request.headers().get("content-type").map_or("", |v| v.to_str().unwrap()).to_owned();
        let body = axum::body::to_bytes(request.into_body(), 65_536).await.unwrap();
        self.notices.lock().unwrap().push((kind, String::from_utf8(body.to_vec()).unwrap()));
        let behaviour = self.behaviour.lock().unwrap().clone();
        let mut response = axum::response::Response::new(axum::body::Body::from("{}"));
        match behaviour {
            Behaviour::Status(status) => *response.status_mut() = axum::http::StatusCode::from_u16(status).unwrap(),
            Behaviour::Headers(status, headers) => {
                *response.status_mut() = axum::http::StatusCode::from_u16(status).unwrap();
                for (name, value) in headers {
                    response.headers_mut().insert(name, value.parse().unwrap());
                }
            }
            Behaviour::Says(status, body) => {
                *response.status_mut() = axum::http::StatusCode::from_u16(status).unwrap();
                *response.body_mut() = axum::body::Body::from(body);
            }
            Behaviour::Hang => std::future::pending::<()>().await,
            Behaviour::Stream => *response.body_mut() = axum::body::Body::new(Endless),
        }
        response
    }
}

/// A body that goes on for ever.
struct Endless;

impl hyper::body::Body for Endless {
    type Data = hyper::body::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(hyper::body::Bytes::from_static(&[b'x'; 1024])))))
    }
}
