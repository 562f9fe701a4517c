// relay/build.mjs: what a bundler's Relay plug-in does: `graphql` tags become imports of what relay-compiler wrote.
import { readFileSync, writeFileSync } from 'node:fs';
import { transformSync } from '@babel/core';

const source = readFileSync(new URL('jobs.js', import.meta.url), 'utf8');
const { code } = transformSync(source, { plugins: [['relay', { eagerEsModules: true }]], configFile: false });
// Node wants the whole name of a file.
writeFileSync(new URL('jobs.built.js', import.meta.url), code.replaceAll(/(\.graphql)(['"])/g, '$1.js$2'));
