// A page with a normalised cache, driven by a test, made of the files that docs/clients.md shows:
// `EMAIL=.. PASSWORD=.. node cache_client.mjs <url> <apollo|urql|relay> <socket|streams> <url of the live connection>`.
//
// Commands come as JSON lines on standard input, and its end ends the client:
//   {"op":"claim","id":"job_.."}     a job as it was shown last
//   {"op":"compare"}                 asks the server for all jobs that the cache knows
// Each thing that happens is one JSON line on standard output:
//   {"event":"shown","jobs":[{"id":"..","version":1,"title":"..","status":"OPEN"}]}      what the page's callback got
//   {"event":"connecting","after":".."}                 a socket's connection_init, or a stream's Last-Event-ID
//   {"event":"claimed","result":{}}
//   {"event":"compared","cached":{},"fresh":{},"shown":[],"list":[]}
//   {"event":"failed","message":".."}

import { createInterface } from 'node:readline';
import WebSocket from 'ws';
import { createSession } from '../../examples/clients/session.js';
import { createSocket } from '../../examples/clients/socket.js';
import { createStreams } from '../../examples/clients/streams.js';

const [url, library, transport, liveUrl] = process.argv.slice(2);
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
process.on('unhandledRejection', (problem) => say({ event: 'failed', message: String(problem?.stack ?? problem) }));
console.error = console.warn = (...words) => say({ event: 'failed', message: words.map(String).join(' ') });

// What goes out on the live connection is told, and nothing else is changed.
class ToldWebSocket extends WebSocket {
  send(data, ...rest) {
    const message = JSON.parse(data);
    if (message.type === 'connection_init') say({ event: 'connecting', after: message.payload?.after });
    super.send(data, ...rest);
  }
}
const { fetch } = globalThis;
globalThis.fetch = (resource, options) => {
  const headers = new Headers(options?.headers);
  if (headers.get('accept') === 'text/event-stream') say({ event: 'connecting', after: headers.get('last-event-id') });
  return fetch(resource, options);
};

const session = createSession({ url });
await session.signIn(process.env.EMAIL, process.env.PASSWORD);
const live = transport === 'socket'
  ? createSocket({ url: liveUrl, session, WebSocket: ToldWebSocket })
  : createStreams({ url: liveUrl, session });

const file = async (name) => (await fetch(new URL(`/schema/${name}.json`, url))).json();

// Each gives the page and what its cache holds: a map of ids to jobs.
const fields = ({ id, version, title, status }) => ({ id, version, title, status });
const libraries = {
  async apollo() {
    const { createApollo } = await import('../../examples/clients/apollo/client.js');
    const client = createApollo({ url, session, live, possibleTypes: await file('possible-types') });
    const held = () => Object.values(client.cache.extract()).filter(({ __typename }) => __typename === 'Job');
    return { client, held, ...(await import('../../examples/clients/apollo/jobs.js')) };
  },
  async urql() {
    const { createUrql } = await import('../../examples/clients/urql/client.js');
    const page = await import('../../examples/clients/urql/jobs.js');
    const { updates, optimistic } = page;
    // graphcache shows an object to a query alone: one whose answer is in the cache.
    const resolvers = { Query: { job: (_parent, { id }) => ({ __typename: 'Job', id }) } };
    const client = createUrql({ url, session, live, schema: await file('graphcache'), updates, optimistic, resolvers });
    const query = 'query($id: ID!) { job(id: $id) { id version title status } }';
    const held = () => [...seen].map((id) => client.readQuery(query, { id })?.data?.job).filter(Boolean);
    return { client, held, ...page };
  },
  async relay() {
    const { createEnvironment } = await import('../../examples/clients/relay/environment.js');
    const client = createEnvironment({ url, session, live });
    const held = () => Object.values(client.getStore().getSource().toJSON()).filter((record) => record?.__typename === 'Job');
    return { client, held, ...(await import('../../examples/clients/relay/jobs.built.js')) };
  },
};

const { client, held, openJobs, claimJob } = await libraries[library]();
let shown = [];
const seen = new Set();
openJobs(client, (jobs) => {
  shown = jobs;
  jobs.forEach(({ id }) => seen.add(id));
  say({ event: 'shown', jobs: jobs.map(fields) });
});

// Past every cache.
async function ask(query, variables) {
  const headers = { 'content-type': 'application/json' };
  const response = await session.fetch(url, { method: 'POST', headers, body: JSON.stringify({ query, variables }) });
  return (await response.json()).data;
}
const byId = (jobs) => Object.fromEntries(jobs.map((job) => [job.id, fields(job)]));

const operations = {
  async claim({ id }) {
    const job = shown.find((job) => job.id === id);
    say({ event: 'claimed', result: await claimJob(client, job) });
  },
  async compare() {
    const cached = byId(held());
    const ids = Object.keys(cached);
    const query = `query($ids: [ID!]!) { nodes(ids: $ids) { ... on Job { id version title status } }
      jobs(first: 50) { nodes { id version title status } } }`;
    const { nodes, jobs } = await ask(query, { ids });
    say({ event: 'compared', cached, fresh: byId(nodes), shown: shown.map(fields), list: jobs.nodes });
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  operations[command.op](command);
}
process.exit(0);
