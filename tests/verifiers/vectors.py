"""Judges vectors by PyJWT as it comes; in and out as vectors.mjs. It looks at no type and at no schema."""

import json
import sys

import jwt
import jwt.api_jwt

with open(sys.argv[1], encoding="utf-8") as text:
    file = json.load(text)


class Standing(jwt.api_jwt.datetime):
    """The time of day, where PyJWT asks for it."""

    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(file["clock"], tz)


jwt.api_jwt.datetime = Standing
keys = {key.key_id: key.key for key in jwt.PyJWKSet.from_dict(file["issuer"]["jwks"]).keys}
answers = {}
for vector in file["vectors"]:
    try:
        key = keys[jwt.get_unverified_header(vector["token"])["kid"]]
        expected = {"issuer": file["issuer"]["issuer"], "audience": file["audience"]}
        jwt.decode(vector["token"], key, algorithms=["ES256"], **expected)
        answers[vector["id"]] = None
    except Exception as error:
        answers[vector["id"]] = f"{type(error).__name__}: {error}"
print(json.dumps(answers))
