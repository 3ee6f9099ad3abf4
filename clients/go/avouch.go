// Package avouch starts `avouch harness`, an issuer of ID-JAGs for the tests of a service that takes them, and scripts it.
//
// One file, nothing but the standard library; copy it beside your tests.
package avouch

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// How long to wait for the issuer to answer, to a call, and to its end.
const patience = 30 * time.Second

// Wishes are members of a call, as docs/harness.md has them: Wishes{"flaw": "expired"}, Wishes{"claims": Wishes{"sub": "bob"}}.
// A nil among claims or header takes a member away.
type Wishes map[string]any

// Flaw is what is wrong with a token, as `avouch flaws --json` has it.
type Flaw struct {
	Name    string         `json:"name"`
	Meaning string         `json:"meaning"`
	Section string         `json:"section"`
	Answers map[string]any `json:"answers"` // what each dialect should say
}

// Minted is an assertion, and what is known of it.
type Minted struct {
	Assertion string         `json:"assertion"`
	JTI       string         `json:"jti"`
	Kid       string         `json:"kid"`
	Flaw      *Flaw          `json:"flaw"`
	Present   string         `json:"present"` // what to do with it, where the flaw is in how it is presented
	Header    map[string]any `json:"header"`
	Claims    map[string]any `json:"claims"`
}

// Notice is a logout token or a security event token, and what came back if it was sent.
type Notice struct {
	Token   string `json:"token"`
	JTI     string `json:"jti"`
	Kid     string `json:"kid"`
	Answers []struct {
		Status int    `json:"status"`
		Body   string `json:"body"`
	} `json:"answers"`
}

// Entry is a request that was not a call.
type Entry struct {
	Method string   `json:"method"`
	Path   string   `json:"path"`
	Status int      `json:"status"`
	Kids   []string `json:"kids"` // the keys that a key set went out with
}

// Harness is an issuer that runs for one test. Whatever it refuses ends the test; only Call and Launch return errors.
type Harness struct {
	URL     string // its identifier, the `iss` to trust
	JWKSURI string // where its key set is

	t       testing.TB
	process *exec.Cmd
	ended   chan struct{}
}

// Binary is the program: $AVOUCH, or avouch on the path, or built of the checkout that the tests run in.
func Binary() (string, error) {
	if named := os.Getenv("AVOUCH"); named != "" {
		return named, nil
	}
	if found, err := exec.LookPath("avouch"); err == nil {
		return found, nil
	}
	folder, err := os.Getwd()
	for err == nil && filepath.Dir(folder) != folder {
		manifest, missing := os.ReadFile(filepath.Join(folder, "Cargo.toml"))
		if missing == nil && bytes.Contains(manifest, []byte(`name = "avouch"`)) {
			build := exec.Command("cargo", "build", "--locked", "--quiet")
			build.Dir, build.Stderr = folder, os.Stderr
			return filepath.Join(folder, "target", "debug", "avouch"), build.Run()
		}
		folder = filepath.Dir(folder)
	}
	return "", errors.New("there is no avouch: put it on the path, or name it in $AVOUCH")
}

// Start starts an issuer for this test, waits until it answers, and ends it with the test.
func Start(t testing.TB) *Harness {
	t.Helper()
	program, err := Binary()
	if err != nil {
		t.Fatal(err)
	}
	harness, err := Launch(t, program, 0)
	if err != nil {
		t.Fatal(err)
	}
	return harness
}

// Launch is Start with a program and a port of yours; 0 picks a free one.
func Launch(t testing.TB, program string, port int) (*Harness, error) {
	command := exec.Command(program, "harness", "--port", strconv.Itoa(port))
	// A pipe of our own: that of the command would be closed under whoever still reads.
	output, input, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	var complaint bytes.Buffer
	command.Stdout, command.Stderr = input, &complaint
	err = command.Start()
	input.Close()
	if err != nil {
		output.Close()
		return nil, fmt.Errorf("the harness did not start: %w", err)
	}
	h := &Harness{t: t, process: command, ended: make(chan struct{})}
	go func() {
		command.Wait()
		close(h.ended)
	}()
	t.Cleanup(h.Stop)
	first := make(chan string, 1)
	go func() {
		defer output.Close()
		reader := bufio.NewReader(output)
		line, _ := reader.ReadString('\n')
		first <- strings.TrimSpace(line)
		io.Copy(io.Discard, reader)
	}()
	select {
	case h.URL = <-first:
	case <-time.After(patience):
	}
	if h.URL == "" {
		h.Stop()
		return nil, fmt.Errorf("the harness did not start: %s", strings.TrimSpace(complaint.String()))
	}
	h.JWKSURI = h.URL + "/.well-known/jwks.json"
	return h, nil
}

