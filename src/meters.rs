//! What an operator's Prometheus reads at `/metrics`: every name is on this page. Labels have few values, all of them ours: nothing that
//! somebody else can choose, neither a path nor a client's name nor an issuer, makes a series.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::domain::notice::{DeliveryState, Format};
use crate::domain::time::Seconds;

const MINTS: &str = "avouch_mints_total";
const REFUSALS: &str = "avouch_refusals_total";
const SIGN_INS: &str = "avouch_sign_ins_total";
const CONSENTS: &str = "avouch_consents_total";
const ATTEMPTS: &str = "avouch_notice_attempts_total";
const QUEUED: &str = "avouch_notices_queued";
const OLDEST: &str = "avouch_oldest_notice_age_seconds";
const KEY_AGE: &str = "avouch_oldest_signing_key_age_seconds";
const OVERDUE: &str = "avouch_key_rotation_overdue_seconds";
const ROTATION_FAILURES: &str = "avouch_key_rotation_failures_total";
const BATCH: &str = "avouch_commit_batch_size";
const COMMIT: &str = "avouch_commit_seconds";
const REQUEST: &str = "avouch_request_seconds";

const TIMES: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
const SIZES: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Counts from the first call on.
fn handle() -> Option<&'static PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    HANDLE.get_or_init(install).as_ref()
}

fn install() -> Option<PrometheusHandle> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(BATCH.to_owned()), &SIZES)
        .and_then(|builder| builder.set_buckets(&TIMES));
    let handle = builder.ok()?.install_recorder().ok()?;
    describe_counter!(MINTS, "Assertions that were minted");
    describe_counter!(REFUSALS, "Requests that were refused, by reason");
    describe_counter!(SIGN_INS, "Sign-ins by password, by outcome");
    describe_counter!(CONSENTS, "Answers of users to questions");
    describe_counter!(ATTEMPTS, "Attempts to tell a service of a withdrawal, by what became of the notice");
    describe_gauge!(QUEUED, "Notices on their way");
    describe_gauge!(
        OLDEST,
        "Age of the oldest notice that is due or was tried, and that its service does not have; 0: there is none"
    );
    describe_gauge!(KEY_AGE, "Age of the oldest key that signs, of all issuers");
    describe_gauge!(OVERDUE, "By how much the most overdue rotation of a key is late; 0: none is");
    describe_counter!(ROTATION_FAILURES, "Rotations that failed; each is tried again");
    describe_histogram!(BATCH, "Mints and attempts at notices that shared one transaction");
    describe_histogram!(COMMIT, "Time of such a transaction");
    describe_histogram!(REQUEST, "Time of a request, by route");
    Some(handle)
}

/// All of it, in the text format of Prometheus (version 0.0.4).
#[must_use]
pub fn render() -> String {
    handle().map(PrometheusHandle::render).unwrap_or_default()
}

/// Sums up what was measured since the last time: else it would be kept one by one until somebody reads it.
pub fn keep_up() {
    if let Some(handle) = handle() {
        handle.run_upkeep();
    }
}

/// An assertion was minted.
pub fn minted() {
    counter!(MINTS).increment(1);
}

/// A request was refused; `reason` is a variant of `Refusal`.
pub fn refused(reason: &str) {
    counter!(REFUSALS, "reason" => reason.to_owned()).increment(1);
}

/// How a sign-in ended.
pub fn signed_in(outcome: &'static str) {
    counter!(SIGN_INS, "outcome" => outcome).increment(1);
}

/// What a user answered.
pub fn consented(answer: &'static str) {
    counter!(CONSENTS, "answer" => answer).increment(1);
}

/// A service was told, or not.
pub fn told(format: Format, state: DeliveryState) {
    counter!(ATTEMPTS, "format" => format.as_str(), "state" => state.as_str()).increment(1);
}

/// What is on its way: notices of a format.
pub fn queued(format: Format, notices: u32) {
    gauge!(QUEUED, "format" => format.as_str()).set(f64::from(notices));
}

/// How old what should be over by now is.
pub fn ages(oldest_notice: Seconds, oldest_key: Seconds) {
    gauge!(OLDEST).set(seconds(oldest_notice));
    gauge!(KEY_AGE).set(seconds(oldest_key));
}

/// By how much the most overdue rotation is late.
pub fn overdue(by: Seconds) {
    gauge!(OVERDUE).set(seconds(by));
}

/// A rotation failed.
pub fn rotation_failed() {
    counter!(ROTATION_FAILURES).increment(1);
}

fn seconds(age: Seconds) -> f64 {
    f64::from(u32::try_from(age.0.max(0)).unwrap_or(u32::MAX))
}

/// A transaction of those that waited together.
pub fn committed(size: usize, took: Duration) {
    histogram!(BATCH).record(f64::from(u32::try_from(size).unwrap_or(u32::MAX)));
    histogram!(COMMIT).record(took);
}

/// How long requests take, by route: looked up here rather than by name, and there only once something was answered so.
pub struct Requests(HashMap<&'static str, [OnceLock<Histogram>; 5]>);

/// What no route answers.
const NO_ROUTE: &str = "none";
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl Requests {
    /// For these routes.
    #[must_use]
    pub fn of(routes: impl IntoIterator<Item = &'static str>) -> Self {
        handle();
        Self(routes.into_iter().chain([NO_ROUTE]).map(|route| (route, Default::default())).collect())
    }

    /// A request was answered.
    pub fn answered(&self, route: Option<&'static str>, status: u16, took: Duration) {
        let route = route.unwrap_or(NO_ROUTE);
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        if let Some(of) = self.0.get(route) {
            let status = CLASSES[class];
            of[class].get_or_init(|| histogram!(REQUEST, "route" => route, "status" => status)).record(took);
        }
    }
}
