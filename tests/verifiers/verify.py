"""Verifies assertions with PyJWT's key set client as it comes; in and out as verify.mjs."""

import json
import sys
import time

import jwt
import jwt.api_jwt

now = 0
time.monotonic = lambda: now


class Moved(jwt.api_jwt.datetime):
    """The time of day, where PyJWT asks for it."""

    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(now, tz)


jwt.api_jwt.datetime = Moved
jwks_uri, issuer = sys.argv[1:]
keys = jwt.PyJWKClient(jwks_uri)

for line in sys.stdin:
    asked = json.loads(line)
    now = asked["now"]
    client = jwt.PyJWKClient(jwks_uri) if asked["fresh"] else keys
    try:
        kid = jwt.get_unverified_header(asked["token"])["kid"]
        key = client.get_signing_key_from_jwt(asked["token"]).key
        jwt.decode(asked["token"], key, algorithms=["ES256", "RS256"], issuer=issuer, audience=asked["audience"])
        answer = {"kid": kid}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
