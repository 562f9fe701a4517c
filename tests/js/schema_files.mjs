// Checks what the server tells of its schema: `node schema_files.mjs http://127.0.0.1:4000/graphql schema.graphql`.
//
// What introspection tells is what schema.graphql says, as the reference implementation reads both; and the files for
// caches are those that stock caches take. Prints one line a check and exits with 1 if one fails.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

import { InMemoryCache, gql } from '@apollo/client';
import { Client, fetchExchange } from '@urql/core';
import { cacheExchange } from '@urql/exchange-graphcache';
import { minifyIntrospectionQuery } from '@urql/introspection';
import {
  buildClientSchema, buildSchema, getIntrospectionQuery, isAbstractType, lexicographicSortSchema, printSchema,
  specifiedDirectives,
} from 'graphql';

const [url, path] = process.argv.slice(2);
const get = async (file) => (await fetch(new URL(file, url))).json();
const options = { specifiedByUrl: true, directiveIsRepeatable: true, inputValueDeprecation: true, oneOf: true };

async function introspected() {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query: getIntrospectionQuery(options) }),
  });
  const { data, errors } = await response.json();
  assert.equal(errors, undefined);
  return data;
}

const written = buildSchema(readFileSync(path, 'utf8'));
// Sorted, since order means nothing.
const print = (schema) => printSchema(lexicographicSortSchema(schema));
const directives = (schema) => schema.getDirectives().map((directive) => String(directive)).sort();

const checks = {
  async 'introspection tells what schema.graphql says'() {
    const live = buildClientSchema(await introspected());
    assert.equal(print(live), print(written));
    assert.match(print(live), /scalar DateTime @specifiedBy/);
    // The specification's own directives are printed by nobody, so they are compared by name.
    const known = specifiedDirectives.map((directive) => String(directive));
    assert.deepEqual(directives(live).filter((name) => !known.includes(name)), []);
    for (const directive of live.getDirectives()) {
      const own = specifiedDirectives.find(({ name }) => name === directive.name);
      const args = ({ args }) => args.map(({ name, type }) => `${name}: ${type}`);
      assert.deepEqual(args(directive), args(own));
      // Drafts of the specification add locations.
      for (const location of directive.locations) assert.ok(own.locations.includes(location), `${directive.name} ${location}`);
    }
  },
  async 'the file of it says the same'() {
    assert.equal(print(buildClientSchema(await get('/schema/introspection.json'))), print(written));
    assert.equal(print(buildSchema(await (await fetch(new URL('/schema.graphql', url))).text())), print(written));
  },
  async 'graphcache takes what @urql/introspection would have made'() {
    const [short, whole] = [await get('/schema/graphcache.json'), await get('/schema/introspection.json')];
    const made = JSON.parse(JSON.stringify(minifyIntrospectionQuery(whole)));
    assert.deepEqual(short, made);
  },
  async 'possibleTypes are those of the schema'() {
    const possible = await get('/schema/possible-types.json');
    const types = Object.values(written.getTypeMap()).filter(isAbstractType);
    const expected = Object.fromEntries(types.map((type) => [type.name, written.getPossibleTypes(type).map(String).sort()]));
    for (const names of Object.values(possible)) names.sort();
    assert.deepEqual(possible, expected);
  },
  async 'Apollo matches fragments on interfaces by them'() {
    const query = gql`{ node(id: "a") { ... on Node { id } ...F } } fragment F on Node { __typename }`;
    const data = { node: { __typename: 'Job', id: 'a' } };
    const cache = new InMemoryCache({ possibleTypes: await get('/schema/possible-types.json') });
    cache.writeQuery({ query, data });
    assert.equal(cache.readQuery({ query }).node.id, 'a');
    const errors = gql`{ e { ... on UserError { message } } }`;
    cache.writeQuery({ query: errors, data: { e: { __typename: 'InputError', message: 'no' } } });
    assert.equal(cache.readQuery({ query: errors }).e.message, 'no');
  },
  async 'graphcache answers from it and warns of nothing'() {
    const warnings = [];
    for (const level of ['warn', 'error']) console[level] = (...words) => warnings.push(words.join(' '));
    const keys = Object.fromEntries(['Money', 'PageInfo', 'RateLimit'].map((type) => [type, () => null]));
    const schema = await get('/schema/graphcache.json');
    const client = new Client({ url, preferGetMethod: false, exchanges: [cacheExchange({ schema, keys }), fetchExchange] });
    const query = '{ skills(first: 1) { ... on Node { id } slug } viewer { id } }';
    const first = await client.query(query, {}).toPromise();
    assert.equal(first.error, undefined);
    const again = await client.query(query, {}, { requestPolicy: 'cache-only' }).toPromise();
    assert.deepEqual(again.data, first.data);
    assert.equal(again.data.skills.length, 1);
    assert.deepEqual(warnings, []);
  },
};

for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    console.log(`ok ${name}`);
  } catch (error) {
    console.log(`not ok ${name}: ${error.message}`);
    process.exitCode = 1;
  }
}
