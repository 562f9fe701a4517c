// Who is signed in: several people at once, since the story needs two.
//
// Owns the tokens. They live in this module's memory and nowhere else: a reload forgets them. `headers` gives what a
// request or a socket says about its person, and renews the tokens before they end, once for all who ask at the same
// time. A demo account is signed in by itself where its turn comes.

import { failure, hasCode, post } from './api.js';
import { observed } from './observed.js';
import { remember } from './secrets.js';
import { demoOf, settings } from './settings.js';

const SESSION = 'session { accessToken accessTokenExpiresAt refreshToken refreshTokenExpiresAt }';
const ERRORS = 'errors { ... on UserError { code message } }';
const SIGN_IN = `mutation SignIn($input: SignInInput!) { signIn(input: $input) { ${SESSION} ${ERRORS} } }`;
const REFRESH = `mutation Refresh($input: RefreshSessionInput!) { refreshSession(input: $input) { ${SESSION} ${ERRORS} } }`;
const SIGN_OUT = 'mutation SignOut { signOut { errors { __typename } } }';
const VIEWER = 'query Viewer { viewer { id email displayName roles } }';

// Renewed when less than this is left, or a fifth of the lifetime where that is shorter.
const MARGIN_MS = 30_000;

// { people: [{ id, email, name, roles }], current: id or null }. The latest to sign in comes first.
export const people = observed({ people: [], current: null });

// By person: { accessToken, endsAt, margin, refreshToken, renewal }.
const sessions = new Map();
const signingIn = new Map();

export class SignedOut extends Error {}

const personOf = (id) => people.get().people.find((person) => person.id === id);

function adopt(session, receivedAt) {
  remember(session.accessToken);
  remember(session.refreshToken);
  const lifetime = Date.parse(session.accessTokenExpiresAt) - receivedAt;
  const margin = Math.min(MARGIN_MS, Math.max(lifetime, 0) / 5);
  return { ...session, endsAt: performance.now() + (Number.isFinite(lifetime) ? lifetime : 0), margin };
}

// Takes on a session that the server has just opened. Gives the person.
export async function enter(session, receivedAt, current = true) {
  const kept = adopt(session, receivedAt);
  const { result } = await post({ query: VIEWER }, { authorization: `Bearer ${session.accessToken}` });
  const viewer = result.data?.viewer;
  if (!viewer) throw new SignedOut(result.errors?.[0]?.message ?? 'The session was not accepted.');
  const person = { id: viewer.id, email: viewer.email, name: viewer.displayName, roles: viewer.roles };
  sessions.set(person.id, kept);
  const state = people.get();
  const others = state.people.filter(({ id }) => id !== person.id);
  people.set({ people: [person, ...others], current: current || !state.current ? person.id : state.current });
  return person;
}

export function signIn(email, password, current = true) {
  const under = signingIn.get(email);
  if (under) return under;
  remember(password);
  const attempt = (async () => {
    const { result, receivedAt } = await post({ query: SIGN_IN, variables: { input: { email, password } } });
    const payload = result.data?.signIn;
    const message = result.errors?.[0]?.message ?? payload?.errors?.[0]?.message;
    if (!payload?.session) throw new SignedOut(message ?? 'The server gave no session.');
    return enter(payload.session, receivedAt, current);
  })();
  signingIn.set(email, attempt);
  const over = () => signingIn.delete(email);
  attempt.then(over, over);
  return attempt;
}

export function choose(id) {
  people.set({ ...people.get(), current: id });
}

function forget(id) {
  sessions.delete(id);
  const state = people.get();
  const others = state.people.filter((person) => person.id !== id);
  people.set({ people: others, current: state.current === id ? (others[0]?.id ?? null) : state.current });
}

export async function signOut(id) {
  const session = sessions.get(id);
  forget(id);
  if (session) await post({ query: SIGN_OUT }, { authorization: `Bearer ${session.accessToken}` });
}

async function renew(id) {
  const person = personOf(id);
  const session = sessions.get(id);
  if (!session?.refreshToken) throw new SignedOut('The session has ended. Sign in again.');
  const variables = { input: { refreshToken: session.refreshToken } };
  const { result, undelivered, receivedAt } = await post({ query: REFRESH, variables });
  const next = result.data?.refreshSession?.session;
  if (next) {
    sessions.set(id, adopt(next, receivedAt));
    return;
  }
  // What was lost on the way, or refused for being too much at once, is no verdict: the session stays.
  if (undelivered || hasCode(result, 'RATE_LIMITED')) throw new Error(result.errors[0].message);
  forget(id);
  const demo = demoOf(person?.email);
  if (demo) {
    await signIn(demo.email, settings.demoPassword, people.get().current === null);
    return;
  }
  throw new SignedOut(`The session of ${person?.name ?? 'this person'} has ended. Sign in again.`);
}

function renewOnce(id) {
  const session = sessions.get(id);
  if (!session) return Promise.reject(new SignedOut('This person is signed out. Sign in again.'));
  session.renewal ??= renew(id).finally(() => {
    session.renewal = undefined;
  });
  return session.renewal;
}

// The headers for a person, by id; none for nobody. `refused` is the token that the server has just called expired: it
// is renewed whatever the clock here says, unless somebody else has done so in the meantime.
export async function headers(id, refused) {
  if (!id) return {};
  const session = sessions.get(id);
  const stale = session && performance.now() > session.endsAt - session.margin;
  if (!session || stale || session.accessToken === refused) await renewOnce(id);
  const { accessToken } = sessions.get(id) ?? {};
  if (!accessToken) throw new SignedOut('This person is signed out. Sign in again.');
  return { authorization: `Bearer ${accessToken}` };
}

// Runs an operation as a person. A token that the server calls expired is renewed, and the operation, which has not
// begun, is sent once more.
export async function run(operation, id, own = {}, signal) {
  try {
    const first = { ...(await headers(id)), ...own };
    const answer = await post(operation, first, signal);
    const expired = hasCode(answer.result, 'TOKEN_EXPIRED') || hasCode(answer.result, 'UNAUTHENTICATED');
    if (!id || own.authorization || !expired || answer.result.data) return answer;
    const token = first.authorization.slice('Bearer '.length);
    return await post(operation, await headers(id, token), signal);
  } catch (error) {
    return { result: failure(error.message), undelivered: true };
  }
}