// Stop ends it. Ending it twice is no mistake.
func (h *Harness) Stop() {
	h.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-h.ended:
	case <-time.After(patience):
		h.process.Process.Kill()
		<-h.ended
	}
}

// Call is a call of the control API, as docs/harness.md has it. What it answers goes into answer, unless that is nil.
func (h *Harness) Call(method, path string, body, answer any) error {
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(text)
	}
	request, err := http.NewRequest(method, h.URL+"/harness/"+path, sent)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	client := http.Client{Timeout: patience}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode >= 300 {
		return fmt.Errorf("%s /harness/%s: %s", method, path, text)
	}
	if answer == nil || len(text) == 0 {
		return nil
	}
	return json.Unmarshal(text, answer)
}

func (h *Harness) must(method, path string, body, answer any) {
	h.t.Helper()
	if err := h.Call(method, path, body, answer); err != nil {
		h.t.Fatal(err)
	}
}

// all is one call's members, of which later ones count.
func all(base Wishes, more []Wishes) Wishes {
	for _, wishes := range more {
		for name, value := range wishes {
			base[name] = value
		}
	}
	return base
}

// Mint makes an assertion.
func (h *Harness) Mint(audience string, wishes ...Wishes) string {
	h.t.Helper()
	return h.Minted(audience, wishes...).Assertion
}

// Minted is the same with all that is known of it.
func (h *Harness) Minted(audience string, wishes ...Wishes) (minted Minted) {
	h.t.Helper()
	h.must("POST", "assertions", all(Wishes{"audience": audience}, wishes), &minted)
	return minted
}

// Notice makes a notice that the user withdrew. With Wishes{"deliver_to": url} it is sent there.
func (h *Harness) Notice(audience string, wishes ...Wishes) (notice Notice) {
	h.t.Helper()
	h.must("POST", "notices", all(Wishes{"audience": audience, "format": "logout+jwt"}, wishes), &notice)
	return notice
}

// MoveKey moves a key at once: "prepare", "activate", "retire" or "revoke".
func (h *Harness) MoveKey(move string, which ...Wishes) {
	h.t.Helper()
	h.must("POST", "keys/"+move, all(Wishes{}, which), nil)
}

// Rotate publishes another key, and lets it sign. The old one stays published.
func (h *Harness) Rotate() {
	h.t.Helper()
	h.MoveKey("prepare")
	h.MoveKey("activate")
}

// Fault lets the "jwks" or the "cimd" be served so from now on; Wishes{"times": 1} is once.
func (h *Harness) Fault(document, fault string, how ...Wishes) {
	h.t.Helper()
	h.must("POST", "faults", all(Wishes{"document": document, "fault": fault}, how), nil)
}

// ClearFaults lets everything be served as it should be.
func (h *Harness) ClearFaults() {
	h.t.Helper()
	h.must("DELETE", "faults", nil, nil)
}

// Advance moves the issuer's clock by whole seconds.
func (h *Harness) Advance(by time.Duration) {
	h.t.Helper()
	h.must("POST", "clock", Wishes{"advance": int64(by.Seconds())}, nil)
}

// Issuer makes another issuer, which calls name: Wishes{"issuer": id}.
func (h *Harness) Issuer(id string) {
	h.t.Helper()
	h.must("POST", "issuers", Wishes{"id": id}, nil)
}

// Ledger has every request that was not a call, the oldest first.
func (h *Harness) Ledger() []Entry {
	h.t.Helper()
	var answer struct{ Items []Entry }
	h.must("GET", "ledger", nil, &answer)
	return answer.Items
}

// ClearLedger empties it.
func (h *Harness) ClearLedger() {
	h.t.Helper()
	h.must("DELETE", "ledger", nil, nil)
}
