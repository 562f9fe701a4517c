// The server under test: signs in the demo people, learns the ids of what is there, and asks it.
import { Pool } from 'undici';

// As src/seed.rs makes them.
const PASSWORD = process.env.LANCEWIRE_DIFFERENTIAL_PASSWORD ?? 'correct-horse-battery';
const SIGN_IN = 'mutation($input: SignInInput!) { signIn(input: $input) { session { accessToken } errors { __typename } } }';

// How long a subscription that is expected to begin may stay silent, in milliseconds: an event that its filter lets
// through is replayed at once, and one that nothing passes has begun all the same.
const SILENCE = 1000;

const PHASES = {
  GRAPHQL_PARSE_FAILED: 'parse',
  GRAPHQL_VALIDATION_FAILED: 'validation',
  BAD_USER_INPUT: 'variables',
  BAD_REQUEST: 'request',
  OPERATION_TOO_COMPLEX: 'limit',
  OPERATION_TOO_DEEP: 'limit',
};

export class Server {
  constructor(url) {
    const { origin, pathname } = new URL(url);
    this.path = pathname;
    this.connections = new Pool(origin, { connections: 16 });
    this.tokens = new Map();
  }

  close() {
    return this.connections.destroy();
  }

  async token(name) {
    if (!name) return undefined;
    if (!this.tokens.has(name)) {
      const input = { email: `${name}@example.com`, password: PASSWORD };
      const { body } = await this.send(JSON.stringify({ query: SIGN_IN, variables: { input } }));
      const token = body.data?.signIn?.session?.accessToken;
      if (!token) throw new Error(`${name}@example.com cannot sign in; is the server seeded? ${JSON.stringify(body)}`);
      this.tokens.set(name, token);
    }
    return this.tokens.get(name);
  }

  async send(body, token) {
    const headers = { 'content-type': 'application/json', accept: 'application/graphql-response+json' };
    if (token) headers.authorization = `Bearer ${token}`;
    const answer = await this.connections.request({ method: 'POST', path: this.path, headers, body });
    const text = await answer.body.text();
    try {
      return { status: answer.statusCode, body: JSON.parse(text), text };
    } catch {
      return { status: answer.statusCode, body: {}, text };
    }
  }

  // { phase, data, errors, codes, status }; `phase` is `executed` for what has data, be it null.
  async ask({ body, viewer, kind }) {
    const token = await this.token(viewer);
    const answer = kind === 'subscription' ? await this.subscribe(body, token) : await this.send(body, token);
    // The token's end, or a document that should have been refused signed the viewer out.
    if (answer.status === 401) {
      if (!this.tokens.delete(viewer)) throw new Error(`refused with 401: ${answer.text}`);
      return this.ask({ body, viewer, kind });
    }
    if (answer.status === 429) throw new Error('the server refuses by its budgets: raise budgets.anonymous, budgets.signed_in and sockets.sockets_per_address');
    return { ...outcome(answer.body), status: answer.status, text: answer.text, silent: answer.silent };
  }

  // The first result of a subscription over server-sent events, or that it began and was silent.
  async subscribe(body, token) {
    const headers = { 'content-type': 'application/json', accept: 'text/event-stream' };
    if (token) headers.authorization = `Bearer ${token}`;
    const stop = new AbortController();
    const answer = await this.connections.request({ method: 'POST', path: this.path, headers, body, signal: stop.signal });
    answer.body.on('error', () => {});
    if (!String(answer.headers['content-type']).startsWith('text/event-stream')) {
      const text = await answer.body.text();
      return { status: answer.statusCode, body: JSON.parse(text), text };
    }
    const first = await Promise.race([firstResult(answer.body), new Promise((done) => setTimeout(done, SILENCE).unref())]);
    stop.abort();
    if (first === undefined) return { status: answer.statusCode, body: { data: {} }, text: '', silent: true };
    return { status: answer.statusCode, body: JSON.parse(first), text: first };
  }

  // What ids and cursors to put into documents. The order is that of the server's lists, so that a seed repeats.
  async pools() {
    const query = `{
      viewer { id wallet { id transactions(first: 5) { nodes { id } edges { cursor } } }
        postedJobs(first: 20) { nodes { id client { id } deliverables(first: 2) { nodes { id } } activeClaim { id freelancer { id } } } edges { cursor } }
        claims(first: 10) { nodes { id } } notifications(first: 3) { nodes { id } edges { cursor } } }
      events(first: 3) { edges { cursor } } skills { id } jobs(first: 5) { nodes { id } edges { cursor } }
    }`;
    const pools = { ids: [], cursors: [], jobs: [], claims: [], deliverables: [], users: [], transactions: [] };
    const into = { job: 'jobs', claim: 'claims', deliverable: 'deliverables', user: 'users', transaction: 'transactions' };
    for (const viewer of ['ada', 'ben']) {
      const { body } = await this.send(JSON.stringify({ query }), await this.token(viewer));
      if (body.errors) throw new Error(`the server's own lists cannot be read: ${JSON.stringify(body.errors)}`);
      pools.beginning ??= body.data.events.edges[0].cursor;
      walk(body.data, (key, value) => {
        if (key === 'cursor') pools.cursors.push(value);
        if (key !== 'id') return;
        if (!pools.ids.includes(value)) pools.ids.push(value);
        const kind = into[value.split('_')[0]];
        if (kind && !pools[kind].includes(value)) pools[kind].push(value);
      });
    }
    return pools;
  }
}

function outcome({ data, errors = [], ...rest }) {
  const codes = errors.map((error) => error.extensions?.code);
  if (data !== undefined) return { phase: 'executed', data, errors, codes };
  return { phase: PHASES[codes[0]] ?? `other (${codes[0] ?? JSON.stringify(rest).slice(0, 200)})`, errors, codes };
}

async function firstResult(stream) {
  let text = '';
  stream.setEncoding('utf8');
  for await (const chunk of stream) {
    text += chunk;
    const found = /(?:^|\n)event: ?next\n(?:[^\n]+\n)*?data: ?([^\n]*)\n/.exec(text);
    if (found) return found[1];
  }
  return JSON.stringify({ errors: [{ message: `the stream ended: ${text.slice(0, 200)}`, extensions: { code: 'STREAM_ENDED' } }] });
}

function walk(value, each) {
  if (value === null || typeof value !== 'object') return;
  for (const [key, inner] of Object.entries(value)) {
    if (typeof inner === 'string') each(key, inner);
    else walk(inner, each);
  }
}
