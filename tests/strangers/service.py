#!/usr/bin/env python3
"""A small notes service which agents can sign in to (auth.md, agent verified flow).

    python3 service.py --port 8000 --trust https://api.agent-provider.com
"""
import argparse
import datetime
import json
import os
import re
import secrets
import sys
import threading
import time
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt

ID_JAG = "urn:ietf:params:oauth:token-type:id-jag"
REVOKED = "https://schemas.workos.com/events/agent/auth/identity/assertion/revoked"
SCOPES = {"api.read": "Read your notes", "api.write": "Write notes"}
# by kty and crv of the key, never by what the token says
ALGORITHMS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
TOKEN_LIFETIME = 3600
LONGEST_TOKEN = 16 * 1024
LONGEST_ASSERTION = 900  # seconds from iat to exp
LONGEST_SESSION = 24 * 3600  # of the user at the provider, if it says when they signed in
SKEW = 60

BASE = ""
TRUSTED = {}  # issuer -> PyJWKClient
STATE_FILE = None

users = {}          # user id -> {email, phone}
delegations = {}    # "iss sub" -> user id
registrations = {}  # registration id -> {...}
credentials = {}    # token -> {...}
notes = {}          # user id -> [text]
seen_jti = {}       # jti -> when it can be forgotten


lock = threading.RLock()  # for all of the above, and the file


class AuthError(Exception):
    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def save():
    if STATE_FILE:
        with open(STATE_FILE + ".new", "w") as f:
            json.dump({"users": users, "delegations": delegations, "registrations": registrations,
                       "credentials": credentials, "notes": notes, "seen_jti": seen_jti}, f)
            f.flush()
            os.fsync(f.fileno())
        os.replace(STATE_FILE + ".new", STATE_FILE)


def load():
    if STATE_FILE and os.path.exists(STATE_FILE):
        with open(STATE_FILE) as f:
            state = json.load(f)
        users.update(state["users"])
        delegations.update(state["delegations"])
        registrations.update(state["registrations"])
        credentials.update(state["credentials"])
        notes.update(state["notes"])
        seen_jti.update(state.get("seen_jti", {}))


def audit(event, **fields):
    print(json.dumps({"event": event, "at": time.time(), **fields}), file=sys.stderr)


def iso(t):
    return datetime.datetime.utcfromtimestamp(t).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def strict_object(pairs):
    """For json.loads: no member may come twice."""
    o = dict(pairs)
    if len(o) != len(pairs):
        raise ValueError("a member comes twice")
    return o


