// The helper, by a service as small as can be: jose, and the key set of the issuer.

import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Harness, HarnessError } from './avouch-harness';

const HERE = 'https://service.example';
let avouch: Harness;

beforeEach(async () => {
  avouch = await Harness.start();
});
afterEach(() => avouch?.stop());

/** Takes what is good, once. */
function service(): (assertion: string) => Promise<string | undefined> {
  const keys = createRemoteJWKSet(new URL(avouch.jwksUri), { cooldownDuration: 0 });
  const seen = new Set<string>();
  return async (assertion) => {
    const requiredClaims = ['sub', 'exp', 'iat', 'jti'];
    const wanted = { issuer: avouch.url, audience: HERE, typ: 'oauth-id-jag+jwt', algorithms: ['ES256'], requiredClaims };
    const { payload } = await jwtVerify(assertion, keys, wanted);
    if (seen.has(payload.jti as string)) throw new Error('replayed');
    seen.add(payload.jti as string);
    return payload.sub;
  };
}

test('it mints', async () => {
  const take = service();
  const assertion = await avouch.mint(HERE, { claims: { sub: 'bob' } });
  expect(await take(assertion)).toBe('bob');
  await expect(take(assertion)).rejects.toThrow('replayed');
});

for (const flaw of ['expired', 'typ-jwt', 'aud-of-another-service', 'iss-untrusted', 'signature-flipped', 'alg-none', 'jti-missing']) {
  test(`${flaw} is refused`, async () => {
    const take = service();
    const bad = await avouch.minted(HERE, { flaw });
    expect(bad.flaw?.name).toBe(flaw);
    await expect(take(bad.assertion)).rejects.toThrow();
    await take(await avouch.mint(HERE));
  });
}

test('it rotates, and says who fetched which key', async () => {
  const take = service();
  const before = await avouch.minted(HERE);
  await take(before.assertion);
  await avouch.rotate();
  const after = await avouch.minted(HERE);
  expect(after.kid).not.toBe(before.kid);
  await take(after.assertion);
  const fetched = (await avouch.ledger()).filter((entry) => entry.path === '/.well-known/jwks.json');
  expect(fetched.map((entry) => entry.kids?.includes(after.kid))).toEqual([false, true]);
  await avouch.clearLedger();
  expect(await avouch.ledger()).toEqual([]);
});

test('a revoked key is gone', async () => {
  const stolen = await avouch.mint(HERE);
  await avouch.moveKey('revoke');
  await expect(service()(stolen)).rejects.toThrow();
  await service()(await avouch.mint(HERE));
});

test('faults and the clock', async () => {
  await avouch.fault('jwks', '500', { times: 1 });
  const take = service();
  await expect(take(await avouch.mint(HERE))).rejects.toThrow();
  await take(await avouch.mint(HERE));
  await avouch.advance(-3600);
  await expect(take(await avouch.mint(HERE))).rejects.toThrow('exp');
});

test('notices', async () => {
  const { token } = await avouch.notice(HERE, { sub: 'bob' });
  expect([decodeProtectedHeader(token).typ, decodeJwt(token).sub]).toEqual(['logout+jwt', 'bob']);
});

test('what is wrong is said', async () => {
  await expect(avouch.mint(HERE, { flaw: 'expird' })).rejects.toThrow(HarnessError);
  await expect(Harness.start('/bin/false')).rejects.toThrow('did not start');
  await expect(Harness.start('/nowhere/avouch')).rejects.toThrow('did not start');
});

test('another issuer stands beside it', async () => {
  await avouch.issuer('acme');
  const minted = await avouch.minted(HERE, { issuer: 'acme', sub: 'bob' });
  expect([minted.claims.iss, minted.claims.email]).toEqual([`${avouch.url}/acme`, 'bob@lab.invalid']);
  await expect(service()(minted.assertion)).rejects.toThrow();
});
