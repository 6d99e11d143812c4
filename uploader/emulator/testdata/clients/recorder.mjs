// recorder.mjs: a proxy in front of the emulator, and the check of what passes it
// against ImageKit's OpenAPI document.
import { readFileSync } from 'node:fs';
import http from 'node:http';
import Ajv from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { parse } from 'yaml';

// record starts a proxy of the server at target. calls gets every answer of the API.
export function record(target, calls) {
  const proxy = http.createServer((request, response) => {
    const sent = http.request(target + request.url, { method: request.method, headers: request.headers }, (answer) => {
      const parts = [];
      answer.on('data', (part) => parts.push(part));
      answer.on('end', () => {
        const body = Buffer.concat(parts);
        calls.push({ method: request.method, url: request.url, status: answer.statusCode, headers: answer.headers, body: body.toString() });
        response.writeHead(answer.statusCode, answer.headers);
        response.end(body);
      });
    });
    sent.on('error', () => response.destroy());
    request.pipe(sent);
  });
  return new Promise((ready) => proxy.listen(0, '127.0.0.1', () => ready(proxy)));
}

// The descriptions and examples of the document have null for these where their
// schemas forget it.
const nullable = new Set(['tags', 'AITags', 'customCoordinates']);

// Properties that the document has in examples only.
const inExamplesOnly = { orientation: { type: 'number' } };

// Operations of the document that iksync has no use for, and the emulator neither.
const notEmulated = /^\/v1\/(dummy|saved-extensions|accounts\/(origins|url-endpoints))/;

// Specification checks answers against the OpenAPI document in a file.
export class Specification {
  constructor(file) {
    this.document = parse(readFileSync(file, 'utf8'));
    allowNull(this.document);
    this.ajv = new Ajv({ strict: false, allErrors: true });
    formats(this.ajv);
    this.compiled = new Map();
    this.met = new Set();
  }

  // problems says what is wrong with an answer; an empty list is nothing.
  problems(call) {
    const { pathname } = new URL(call.url, 'http://emulator');
    const template = this.template(pathname.replace(/^\/v2\//, '/v1/').replace(/(.)\/$/, '$1'), call.method);
    if (!template) return [`the document has no ${call.method} ${pathname}`];
    const operation = this.document.paths[template][call.method.toLowerCase()];
    this.met.add(`${call.method} ${template}`);
    let answer = operation.responses[call.status];
    if (!answer) return [`the document has no status ${call.status} for ${call.method} ${template}`];
    if (answer.$ref) answer = answer.$ref.slice(2).split('/').reduce((at, key) => at[key], this.document);
    const schema = answer.content?.['application/json']?.schema;
    if (call.status === 204) return call.body === '' ? [] : ['a 204 has a body'];
    if (!schema) return [];
    let value;
    try {
      value = JSON.parse(call.body);
    } catch (error) {
      return [`no JSON: ${error.message}`];
    }
    const key = `${call.method} ${template} ${call.status}`;
    if (!this.compiled.has(key)) {
      this.compiled.set(key, this.ajv.compile({ components: { schemas: this.document.components.schemas }, ...closed(schema) }));
    }
    const valid = this.compiled.get(key);
    return valid(value) ? [] : valid.errors.map((e) => `${e.instancePath || '/'} ${e.message} ${JSON.stringify(e.params)}`);
  }

  // template finds the path of the document that fits best: words before parameters.
  template(path, method) {
    const parts = path.split('/');
    return Object.keys(this.document.paths)
      .filter((template) => this.document.paths[template][method.toLowerCase()])
      .filter((template) => {
        const wanted = template.split('/');
        return wanted.length === parts.length && wanted.every((word, i) => word.startsWith('{') || word === parts[i]);
      })
      .sort((a, b) => a.split('{').length - b.split('{').length)[0];
  }

  // unmet lists the operations that no call was made of.
  unmet() {
    const methods = ['get', 'post', 'put', 'patch', 'delete'];
    return Object.entries(this.document.paths)
      .filter(([path]) => !notEmulated.test(path))
      .flatMap(([path, item]) => methods.filter((m) => item[m]).map((m) => `${m.toUpperCase()} ${path}`))
      .filter((operation) => !this.met.has(operation));
  }
}

// closed lets no property pass that a schema does not name.
function closed(schema) {
  if (schema.type === 'array') return { ...schema, items: closed(schema.items) };
  return { allOf: [schema], type: 'object', properties: inExamplesOnly, unevaluatedProperties: false };
}

function allowNull(at) {
  if (at === null || typeof at !== 'object') return;
  for (const [name, property] of Object.entries(at.properties ?? {})) {
    if (nullable.has(name) && property.type) property.type = [property.type, 'null'].flat();
  }
  Object.values(at).forEach(allowNull);
}
