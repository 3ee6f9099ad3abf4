//! A scripted user and agent that know an issuer by its identifier and its metadata only, as anybody else's would: the
//! user has a browser with cookies and fills in the forms of our pages, the agent signs the user in and asks for assertions.

mod browser;
mod client;
mod http;
mod jar;
mod page;
mod person;

pub use browser::Browser;
pub use client::{Agent, Ask, Authorization, Exchanged, Registration};
pub use http::{Answer, Exchange, Http};
pub use jar::Jar;
pub use page::{Field, Form, Link, forms, links};
pub use person::{Decision, Person};

/// What came of a step, or a sentence that says what was wrong.
pub type Outcome<T> = Result<T, String>;
