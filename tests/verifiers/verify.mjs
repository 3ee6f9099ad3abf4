// Verifies assertions with jose's remote key set as it comes: `verify.mjs JWKS_URI ISSUER [COOLDOWN]`. Each line of standard input is
// {"now", "audience", "token", "fresh"}; each line of standard output is {"kid"} or {"error"}. The clock is the line's; a fresh one
// has fetched nothing yet. COOLDOWN is how many milliseconds pass between two fetches at least, where that is not the library's.
import { createInterface } from 'node:readline'
import { createRemoteJWKSet, jwtVerify } from 'jose'

const [jwksUri, issuer, cooldown] = process.argv.slice(2)
const options = cooldown ? { cooldownDuration: Number(cooldown) } : undefined
let now = 0
Date.now = () => now * 1000
const start = () => createRemoteJWKSet(new URL(jwksUri), options)
const keys = start()

for await (const line of createInterface({ input: process.stdin })) {
  const { now: at, audience, token, fresh } = JSON.parse(line)
  now = at
  let answer
  try {
    const expected = { issuer, audience, typ: 'oauth-id-jag+jwt', currentDate: new Date(now * 1000) }
    const { protectedHeader } = await jwtVerify(token, fresh ? start() : keys, expected)
    answer = { kid: protectedHeader.kid }
  } catch (error) {
    answer = { error: `${error.code}: ${error.message}` }
  }
  console.log(JSON.stringify(answer))
}
