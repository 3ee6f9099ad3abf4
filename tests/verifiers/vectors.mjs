// Judges vectors by jose as it comes: `vectors.mjs VECTORS SCHEMA`. Standard output is {id: null or what is wrong}; a file that is not as its
// schema says ends it.
import { readFileSync } from 'node:fs'
import Ajv from 'ajv/dist/2020.js'
import { createLocalJWKSet, jwtVerify } from 'jose'

const [file, schema] = process.argv.slice(2).map((path) => JSON.parse(readFileSync(path, 'utf8')))
const validate = new Ajv({ allErrors: true, strict: true }).compile(schema)
if (!validate(file)) throw new Error(JSON.stringify(validate.errors, null, 2))

const keys = createLocalJWKSet(file.issuer.jwks)
const answers = {}
for (const { id, kind, token } of file.vectors) {
  const typ = kind === 'assertion' ? 'oauth-id-jag+jwt' : id.endsWith('.logout') ? 'logout+jwt' : 'secevent+jwt'
  const expected = {
    issuer: file.issuer.issuer,
    audience: file.audience,
    typ,
    algorithms: ['ES256'],
    currentDate: new Date(file.clock * 1000),
  }
  answers[id] = await jwtVerify(token, keys, expected).then(() => null, (error) => `${error.code}: ${error.message}`)
}
console.log(JSON.stringify(answers))
