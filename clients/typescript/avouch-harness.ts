/**
 * An issuer of ID-JAGs for the tests of a service that takes them: `avouch harness`, started and scripted from TypeScript.
 *
 * One file, nothing but Node 18 or later; copy it beside your tests. It knows no test runner: start one in `beforeEach` of Vitest or Jest, and
 * stop it in `afterEach`.
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';

/** Milliseconds to wait for the issuer to answer, and for a call. */
const START = 30_000;
const CALL = 30_000;

/** The harness did not start, or refused a call; says why. */
export class HarnessError extends Error {}

/** What may be wished of a token; `docs/harness.md` has all of it. */
export interface Wishes {
  /** A name of `docs/flaws.md`: what is wrong with it. */
  flaw?: string;
  sub?: string;
  /** Claims with other values; `null` takes one away. */
  claims?: Record<string, unknown>;
  header?: Record<string, unknown>;
  alg?: 'ES256' | 'RS256';
  issuer?: string;
  proof_for?: string;
}

/** An assertion, and what is known of it. */
export interface Minted {
  assertion: string;
  jti: string;
  kid: string;
  /** What is wrong with it, as `avouch flaws --json` has it. */
  flaw: { name: string; meaning: string; section: string; answers: Record<string, unknown> } | null;
  /** What to do with it, where the flaw is in how it is presented. */
  present: string;
  header: Record<string, unknown>;
  claims: Record<string, unknown>;
}

/** A request that was not a call. */
export interface Entry {
  method: string;
  path: string;
  status: number;
  /** The keys that a key set went out with. */
  kids?: string[];
}

/** The program: `$AVOUCH`, or `avouch` on the path, or built of the checkout that the tests run in. */
export function binary(): string {
  if (process.env.AVOUCH) return process.env.AVOUCH;
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    if (folder && existsSync(join(folder, 'avouch'))) return join(folder, 'avouch');
  }
  for (let folder = process.cwd(); dirname(folder) !== folder; folder = dirname(folder)) {
    const manifest = join(folder, 'Cargo.toml');
    if (existsSync(manifest) && readFileSync(manifest, 'utf8').includes('name = "avouch"')) {
      execFileSync('cargo', ['build', '--locked', '--quiet'], { cwd: folder, stdio: 'inherit' });
      return join(folder, 'target', 'debug', 'avouch');
    }
  }
  throw new HarnessError('there is no avouch: put it on the path, or name it in $AVOUCH');
}

/** An issuer that runs; `url` is its identifier, the `iss` to trust. */
export class Harness {
  /** Where its key set is. */
  readonly jwksUri: string;

  private constructor(
    readonly url: string,
    private readonly process: ChildProcess,
  ) {
    this.jwksUri = `${url}/.well-known/jwks.json`;
  }

  /** Starts one, and waits until it answers. */
  static start(program: string = binary(), port = 0): Promise<Harness> {
    const child = spawn(program, ['harness', '--port', String(port)], { stdio: ['ignore', 'pipe', 'pipe'] });
    return new Promise((resolve, reject) => {
      let said = '';
      let complaint = '';
      const fail = (why: string): void => {
        clearTimeout(late);
        child.kill('SIGKILL');
        reject(new HarnessError(`the harness did not start: ${why.trim()}`));
      };
      const late = setTimeout(() => fail('it says nothing'), START);
      child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint += text));
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        said += text;
        const end = said.indexOf('\n');
        if (end < 0) return;
        clearTimeout(late);
        resolve(new Harness(said.slice(0, end).trim(), child));
      });
      child.once('error', (error) => fail(error.message));
      child.once('close', () => said.includes('\n') || fail(complaint));
    });
  }

  /** Ends it. Ending it twice is no mistake. */
  stop(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return Promise.resolve();
    return new Promise((resolve) => {
      const late = setTimeout(() => this.process.kill('SIGKILL'), CALL);
      this.process.once('exit', () => {
        clearTimeout(late);
        resolve();
      });
      this.process.kill('SIGTERM');
    });
  }

  /** A call of the control API, as docs/harness.md has it; what it answers. */
  async call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await fetch(`${this.url}/harness/${path}`, {
      method,
      body: body === undefined ? undefined : JSON.stringify(body),
      headers: { 'content-type': 'application/json' },
      signal: AbortSignal.timeout(CALL),
    });
    const text = await answer.text();
    if (!answer.ok) throw new HarnessError(`${method} /harness/${path}: ${text}`);
    return (text ? JSON.parse(text) : undefined) as T;
  }

  /** An assertion, as text. */
  async mint(audience: string, wishes: Wishes = {}): Promise<string> {
    return (await this.minted(audience, wishes)).assertion;
  }

  /** The same with all that is known of it. */
  minted(audience: string, wishes: Wishes = {}): Promise<Minted> {
    return this.call('POST', 'assertions', { audience, ...wishes });
  }

  /** A notice that the user withdrew. With `deliver_to` it is sent there, and `answers` says what came back. */
  notice(
    audience: string,
    wishes: Wishes & { format?: 'logout+jwt' | 'secevent+jwt'; deliver_to?: string } = {},
  ): Promise<{ token: string; jti: string; kid: string; answers?: { status: number; body: string }[] }> {
    return this.call('POST', 'notices', { audience, format: 'logout+jwt', ...wishes });
  }

  /** Moves a key at once. */
  moveKey(move: 'prepare' | 'activate' | 'retire' | 'revoke', which: Record<string, unknown> = {}): Promise<unknown> {
    return this.call('POST', `keys/${move}`, which);
  }

  /** Publishes another key, and lets it sign. The old one stays published. */
  async rotate(): Promise<void> {
    await this.moveKey('prepare');
    await this.moveKey('activate');
  }

  /** From now on the key set or the client document is served so; `times: 1` is once. */
  fault(document: 'jwks' | 'cimd', fault: string, how: { seconds?: number; times?: number } = {}): Promise<unknown> {
    return this.call('POST', 'faults', { document, fault, ...how });
  }

  /** Everything is served as it should be. */
  clearFaults(): Promise<unknown> {
    return this.call('DELETE', 'faults');
  }

  /** Moves the issuer's clock. */
  advance(seconds: number): Promise<unknown> {
    return this.call('POST', 'clock', { advance: seconds });
  }

  /** Another issuer, which calls name as `issuer: id`. */
  issuer(id: string): Promise<unknown> {
    return this.call('POST', 'issuers', { id });
  }

  /** Where each key is. */
  keys(): Promise<unknown> {
    return this.call('GET', 'keys');
  }

  /** Every request that was not a call, the oldest first. */
  async ledger(): Promise<Entry[]> {
    return (await this.call<{ items: Entry[] }>('GET', 'ledger')).items;
  }

  /** Empties it. */
  clearLedger(): Promise<unknown> {
    return this.call('DELETE', 'ledger');
  }
}
