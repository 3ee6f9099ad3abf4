"""The helper, by a service as small as can be: PyJWT, and the key set of the issuer."""

import jwt
import pytest

from avouch_harness import Harness, HarnessError

HERE = "https://service.example"


class Service:
    """Takes what is good, once."""

    def __init__(self, issuer):
        self.issuer, self.seen = issuer.url, set()
        self.keys = jwt.PyJWKClient(issuer.jwks_uri, cache_jwk_set=False)

    def sub(self, assertion):
        key = self.keys.get_signing_key_from_jwt(assertion)
        required = {"require": ["iss", "sub", "aud", "exp", "iat", "jti"]}
        claims = jwt.decode(assertion, key.key, algorithms=["ES256"], audience=HERE, issuer=self.issuer, options=required)
        if claims["jti"] in self.seen:
            raise jwt.InvalidTokenError("replayed")
        self.seen.add(claims["jti"])
        return claims["sub"]


def test_it_mints(avouch):
    service = Service(avouch)
    assertion = avouch.mint(HERE, claims={"sub": "bob"})
    assert service.sub(assertion) == "bob"
    with pytest.raises(jwt.InvalidTokenError):
        service.sub(assertion)


@pytest.mark.parametrize("flaw", ["expired", "aud-of-another-service", "iss-untrusted", "signature-flipped", "alg-none", "jti-missing"])
def test_flaws_are_refused(avouch, flaw):
    service = Service(avouch)
    with pytest.raises((jwt.InvalidTokenError, jwt.PyJWKClientError)):
        service.sub(avouch.mint(HERE, flaw=flaw))
    service.sub(avouch.mint(HERE))


def test_it_rotates_and_says_who_fetched_which_key(avouch):
    service = Service(avouch)
    before = avouch.minted(HERE)
    service.sub(before["assertion"])
    avouch.rotate()
    after = avouch.minted(HERE)
    assert after["kid"] != before["kid"]
    service.sub(after["assertion"])
    fetched = [entry for entry in avouch.ledger() if entry["path"] == "/.well-known/jwks.json"]
    assert len(fetched) == 2 and after["kid"] in fetched[1]["kids"] and after["kid"] not in fetched[0]["kids"]
    avouch.clear_ledger()
    assert avouch.ledger() == []


def test_a_revoked_key_is_gone(avouch):
    stolen = avouch.mint(HERE)
    avouch.move_key("revoke")
    with pytest.raises(jwt.PyJWKClientError):
        Service(avouch).sub(stolen)
    Service(avouch).sub(avouch.mint(HERE))


def test_faults_and_the_clock(avouch):
    service = Service(avouch)
    avouch.fault("jwks", "500", times=1)
    with pytest.raises(jwt.PyJWKClientError):
        service.sub(avouch.mint(HERE))
    service.sub(avouch.mint(HERE))
    avouch.advance(-3600)
    with pytest.raises(jwt.ExpiredSignatureError):
        service.sub(avouch.mint(HERE))


def test_notices(avouch):
    token = avouch.notice(HERE, "bob")["token"]
    assert jwt.get_unverified_header(token)["typ"] == "logout+jwt"
    assert jwt.decode(token, options={"verify_signature": False})["sub"] == "bob"
    assert jwt.get_unverified_header(avouch.notice(HERE, format="secevent+jwt")["token"])["typ"] == "secevent+jwt"


def test_each_user_has_an_address_of_their_own(avouch):
    assert avouch.minted(HERE)["claims"]["email"] == "user@lab.invalid"
    for wishes in ({"sub": "bob"}, {"claims": {"sub": "bob"}}):
        claims = avouch.minted(HERE, **wishes)["claims"]
        assert (claims["sub"], claims["email"]) == ("bob", "bob@lab.invalid")


def test_another_issuer(avouch):
    avouch.issuer("acme")
    minted = avouch.minted(HERE, issuer="acme")
    assert minted["claims"]["iss"] == f"{avouch.url}/acme"
    with pytest.raises((jwt.InvalidTokenError, jwt.PyJWKClientError)):
        Service(avouch).sub(minted["assertion"])


def test_what_is_wrong_is_said(avouch):
    with pytest.raises(HarnessError, match="expired"):
        avouch.mint(HERE, flaw="expird")
    with pytest.raises(HarnessError):
        Harness(program="/bin/false")


def test_two_stand_side_by_side(avouch):
    with Harness() as other:
        assert other.url != avouch.url
        other.stop()