def parse(token):
    """The header and the claims of a JWT, which has to be written as RFC 7515 has it."""
    if isinstance(token, str) and len(token) > LONGEST_TOKEN:
        raise AuthError("invalid_request", "the token is too long")
    if not isinstance(token, str) or not re.fullmatch(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", token):
        raise AuthError("invalid_request", "this is no signed JWT")
    try:
        header, claims = (json.loads(jwt.utils.base64url_decode(part), object_pairs_hook=strict_object)
                          for part in token.split(".")[:2])
    except ValueError as e:
        raise AuthError("invalid_request", str(e))
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise AuthError("invalid_request", "header and claims have to be objects")
    if "crit" in header:
        raise AuthError("invalid_request", "no critical extensions are known here")
    return header, claims


def algorithm_of(jwk):
    """What a key of the issuer's set signs with, if it may be used for that."""
    algorithm = ALGORITHMS.get((jwk.get("kty"), jwk.get("crv")))
    if algorithm is None or jwk.get("alg", algorithm) != algorithm or jwk.get("use", "sig") != "sig":
        raise jwt.InvalidKeyError("the key is not for this")
    if "verify" not in jwk.get("key_ops", ["verify"]):
        raise jwt.InvalidKeyError("the key is not for verifying")
    if "d" in jwk:
        raise jwt.InvalidKeyError("the private part of the key is public")
    return algorithm


def check_types(claims):
    def refuse(name, what):
        raise AuthError("invalid_request", name + " has to be " + what)

    for name in ("iss", "sub", "jti"):
        if not isinstance(claims.get(name), str) or not re.fullmatch(r"[\x20-\x7e]{1,255}", claims[name]):
            refuse(name, "a text of at most 255 ASCII characters")
    for name in ("exp", "iat", "nbf", "auth_time"):
        if name in claims and type(claims[name]) is not int:
            refuse(name, "a whole number")
    for name in ("email", "phone_number", "scope", "name"):
        if name in claims and not isinstance(claims[name], str):
            refuse(name, "a text")
    for name in ("email_verified", "phone_number_verified"):
        if name in claims and not isinstance(claims[name], bool):
            refuse(name, "true or false")
    amr = claims.get("amr", [])
    if not isinstance(amr, list) or not all(isinstance(method, str) for method in amr):
        refuse("amr", "a list of texts")
    if "nonce" in claims:
        raise AuthError("invalid_request", "a nonce belongs in an ID token")
    if "events" in claims and not (isinstance(claims["events"], dict)
                                   and all(isinstance(e, dict) for e in claims["events"].values())):
        refuse("events", "an object of objects")


def verify(token, typ, require):
    """Checks a JWT of a trusted provider (an ID-JAG or a logout token), returns its claims."""
    header, claims = parse(token)
    if header.get("typ") != typ:
        raise AuthError("invalid_request", "the token is no " + typ)
    iss = claims.get("iss")
    client = TRUSTED.get(iss) if isinstance(iss, str) else None
    if client is None:
        raise AuthError("invalid_issuer", "this issuer is not trusted here")
    check_types(claims)
    try:
        key = client.get_signing_key(header.get("kid"))
        algorithm = algorithm_of(key._jwk_data)
        claims = jwt.decode(token, key.key, algorithms=[algorithm], issuer=iss, leeway=SKEW,
                            options={"require": require, "verify_aud": False})
    except jwt.ExpiredSignatureError:
        raise AuthError("expired", "the token has expired")
    except jwt.PyJWTError as e:
        raise AuthError("invalid_signature", str(e))
    # PyJWT is content with one of several audiences: it has to be us, and nobody else
    if claims["aud"] not in (BASE, [BASE]):
        raise AuthError("invalid_audience", "the token is not for this service alone")

    return claims


def use_up(claims):
    """Remembers the jti until the token has ended anyway; whoever calls this has the lock, and saves."""
    now = time.time()
    for key in [k for k, until in seen_jti.items() if until < now]:
        del seen_jti[key]
    key = claims["iss"] + " " + claims["jti"]
    if key in seen_jti:
        raise AuthError("replay_detected", "this token was seen before")
    seen_jti[key] = claims.get("exp", now + 3600) + SKEW


class NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args, **kwargs):
        return None


def fetch_json(url, seconds=5, most=5 * 1024):
    deadline = time.time() + seconds
    opener = urllib.request.build_opener(NoRedirects)
    with opener.open(url, timeout=seconds) as answer:
        if answer.status != 200 or answer.headers.get_content_type() != "application/json":
            raise ValueError("no JSON there")
        data = b""
        while chunk := answer.read1(most + 1):
            data += chunk
            if len(data) > most or time.time() > deadline:
                raise ValueError("too much, or too slow")
    document = json.loads(data)
    if not isinstance(document, dict):
        raise ValueError("no object")
    return document


def check_client(client_id, iss):
    """The client has to have a document at its provider, which names the keys we verified with."""
    refused = AuthError("invalid_client_id", "the client_id does not lead to a client of the issuer")
    if not isinstance(client_id, str):
        raise refused
    url, issuer = urllib.parse.urlsplit(client_id), urllib.parse.urlsplit(iss)
    # only at the provider itself, so that nobody can make us fetch from elsewhere
    if (url.scheme, url.netloc) != (issuer.scheme, issuer.netloc) or "#" in client_id:
        raise refused
    if any(part in (".", "..") for part in urllib.parse.unquote(url.path).split("/")):
        raise refused
    try:
        document = fetch_json(client_id)
    except (OSError, ValueError):
        raise refused
    if document.get("client_id") != client_id or document.get("jwks_uri") != TRUSTED[iss].uri:
        raise refused
    for name in ("logo_uri", "client_uri", "tos_uri", "policy_uri"):
        if name in document and not str(document[name]).startswith((f"{url.scheme}://", "https://")):
            raise refused
    # keys come from jwks_uri only, and a client like this one has no secrets
    if "jwks" in document or "client_secret" in document or \
            document.get("token_endpoint_auth_method", "private_key_jwt") not in ("private_key_jwt", "none"):
        raise refused


FORMS = {"email": r"[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+", "phone_number": r"\+[1-9][0-9]{6,14}"}


def verified(claims, name):
    """The address or number, if the issuer says in so many words that it has verified it."""
    if claims.get(name + "_verified") is not True or name not in claims:
        return None
    if not re.fullmatch(FORMS[name], claims[name]):
        raise AuthError("missing_verified_email", name + " is none")
    return claims[name]


