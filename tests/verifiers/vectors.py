"""Judges vectors by PyJWT as it comes; in and out as vectors.mjs. It looks at no type and at no schema."""

import json
import sys

import jwt
import jwt.api_jwt

with open(sys.argv[1], encoding="utf-8") as text:
    file = json.load(text)
if file["schema_version"] > 1:
    sys.exit(f"the vectors follow version {file['schema_version']} of their schema, and this script knows 1")


class Standing(jwt.api_jwt.datetime):
    """The time of day, where PyJWT asks for it."""

    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(file["clock"], tz)


jwt.api_jwt.datetime = Standing


def key_set(vector):
    """The key set as it comes; where it is said to be elsewhere, that one, as by whoever follows."""
    if vector["kind"] != "jwks":
        return file["issuer"]["jwks"]
    documents = {document["url"]: document for document in vector["documents"]}
    first = vector["documents"][0]
    served = documents[first["location"]] if "location" in first else first
    return json.loads(served["body"] + " " * served.get("followed_by_spaces", 0))


answers = {}
for vector in file["vectors"]:
    try:
        keys = jwt.PyJWKSet.from_dict(key_set(vector))
        key = keys[jwt.get_unverified_header(vector["token"])["kid"]]
        expected = {"issuer": file["issuer"]["issuer"], "audience": file["audience"]}
        jwt.decode(vector["token"], key.key, algorithms=[file["alg"]], **expected)
        answers[vector["id"]] = None
    except Exception as error:
        answers[vector["id"]] = f"{type(error).__name__}: {error}"
print(json.dumps(answers))
