// Whether files are as a schema says: `schema.mjs SCHEMA FILE...`. Every member of a file must be described, wherever it stands.
import { readFileSync } from 'node:fs'
import Ajv from 'ajv/dist/2020.js'

const [schema, ...files] = process.argv.slice(2).map((path) => JSON.parse(readFileSync(path, 'utf8')))
const closed = (node) => {
  if (Array.isArray(node)) return node.map(closed)
  if (node === null || typeof node !== 'object') return node
  const copy = Object.fromEntries(Object.entries(node).map(([name, value]) => [name, closed(value)]))
  return node.type === 'object' ? { ...copy, additionalProperties: false } : copy
}
for (const [name, form] of [['as published', schema], ['with nothing undescribed', closed(schema)]]) {
  const validate = new Ajv({ allErrors: true, strict: true, allowUnionTypes: true }).compile(form)
  for (const file of files) {
    if (!validate(file)) throw new Error(`${name}: ${JSON.stringify(validate.errors.slice(0, 5), null, 2)}`)
  }
}
