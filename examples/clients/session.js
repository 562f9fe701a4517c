// session.js: who is signed in. One renewal at a time, before the token ends, for HTTP, the socket and all tabs.

export class SignedOut extends Error {}

/** How long to wait before the next try: half a second to 30 seconds, and never all clients at once. */
export const backOff = (tries) =>
  new Promise((resolve) => setTimeout(resolve, Math.min(30_000, 1000 * 2 ** tries) * (0.5 + Math.random() / 2)));

const SESSION = 'session { accessToken accessTokenExpiresAt refreshToken } errors { ... on UserError { code message } }';
const SIGN_IN = `mutation SignIn($input: SignInInput!) { signIn(input: $input) { ${SESSION} } }`;
const REFRESH = `mutation Refresh($input: RefreshSessionInput!) { refreshSession(input: $input) { ${SESSION} } }`;
const SIGN_OUT = 'mutation SignOut { signOut { errors { ... on UserError { message } } } }';

const inMemory = (kept = new Map()) => ({
  getItem: (key) => kept.get(key) ?? null,
  setItem: (key, value) => kept.set(key, value),
  removeItem: (key) => kept.delete(key),
});

/** Kept in memory, or in `storage`: tabs that have it in common, as they have `localStorage`, share the session. */
export function createSession({ url, storage = inMemory(), key = 'lancewire' }) {
  const stored = () => JSON.parse(storage.getItem(key) ?? 'null');
  const store = (session) => storage.setItem(key, JSON.stringify(session));
  // Where the browser has locks, one tab renews at a time and the others take what it stored.
  const alone = (work) => (globalThis.navigator?.locks ? navigator.locks.request(key, work) : work());

  const send = (resource, options, token) => {
    const headers = new Headers(options.headers);
    if (token) headers.set('authorization', `Bearer ${token}`);
    return fetch(resource, { ...options, headers });
  };
  async function ask(query, input, token) {
    const headers = { 'content-type': 'application/json', accept: 'application/json' };
    const body = JSON.stringify({ query, variables: { input } });
    const response = await send(url, { method: 'POST', headers, body, signal: AbortSignal.timeout(10_000) }, token);
    const { data, errors } = await response.json();
    if (errors) throw new Error(errors[0].message);
    const [{ session, errors: [refused] }] = Object.values(data);
    if (refused?.code === 'INVALID_CREDENTIALS') throw new SignedOut(refused.message);
    if (refused) throw new Error(refused.message);
    if (!session) return undefined;
    // By the server's clock, since this machine's may be wrong.
    const now = Date.parse(response.headers.get('date') ?? new Date());
    return { ...session, renewAt: Date.now() + (Date.parse(session.accessTokenExpiresAt) - now) * 0.75 };
  }

  async function renew(old) {
    const { accessToken, refreshToken } = stored() ?? {};
    if (accessToken !== old) return; // another tab was faster
    try {
      const next = await ask(REFRESH, { refreshToken });
      if (stored()?.accessToken === old) store(next);
    } catch (problem) {
      if (problem instanceof SignedOut) storage.removeItem(key);
      throw problem;
    }
  }
  let renewing;

  const session = {
    signIn: async (email, password) => store(await ask(SIGN_IN, { email, password })),
    async signOut() {
      const token = stored()?.accessToken;
      storage.removeItem(key);
      if (token) await ask(SIGN_OUT, undefined, token);
    },
    /** A token that is good for a while; undefined for somebody who is not signed in. */
    async accessToken() {
      const current = stored();
      if (current && Date.now() >= current.renewAt) {
        renewing ??= alone(() => renew(current.accessToken)).finally(() => (renewing = undefined));
        await renewing;
      }
      return stored()?.accessToken;
    },
    /** The server has refused this token: the next one asked for is another. */
    refused(token) {
      const current = stored();
      if (current?.accessToken === token) store({ ...current, renewAt: 0 });
    },
    /** `fetch` with the token, for the queries and mutations of any client. */
    async fetch(resource, options = {}) {
      const token = await session.accessToken();
      const response = await send(resource, options, token);
      if (response.status !== 401 || !token) return response;
      session.refused(token);
      return send(resource, options, await session.accessToken());
    },
  };
  return session;
}
