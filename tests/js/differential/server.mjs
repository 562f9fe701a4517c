// The server under test: signs in the demo people, learns the ids of what is there, and asks it.
import { Transports } from './transports.mjs';

// As src/seed.rs makes them.
const PASSWORD = process.env.LANCEWIRE_DIFFERENTIAL_PASSWORD ?? 'correct-horse-battery';
const SIGN_IN =
  'mutation($input: SignInInput!) { signIn(input: $input) { session { accessToken } errors { __typename } } }';

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
    this.transports = new Transports(url);
    this.tokens = new Map();
  }

  close() {
    return this.transports.close();
  }

  async token(name) {
    if (!name) return undefined;
    if (!this.tokens.has(name)) {
      const input = { email: `${name}@example.com`, password: PASSWORD };
      const { body } = await this.transports.post(JSON.stringify({ query: SIGN_IN, variables: { input } }));
      const token = body.data?.signIn?.session?.accessToken;
      if (!token) throw new Error(`${name}@example.com cannot sign in; is the server seeded? ${JSON.stringify(body)}`);
      this.tokens.set(name, token);
    }
    return this.tokens.get(name);
  }

  // { phase, data, errors, codes, status }; `phase` is `executed` for an answer with data, null included.
  async ask({ body, viewer, begins, transport, again = false }) {
    const answer = await this.transports.send(transport, body, await this.token(viewer), begins);
    // The token's end, or a document that should have been refused signed the viewer out. Once more is enough.
    if (viewer && (answer.status === 401 || answer.status === 4403) && !again) {
      this.tokens.delete(viewer);
      return this.ask({ body, viewer, begins, transport, again: true });
    }
    const refused =
      answer.status === 429 || answer.body.errors?.some((error) => error.extensions?.code === 'RATE_LIMITED');
    if (refused)
      throw new Error('refused by a budget: raise budgets.* and sockets.* as tests/api/differential.rs does');
    return { ...outcome(answer.body), status: answer.status, text: answer.text, silent: answer.silent };
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
    const into = {
      job: 'jobs',
      claim: 'claims',
      deliverable: 'deliverables',
      user: 'users',
      transaction: 'transactions',
    };
    for (const viewer of ['ada', 'ben']) {
      const { body } = await this.transports.post(JSON.stringify({ query }), await this.token(viewer));
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

function walk(value, each) {
  if (value === null || typeof value !== 'object') return;
  for (const [key, inner] of Object.entries(value)) {
    if (typeof inner === 'string') each(key, inner);
    else walk(inner, each);
  }
}
