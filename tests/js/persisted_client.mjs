// Apollo's persisted-query link against a server, which counts what it sends: `[HASHES_BY=GET] node persisted_client.mjs
// <url>`. Runs two operations, and prints as JSON what the requests of each had: a hash, a document.
import { createHash } from 'node:crypto';

import { ApolloClient, ApolloLink, InMemoryCache, gql } from '@apollo/client';
import { HttpLink } from '@apollo/client/link/http';
import { PersistedQueryLink } from '@apollo/client/link/persisted-queries';

const [url] = process.argv.slice(2);
let requests = [];

const counted = (uri, options) => {
  const body = options.body
    ? JSON.parse(options.body)
    : Object.fromEntries(new URL(uri).searchParams.entries());
  requests.push({ hash: JSON.stringify(body.extensions ?? '').includes('sha256Hash'), query: Boolean(body.query) });
  return fetch(uri, options);
};

const client = new ApolloClient({
  cache: new InMemoryCache(),
  link: ApolloLink.from([
    new PersistedQueryLink({
      sha256: (document) => createHash('sha256').update(document).digest('hex'),
      useGETForHashedQueries: process.env.HASHES_BY === 'GET',
    }),
    new HttpLink({ uri: url, fetch: counted }),
  ]),
});

const run = async (query) => {
  requests = [];
  const { data, error } = await client.query({ query });
  if (error || !data) throw error ?? new Error('no data');
  return requests;
};

const first = await run(gql`query First { skills(first: 1) { slug } }`);
const second = await run(gql`query Second { jobs(first: 1) { nodes { id } } }`);
process.stdout.write(JSON.stringify({ first, second }));
