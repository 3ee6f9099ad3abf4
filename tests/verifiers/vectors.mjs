// Judges vectors by jose as it comes: `vectors.mjs VECTORS SCHEMA`. Standard output is {id: null or what is wrong}; a file that is not as its
// schema says ends it.
import { readFileSync } from 'node:fs'
import Ajv from 'ajv/dist/2020.js'
import { createLocalJWKSet, jwtVerify } from 'jose'

const [file, schema] = process.argv.slice(2).map((path) => JSON.parse(readFileSync(path, 'utf8')))
if (file.schema_version > 1) throw new Error(`the vectors follow version ${file.schema_version} of their schema, and this script knows 1`)
const validate = new Ajv({ allErrors: true, strict: true }).compile(schema)
if (!validate(file)) throw new Error(JSON.stringify(validate.errors, null, 2))

// The key set as it comes; where it is said to be elsewhere, that one, as by whoever follows.
const keySet = ({ kind, documents }) => {
  if (kind !== 'jwks') return file.issuer.jwks
  const served = documents[0].location ? documents.find(({ url }) => url === documents[0].location) : documents[0]
  return JSON.parse(served.body + ' '.repeat(served.followed_by_spaces ?? 0))
}
const judge = async (vector) => {
  const typ = vector.kind !== 'notice' ? 'oauth-id-jag+jwt' : vector.id.endsWith('.logout') ? 'logout+jwt' : 'secevent+jwt'
  const expected = {
    issuer: file.issuer.issuer,
    audience: file.audience,
    typ,
    algorithms: [file.alg],
    currentDate: new Date(file.clock * 1000),
  }
  await jwtVerify(vector.token, createLocalJWKSet(keySet(vector)), expected)
}
const answers = {}
for (const vector of file.vectors) {
  answers[vector.id] = await judge(vector).then(() => null, (error) => `${error.code || error.name}: ${error.message}`)
}
console.log(JSON.stringify(answers))
