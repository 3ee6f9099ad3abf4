//! What tests of the lab have in common: real sockets on 127.0.0.1, and a sandbox behind one.

use tokio::net::TcpListener;

use super::sandbox::{self, Sandbox};
use crate::clock::Clock;
use crate::domain::ids::Audience;
use crate::domain::understood::Understood;
use crate::flow::discover::discover;
use crate::net::{Documents, Net, Policy};
use crate::secret::Secret;

/// A way out that leads to this machine as well.
pub(super) fn net() -> Net {
    Net::new(Policy { allow_private_addresses: true, ..Policy::default() }).unwrap()
}

/// A router on a free port for as long as the test's runtime lives; the router is made when the origin is known.
pub(super) async fn serve(router: impl FnOnce(&str) -> axum::Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let router = router(&origin);
    tokio::spawn(async move { axum::serve(listener, router).await });
    origin
}

/// A client that a sandbox knows.
pub(super) fn client(id: &str) -> sandbox::Client {
    sandbox::Client { id: id.into(), secret: Secret::new("s") }
}

/// A sandbox, and where it is.
pub(super) async fn a_sandbox(options: sandbox::Options) -> (String, Sandbox) {
    let mut made = None;
    let origin = serve(|origin| made.insert(sandbox::new(origin.to_owned(), options).unwrap()).router()).await;
    (origin, made.unwrap())
}

/// What is understood of a service's metadata.
pub(super) async fn understood(origin: &str) -> Understood {
    let asked = Audience::parse(origin).unwrap();
    discover(&Documents::new(net()), &asked, Clock::System.now(), true).await.understood
}
