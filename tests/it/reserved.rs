//! An issuer's id is the first segment of its paths, so the default issuer's own pages and endpoints must not be one.

use avouch::domain::issuer::IssuerId;

#[test]
fn no_route_can_be_an_issuers_id() {
    let routes = include_str!("../../src/http/mod.rs");
    let paths: Vec<&str> = routes.split(".route(\"/").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(paths.len() > 15, "the routes were found");
    for path in paths.into_iter().chain(["assets/style.css"]).filter(|path| !path.is_empty()) {
        let segment = path.split('/').next().unwrap();
        assert!(IssuerId::parse(segment).is_err(), "/{segment} is in use and could be an issuer's id");
    }
}