def granted(claims):
    """The scopes for an assertion: no more than it asks for, and only at our own API."""
    resource = claims.get("resource", BASE + "/")
    if resource not in (BASE + "/", [BASE + "/"]):
        raise AuthError("invalid_request", "the resource is not this service's")
    if "scope" not in claims:
        return list(SCOPES)
    asked = claims["scope"].split(" ")
    if not all(re.fullmatch(r"[\x21\x23-\x5b\x5d-\x7e]+", scope) for scope in asked):
        raise AuthError("invalid_request", "the scope is malformed")
    scopes = [scope for scope in SCOPES if scope in asked]
    if not scopes:
        raise AuthError("invalid_request", "none of the scopes is one of this service")
    return scopes


def match_user(claims):
    key = claims["iss"] + " " + claims["sub"]
    if key in delegations:
        return delegations[key]
    email, phone = verified(claims, "email"), verified(claims, "phone_number")
    for user_id, user in users.items():
        if (email and user["email"] == email) or (phone and user["phone"] == phone):
            delegations[key] = user_id
            return user_id
    user_id = "user_" + secrets.token_hex(8)
    users[user_id] = {"email": email, "phone": phone}
    delegations[key] = user_id
    return user_id


def register(body):
    if body.get("type") != "identity_assertion":
        raise AuthError("invalid_request", "only type identity_assertion is supported")
    if body.get("assertion_type") != ID_JAG:
        raise AuthError("invalid_request", "only assertion_type " + ID_JAG + " is supported")
    kind = body.get("requested_credential_type") or "access_token"
    if kind not in ("access_token", "api_key"):
        raise AuthError("unsupported_credential_type", "access_token or api_key")

    claims = verify(body.get("assertion"), "oauth-id-jag+jwt",
                    ["iss", "sub", "aud", "exp", "iat", "jti"])
    check_client(claims.get("client_id"), claims["iss"])
    if not claims["iat"] < claims["exp"] <= claims["iat"] + LONGEST_ASSERTION:
        raise AuthError("invalid_request", "the assertion lives too long, or never")
    if "events" in claims:
        raise AuthError("invalid_request", "events belong in a notice")
    if "cnf" in claims:
        # no proofs of possession are taken here, and without one it could be stolen
        raise AuthError("invalid_request", "assertions that are bound to a key are not supported")
    if "authorization_details" in claims:
        raise AuthError("invalid_request", "no types of authorization details are supported")
    user = {"format": "iss_sub", "iss": claims["iss"], "sub": claims["sub"]}
    if claims.get("sub_id", user) != user:
        raise AuthError("invalid_request", "sub_id is not the user whom sub names")
    now = time.time()
    signed_in = claims.get("auth_time", claims["iat"])
    if not now - LONGEST_SESSION <= signed_in <= claims["iat"]:
        raise AuthError("insufficient_user_authentication", "the user has to sign in again")
    if not any([verified(claims, "email"), verified(claims, "phone_number")]):
        raise AuthError("missing_verified_email", "a verified email or phone number is needed")

    scopes = granted(claims)
    with lock:
        use_up(claims)
        user_id = match_user(claims)
        registration_id = "reg_" + secrets.token_hex(12)
        if kind == "access_token":
            credential, expires = secrets.token_urlsafe(32), time.time() + TOKEN_LIFETIME
        else:
            credential, expires = "sk_live_" + secrets.token_urlsafe(32), None
        registrations[registration_id] = {"iss": claims["iss"], "sub": claims["sub"], "user": user_id,
                                          "client_id": claims["client_id"]}
        credentials[credential] = {"registration": registration_id, "user": user_id,
                                   "iss": claims["iss"], "sub": claims["sub"],
                                   "expires": expires, "scopes": scopes}
        save()
    audit("registration.created", registration_id=registration_id,
          registration_type="agent-provider", iss=claims["iss"], sub=claims["sub"],
          agent_platform=claims.get("agent_platform"),
          agent_context_id=claims.get("agent_context_id"))
    return {
        "registration_id": registration_id,
        "registration_type": "agent-provider",
        "credential_type": kind,
        "credential": credential,
        "credential_expires": iso(expires) if expires else None,
        "scopes": scopes,
    }


