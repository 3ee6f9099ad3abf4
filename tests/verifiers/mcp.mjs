// The cross-app access of MCP (Enterprise-Managed Authorization) by its SDK as it comes: `mcp.mjs HARNESS SERVICE`. Standard output is what came of
// each step, as JSON. The assertion is the harness's; all the rest is the SDK's.
import { CrossAppAccessProvider, withOAuth } from '@modelcontextprotocol/client'

const [harness, service] = process.argv.slice(2)
const call = async (path, body) => (await fetch(`${harness}/harness/${path}`, { method: 'POST', body: JSON.stringify(body) })).json()
const asked = []
const assertion = async ({ authorizationServerUrl: audience, resourceUrl: resource, scope }) => {
  asked.push({ audience, resource, scope })
  const claims = { client_id: 'sandbox-client', resource, ...(scope && { scope }) }
  return (await call('assertions', { audience, sub: 'alice', claims })).assertion
}
const connect = () =>
  new CrossAppAccessProvider({ assertion, clientId: 'sandbox-client', clientSecret: 'sandbox-secret', expectedIssuer: service })
const api = `${service}/api/resource`

// The 401, the resource's metadata, the server's, the assertion, the token, the answer.
const provider = connect()
const served = await withOAuth(provider, api)(fetch)(api)
const first = { status: served.status, body: await served.json(), asked: asked.splice(0) }
// While it lives, the token is used again, and nobody is asked.
const again = { status: (await withOAuth(provider, api)(fetch)(api)).status, asked: asked.length }

const withdrawn = await call('notices', { audience: service, sub: 'alice', format: 'logout+jwt', deliver_to: `${service}/agent/auth/revoke` })
const bare = await fetch(api, { headers: { authorization: `Bearer ${provider.tokens().access_token}` } })
// An unmodified client begins again with a new assertion, which is for the issuer to refuse.
const anew = { status: (await withOAuth(provider, api)(fetch)(api)).status, asked: asked.length }

// One whose secret is wrong, and one that was given to another service.
const failure = async (provider) => {
  try {
    return { status: (await withOAuth(provider, api)(fetch)(api)).status }
  } catch (error) {
    return { error: error.message }
  }
}
const stranger = await failure(
  new CrossAppAccessProvider({ assertion, clientId: 'sandbox-client', clientSecret: 'wrong', expectedIssuer: service }),
)
const expired = await failure(
  new CrossAppAccessProvider({
    assertion: async ({ authorizationServerUrl: audience }) =>
      (await call('assertions', { audience, flaw: 'expired', claims: { client_id: 'sandbox-client' } })).assertion,
    clientId: 'sandbox-client',
    clientSecret: 'sandbox-secret',
    expectedIssuer: service,
  }),
)
console.log(JSON.stringify({ first, again, withdrawn: withdrawn.answers[0].status, bare: bare.status, anew, stranger, expired }))
