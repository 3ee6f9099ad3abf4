"""An issuer of ID-JAGs for the tests of a service that takes them: `avouch harness`, started and scripted from Python.

One file, nothing but the standard library; copy it beside your tests. With pytest, `from avouch_harness import avouch` in a `conftest.py`
gives every test that asks for `avouch` an issuer of its own, which ends with the test.
"""

import json
import os
import pathlib
import queue
import shutil
import subprocess
import threading
import urllib.error
import urllib.request

# Seconds to wait for the issuer to answer, and for a call.
START = 30
CALL = 30


class HarnessError(Exception):
    """The harness did not start, or refused a call; says why."""


def binary():
    """The program: `$AVOUCH`, or `avouch` on the path, or built of the checkout that this file is in."""
    named = os.environ.get("AVOUCH") or shutil.which("avouch")
    if named:
        return named
    for folder in pathlib.Path(__file__).resolve().parents:
        manifest = folder / "Cargo.toml"
        if manifest.is_file() and 'name = "avouch"' in manifest.read_text():
            subprocess.run(["cargo", "build", "--locked", "--quiet"], cwd=folder, check=True)
            return str(folder / "target" / "debug" / "avouch")
    raise HarnessError("there is no avouch: put it on the path, or name it in $AVOUCH")


class Harness:
    """An issuer that runs; `url` is its identifier, the `iss` to trust, and `jwks_uri` its key set. Ends with `stop()`, or as a context manager."""

    def __init__(self, program=None, port=0):
        command = [program or binary(), "harness", "--port", str(port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        first = queue.Queue()
        threading.Thread(target=lambda: first.put(self._process.stdout.readline()), daemon=True).start()
        try:
            self.url = first.get(timeout=START).strip()
        except queue.Empty:
            self.url = ""
        if not self.url:
            self._process.kill()
            raise HarnessError(f"the harness did not start: {self._process.stderr.read().strip()}")
        self.jwks_uri = f"{self.url}/.well-known/jwks.json"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Ends it. Ending it twice is no mistake."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(CALL)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process.stdout.close()
        self._process.stderr.close()

    def call(self, method, path, body=None):
        """A call of the control API, as docs/harness.md has it; what it answers."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/harness/{path}", data, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=CALL) as answer:
                text = answer.read()
        except urllib.error.HTTPError as refused:
            raise HarnessError(f"{method} /harness/{path}: {refused.read().decode(errors='replace')}") from None
        return json.loads(text) if text else None

    def mint(self, audience, **wishes):
        """An assertion, as text. `flaw="expired"` makes it bad; `claims={"sub": "bob"}` and `header` change members, None takes one away."""
        return self.minted(audience, **wishes)["assertion"]

    def minted(self, audience, **wishes):
        """The same with all that is known of it: jti, kid, header, claims, and how to present it (`present`)."""
        return self.call("POST", "assertions", {"audience": audience, **wishes})

    def notice(self, audience, sub=None, format="logout+jwt", **wishes):
        """A notice that the user withdrew. With `deliver_to=URL` it is sent there, and `answers` says what came back."""
        body = {"audience": audience, "format": format, **wishes}
        return self.call("POST", "notices", body if sub is None else {"sub": sub, **body})

    def keys(self):
        """Where each key is."""
        return self.call("GET", "keys")

    def move_key(self, move, **which):
        """`prepare`, `activate`, `retire` or `revoke`: moves a key at once."""
        return self.call("POST", f"keys/{move}", which)

    def rotate(self):
        """Publishes another key, and lets it sign. The old one stays published."""
        self.move_key("prepare")
        return self.move_key("activate")

    def fault(self, document, fault, **how):
        """From now on the `jwks` or the `cimd` is served so; `times=1` is once."""
        return self.call("POST", "faults", {"document": document, "fault": fault, **how})

    def clear_faults(self):
        """Everything is served as it should be."""
        return self.call("DELETE", "faults")

    def advance(self, seconds):
        """Moves the issuer's clock."""
        return self.call("POST", "clock", {"advance": seconds})

    def issuer(self, id):
        """Another issuer, which calls name as `issuer=id`."""
        return self.call("POST", "issuers", {"id": id})

    def ledger(self):
        """Every request that was not a call, the oldest first."""
        return self.call("GET", "ledger")["items"]

    def clear_ledger(self):
        """Empties it."""
        return self.call("DELETE", "ledger")


try:
    import pytest
except ImportError:
    pass
else:

    @pytest.fixture
    def avouch():
        """An issuer for one test."""
        with Harness() as harness:
            yield harness
