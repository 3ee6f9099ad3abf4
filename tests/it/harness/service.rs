//! The service that is told of withdrawals.

use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;

/// How a fake service answers a notice.
#[derive(Clone, Debug)]
pub(crate) enum Behaviour {
    Status(u16),
    /// With these headers.
    Headers(u16, Vec<(&'static str, String)>),
    /// Takes the request and never answers.
    Hang,
    /// Answers without end.
    Stream,
}

/// A relying service that keeps what it is told: a real listener.
#[derive(Clone)]
pub(crate) struct FakeService {
    pub(crate) url: String,
    pub(crate) behaviour: Arc<Mutex<Behaviour>>,
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
        let service = Self { url, behaviour: Arc::new(Mutex::new(Behaviour::Status(200))), notices: Arc::default() };
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

    async fn answer(self, request: axum::extract::Request) -> axum::response::Response {
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
