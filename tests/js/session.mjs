// The session of docs/clients.md by itself, against a server whose access tokens are good for six seconds:
// `EMAIL=.. PASSWORD=.. node session.mjs <url>` fails if a token is used too long or renewed too often.
import assert from 'node:assert/strict';
import { createSession, SignedOut } from '../../examples/clients/session.js';

const url = process.argv[2];
const { EMAIL, PASSWORD } = process.env;

// Counts what goes out and looks at what comes back.
const { fetch } = globalThis;
let renewals = 0;
let refused = 0;
globalThis.fetch = async (resource, options) => {
  if (options.body.includes('mutation Refresh')) renewals += 1;
  const response = await fetch(resource, options);
  if (response.status === 401) refused += 1;
  return response;
};
const storage = () => {
  const kept = new Map();
  return { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value), removeItem: (key) => kept.delete(key) };
};
const viewer = async (session) => {
  const options = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"query":"{ viewer { email } }"}' };
  return (await (await session.fetch(url, options)).json()).data?.viewer?.email;
};
/** Waits for the moment when a session is to be renewed, as it says itself. */
const due = (kept) => new Promise((resolve) => setTimeout(resolve, JSON.parse(kept.getItem('lancewire')).renewAt - Date.now() + 1));

// Ten at once, before the token's end: one renewal, and the server has refused nothing.
const kept = storage();
const session = createSession({ url, storage: kept });
await assert.rejects(createSession({ url }).signIn(EMAIL, 'not my password'), SignedOut);
assert.equal(await session.accessToken(), undefined);
await session.signIn(EMAIL, PASSWORD);
const first = await session.accessToken();
await due(kept);
const tokens = await Promise.all(Array.from({ length: 5 }, () => session.accessToken()));
const viewers = await Promise.all(Array.from({ length: 5 }, () => viewer(session)));
assert.equal(new Set([...tokens, await session.accessToken()]).size, 1);
assert.notEqual(tokens[0], first);
assert.deepEqual(new Set(viewers), new Set([EMAIL]));
assert.deepEqual({ renewals, refused }, { renewals: 1, refused: 0 });

// Used all the time past a token's end, it is never refused.
for (const end = Date.now() + 6_500; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 50)))
  assert.equal(await viewer(session), EMAIL);
assert.equal(refused, 0);

// Two tabs without locks renew with the same refresh token, and both go on.
const tab = createSession({ url, storage: kept });
await due(kept);
renewals = 0;
const both = await Promise.all([session.accessToken(), tab.accessToken()]);
assert.equal(both[0], both[1], 'both tabs have what was stored last');
assert.equal(renewals, 2);
await due(kept);
assert.deepEqual(await Promise.all([viewer(session), viewer(tab)]), [EMAIL, EMAIL]);
assert.equal(refused, 0);

// With locks, as browsers have them, one of them renews.
let locked = Promise.resolve();
const request = (_name, work) => (locked = locked.then(work, work));
Object.defineProperty(globalThis, 'navigator', { value: { locks: { request } }, configurable: true });
renewals = 0;
await due(kept);
assert.deepEqual(await Promise.all([viewer(session), viewer(tab)]), [EMAIL, EMAIL]);
assert.equal(renewals, 1);

// A token that the server refuses early is renewed, and the request made again. Nobody else sees it.
kept.setItem('lancewire', JSON.stringify({ ...JSON.parse(kept.getItem('lancewire')), accessToken: 'a.b.c' }));
assert.equal(await viewer(session), EMAIL);
assert.deepEqual({ renewals, refused }, { renewals: 2, refused: 1 });

// A signed-out user is told so once, and is anonymous afterwards.
const elsewhere = createSession({ url, storage: storage() });
await elsewhere.signIn(EMAIL, PASSWORD);
const before = JSON.parse(kept.getItem('lancewire'));
await session.signOut();
assert.equal(await tab.accessToken(), undefined);
kept.setItem('lancewire', JSON.stringify(before));
await assert.rejects(viewer(tab), SignedOut);
assert.equal(await viewer(tab), undefined);
assert.equal(await viewer(elsewhere), EMAIL);