def revoke(token):
    claims = verify(token, "logout+jwt", ["iss", "sub", "aud", "iat", "jti", "events"])
    if REVOKED not in claims["events"]:
        raise AuthError("invalid_request", "only the event " + REVOKED + " is taken")
    with lock:
        use_up(claims)
        for credential, c in list(credentials.items()):
            if c["iss"] == claims["iss"] and c["sub"] == claims["sub"]:
                del credentials[credential]
                audit("registration.revoked", registration_id=c["registration"],
                      iss=c["iss"], sub=c["sub"])
        save()


def resource_metadata():
    return {
        "resource": BASE + "/",
        "resource_name": "Notes",
        "authorization_servers": [BASE + "/"],
        "scopes_supported": list(SCOPES),
        "bearer_methods_supported": ["header"],
    }


def server_metadata():
    return {
        "issuer": BASE,
        "resource": BASE + "/",
        "authorization_servers": [BASE + "/"],
        "scopes_supported": list(SCOPES),
        "bearer_methods_supported": ["header"],
        "agent_auth": {
            "skill": BASE + "/auth.md",
            "register_uri": BASE + "/agent/auth",
            "revocation_uri": BASE + "/agent/auth/revoke",
            "identity_types_supported": ["identity_assertion"],
            "identity_assertion": {
                "assertion_types_supported": [ID_JAG],
                "credential_types_supported": ["access_token", "api_key"],
            },
            "events_supported": [REVOKED],
        },
    }


def auth_md():
    scopes = "\n".join(f"- `{s}`: {what}" for s, what in SCOPES.items())
    return f"""# Notes

A small service which keeps notes.

## How agents sign in

Only the agent-verified flow is supported: send an ID-JAG of a provider which we trust
to `POST {BASE}/agent/auth`. The metadata is at
{BASE}/.well-known/oauth-protected-resource and {BASE}/.well-known/oauth-authorization-server.

## Scopes

{scopes}

## Contact

agents@example.com
"""


class Handler(BaseHTTPRequestHandler):
    def send(self, status, body, content_type="application/json", headers=()):
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()

    def authorize(self, scope):
        """The user of the credential in the request, or None if an answer was sent."""
        header = self.headers.get("Authorization", "")
        c = credentials.get(header[7:]) if header.startswith("Bearer ") else None
        if c is None or (c["expires"] and c["expires"] < time.time()):
            self.send(401, {"error": "unauthorized"}, headers=[(
                "WWW-Authenticate",
                f'Bearer resource_metadata="{BASE}/.well-known/oauth-protected-resource"')])
            return None
        if scope not in c["scopes"]:
            self.send(403, {"error": "insufficient_scope"})
            return None
        return c["user"]

    def do_GET(self):
        if self.path == "/.well-known/oauth-protected-resource":
            self.send(200, resource_metadata())
        elif self.path == "/.well-known/oauth-authorization-server":
            self.send(200, server_metadata())
        elif self.path == "/auth.md":
            self.send(200, auth_md(), "text/markdown; charset=utf-8")
        elif self.path == "/api/notes":
            user = self.authorize("api.read")
            if user:
                self.send(200, {"notes": notes.get(user, [])})
        else:
            self.send(404, {"error": "not_found"})

    def json(self):
        body = json.loads(self.body())
        if not isinstance(body, dict):
            raise ValueError("no object")
        return body

    def do_POST(self):
        try:
            if self.path == "/agent/auth":
                self.send(200, register(self.json()))
            elif self.path == "/agent/auth/revoke":
                if self.headers.get_content_type() != "application/logout+jwt":
                    raise AuthError("invalid_request", "send it as application/logout+jwt")
                revoke(self.body().strip())
                self.send(200, {})
            elif self.path == "/api/notes":
                user = self.authorize("api.write")
                if user:
                    text = self.json().get("text", "")
                    with lock:
                        notes.setdefault(user, []).append(text)
                        save()
                    self.send(201, {"notes": notes[user]})
            else:
                self.send(404, {"error": "not_found"})
        except AuthError as e:
            self.send(400, {"error": e.code, "message": str(e)})
        except ValueError:
            self.send(400, {"error": "invalid_request", "message": "the body is not JSON"})


def main():
    global BASE, STATE_FILE
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--trust", action="append", required=True, metavar="ISSUER_URL")
    parser.add_argument("--state", metavar="FILE")
    args = parser.parse_args()

    server = ThreadingHTTPServer(("127.0.0.1", args.port), Handler)
    BASE = f"http://localhost:{server.server_port}"
    STATE_FILE = args.state
    for issuer in args.trust:
        TRUSTED[issuer] = jwt.PyJWKClient(issuer.rstrip("/") + "/.well-known/jwks.json")
    load()
    print(BASE, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
