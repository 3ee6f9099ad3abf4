package avouch

// The helper, by a service as small as can be: the standard library, and the key set of the issuer.

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"
)

const here = "https://service.example"

// service takes what is good, once.
type service struct {
	issuer string
	seen   map[string]bool
}

type claims struct {
	Iss, Sub, Aud, JTI string
	Exp, Iat           int64
}

func trusting(issuer string) *service { return &service{issuer, map[string]bool{}} }

func part(text string, into any) error {
	bytes, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return err
	}
	return json.Unmarshal(bytes, into)
}

func (s *service) key(kid string) (*ecdsa.PublicKey, error) {
	response, err := http.Get(s.issuer + "/.well-known/jwks.json")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var set struct {
		Keys []struct{ Kid, Kty, X, Y string }
	}
	if response.StatusCode != 200 {
		return nil, errors.New("no key set")
	}
	if err := json.NewDecoder(response.Body).Decode(&set); err != nil {
		return nil, err
	}
	number := func(text string) *big.Int {
		bytes, _ := base64.RawURLEncoding.DecodeString(text)
		return new(big.Int).SetBytes(bytes)
	}
	for _, key := range set.Keys {
		if key.Kid == kid && key.Kty == "EC" {
			return &ecdsa.PublicKey{Curve: elliptic.P256(), X: number(key.X), Y: number(key.Y)}, nil
		}
	}
	return nil, errors.New("no such key")
}

func (s *service) sub(assertion string) (string, error) {
	parts := strings.Split(assertion, ".")
	var header struct{ Alg, Typ, Kid string }
	var c claims
	if len(parts) != 3 || part(parts[0], &header) != nil || part(parts[1], &c) != nil {
		return "", errors.New("no JWT")
	}
	if header.Alg != "ES256" || header.Typ != "oauth-id-jag+jwt" {
		return "", errors.New("another kind of token")
	}
	key, err := s.key(header.Kid)
	if err != nil {
		return "", err
	}
	hash := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(signature) != 64 {
		return "", errors.New("no signature")
	}
	r, t := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	now := time.Now().Unix()
	switch {
	case !ecdsa.Verify(key, hash[:], r, t):
		return "", errors.New("it does not verify")
	case c.Iss != s.issuer || c.Aud != here || c.Sub == "" || c.JTI == "":
		return "", errors.New("not for me")
	case c.Exp <= now:
		return "", errors.New("expired")
	case s.seen[c.JTI]:
		return "", errors.New("replayed")
	}
	s.seen[c.JTI] = true
	return c.Sub, nil
}

func (s *service) takes(t *testing.T, assertion string) {
	t.Helper()
	if _, err := s.sub(assertion); err != nil {
		t.Fatal(err)
	}
}

func (s *service) refuses(t *testing.T, assertion, why string) {
	t.Helper()
	if sub, err := s.sub(assertion); err == nil || !strings.Contains(err.Error(), why) {
		t.Fatalf("taken for %q, %v", sub, err)
	}
}

func TestItMints(t *testing.T) {
	h := Start(t)
	s := trusting(h.URL)
	assertion := h.Mint(here, Wishes{"claims": Wishes{"sub": "bob"}})
	if sub, err := s.sub(assertion); sub != "bob" || err != nil {
		t.Fatal(sub, err)
	}
	s.refuses(t, assertion, "replayed")
}

func TestFlawsAreRefused(t *testing.T) {
	h := Start(t)
	for _, flaw := range []string{"expired", "aud-of-another-service", "iss-untrusted", "signature-flipped", "alg-none", "jti-missing"} {
		t.Run(flaw, func(t *testing.T) {
			s := trusting(h.URL)
			bad := h.Minted(here, Wishes{"flaw": flaw})
			if bad.Flaw == nil || bad.Flaw.Name != flaw {
				t.Fatal(bad.Flaw)
			}
			s.refuses(t, bad.Assertion, "")
			s.takes(t, h.Mint(here))
		})
	}
}

func TestItRotatesAndSaysWhoFetchedWhichKey(t *testing.T) {
	h := Start(t)
	s := trusting(h.URL)
	before := h.Minted(here)
	s.takes(t, before.Assertion)
	h.Rotate()
	after := h.Minted(here)
	if after.Kid == before.Kid {
		t.Fatal("it did not rotate")
	}
	s.takes(t, after.Assertion)
	fetched := h.Ledger()
	has := func(entry Entry) bool { return strings.Contains(strings.Join(entry.Kids, " "), after.Kid) }
	if len(fetched) != 2 || has(fetched[0]) || !has(fetched[1]) {
		t.Fatal(fetched)
	}
	h.ClearLedger()
	if left := h.Ledger(); len(left) != 0 {
		t.Fatal(left)
	}
}

func TestARevokedKeyIsGone(t *testing.T) {
	h := Start(t)
	stolen := h.Mint(here)
	h.MoveKey("revoke")
	trusting(h.URL).refuses(t, stolen, "no such key")
	trusting(h.URL).takes(t, h.Mint(here))
}

func TestFaultsAndTheClock(t *testing.T) {
	h := Start(t)
	s := trusting(h.URL)
	h.Fault("jwks", "500", Wishes{"times": 1})
	s.refuses(t, h.Mint(here), "no key set")
	s.takes(t, h.Mint(here))
	h.Fault("jwks", "not-found")
	s.refuses(t, h.Mint(here), "no key set")
	h.ClearFaults()
	s.takes(t, h.Mint(here))
	h.Advance(-time.Hour)
	s.refuses(t, h.Mint(here), "expired")
}

func TestNotices(t *testing.T) {
	h := Start(t)
	for _, format := range []string{"logout+jwt", "secevent+jwt"} {
		var header struct{ Typ string }
		var c claims
		parts := strings.Split(h.Notice(here, Wishes{"sub": "bob", "format": format}).Token, ".")
		if err := part(parts[0], &header); err != nil || header.Typ != format {
			t.Fatal(header, err)
		}
		if err := part(parts[1], &c); err != nil || c.Sub != "bob" {
			t.Fatal(c, err)
		}
	}
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	h := Start(t)
	err := h.Call("POST", "assertions", Wishes{"audience": here, "flaw": "expird"}, nil)
	if err == nil || !strings.Contains(err.Error(), "expired") {
		t.Fatal(err)
	}
	if _, err := Launch(t, "/bin/false", 0); err == nil {
		t.Fatal("it started")
	}
	if _, err := Launch(t, "/nowhere/avouch", 0); err == nil {
		t.Fatal("it started")
	}
}

func TestTwoStandSideBySide(t *testing.T) {
	one, other := Start(t), Start(t)
	if one.URL == other.URL {
		t.Fatal(one.URL)
	}
	other.Stop()
}

func TestAnotherIssuer(t *testing.T) {
	h := Start(t)
	if h.JWKSURI != h.URL+"/.well-known/jwks.json" {
		t.Fatal(h.JWKSURI)
	}
	h.Issuer("acme")
	minted := h.Minted(here, Wishes{"issuer": "acme", "sub": "bob"})
	if minted.Claims["iss"] != h.URL+"/acme" || minted.Claims["email"] != "bob@lab.invalid" {
		t.Fatal(minted.Claims)
	}
}
