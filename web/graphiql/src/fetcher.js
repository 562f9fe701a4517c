// What GraphiQL runs operations with.
//
// Finds out as whom an operation runs, sends it over HTTP or begins a subscription, takes sessions out of answers, and
// passes what an answer holds on to the tabs after it.

import { parse } from 'graphql';

import { failure, post } from './api.js';
import { activeTab, editVariables, hasTab, isActive, showResponse } from './bridge.js';
import { castFor, nameOf, ran } from './cast.js';
import { begin, streamOf } from './live.js';
import { enter, run, signIn } from './people.js';
import { rememberVariables } from './secrets.js';
import { settings } from './settings.js';
import { fill, freshKey, given, waitsFor } from './story.js';

const lowered = (headers) =>
  Object.fromEntries(Object.entries(headers ?? {}).map(([name, value]) => [name.toLowerCase(), String(value)]));

// The operation that is meant. The editor tells its name a moment late after a change of tabs, so a name that the
// document does not have is corrected where it has only one operation.
function meant(query, operationName) {
  try {
    const operations = parse(query).definitions.filter(({ kind }) => kind === 'OperationDefinition');
    return operations.find(({ name }) => name?.value === operationName) ?? (operations.length === 1 ? operations[0] : null);
  } catch {
    // The server says what is wrong with it.
    return null;
  }
}

// { id, who }, with the demo account signed in if it is one's turn; or { problem }.
async function personFor(name, tab, own) {
  if (own.authorization) return { id: null, who: 'the header' };
  const cast = castFor(name, tab);
  if (cast.problem) return cast;
  const person = cast.demo ? await signIn(cast.demo.email, settings.demoPassword, false) : cast.person;
  return { id: person?.id ?? null, who: nameOf({ person }) };
}

// A session in an answer is taken on, whichever tab asked for it.
async function takeSession(data, receivedAt) {
  const sessions = Object.values(data).map((payload) => payload?.session);
  const session = sessions.find((each) => typeof each?.accessToken === 'string');
  if (session) await enter(session, receivedAt);
}

// Keys that have had their effect, each with the one to use in its place; the last ones.
const used = new Map();
const MOST_USED = 100;

// An editor whose tab was left just when its answer came may still show a key of before.
function unused(key) {
  let next = key;
  while (used.has(next)) next = used.get(next);
  return next;
}

function passOn(name, operation, data) {
  const key = operation.variables?.input?.idempotencyKey;
  const fresh = freshKey();
  if (key) {
    used.set(key, fresh);
    if (used.size > MOST_USED) used.delete(used.keys().next().value);
  }
  const values = given(name, data);
  editVariables((tab, text) => {
    const filled = tab.title === name ? text : fill(tab.title, text, values);
    // A key that was used has had its effect: the next run is to have one of its own.
    return key ? filled.replaceAll(JSON.stringify(key), JSON.stringify(fresh)) : filled;
  });
}

async function answer(operation, name, tab, own, signal) {
  const as = await personFor(name, tab, own);
  if (as.problem) return failure(as.problem);
  const { result, undelivered, receivedAt } = await run(operation, as.id, own, signal);
  if (!undelivered && result.data) {
    await takeSession(result.data, receivedAt);
    ran(name, as.id);
    passOn(name, operation, result.data);
  }
  return result;
}

// GraphiQL ends what runs both for its stop button and for a change of tabs. By the next microtask it has said which:
// only a stop, or the end of the tab, ends what runs here.
function unlessLeft(tab, { stop, leave }) {
  queueMicrotask(() => (isActive(tab) || !hasTab(tab) ? stop() : leave()));
}

// A query or mutation. An answer that comes after its person went to another tab waits in its own.
function once(operation, name, tab, own) {
  return {
    subscribe(sink) {
      const abort = new AbortController();
      let left = false;
      const show = (result) => {
        if (abort.signal.aborted) return;
        if (left) {
          showResponse(tab, result);
          return;
        }
        sink.next(result);
        sink.complete();
      };
      answer(operation, name, tab, own, abort.signal).then(show, (error) => show(failure(error.message)));
      return {
        unsubscribe: () =>
          unlessLeft(tab, {
            stop: () => abort.abort(),
            leave: () => {
              left = true;
            },
          }),
      };
    },
  };
}

// A subscription. It goes on while its person is in other tabs, and is taken up again when they come back.
function streamed(operation, name, tab, own) {
  return {
    subscribe(sink) {
      let stream = streamOf(tab);
      let ended = false;
      let left = false;
      const asked = JSON.stringify([operation, own, nameOf(castFor(name, tab))]);
      const inTheTab = { next: (result) => showResponse(tab, result), complete: () => {} };
      const attach = () => {
        stream.attach(left ? inTheTab : sink);
      };
      const refuse = (message) => {
        if (ended) return;
        (left ? inTheTab : sink).next(failure(message));
        (left ? inTheTab : sink).complete();
      };
      if (stream?.asked === asked) attach();
      else {
        stream?.stop();
        stream = undefined;
        personFor(name, tab, own).then(
          ({ problem, id, who }) => {
            if (ended) return;
            if (problem) {
              refuse(problem);
              return;
            }
            stream = begin({ tab, title: name ?? 'Subscription', person: id, who, own, operation, asked });
            attach();
          },
          (error) => refuse(error.message),
        );
      }
      return {
        unsubscribe: () =>
          unlessLeft(tab, {
            stop: () => {
              ended = true;
              stream?.attach(null);
              stream?.stop();
            },
            leave: () => {
              left = true;
              stream?.attach(inTheTab);
            },
          }),
      };
    },
  };
}

export function fetcher(parameters, options = {}) {
  const own = lowered(options.headers);
  const definition = meant(parameters.query, parameters.operationName);
  const name = definition?.name?.value;
  const operation = { ...parameters, operationName: name ?? parameters.operationName ?? undefined };
  const key = parameters.variables?.input?.idempotencyKey;
  if (used.has(key)) {
    const input = { ...parameters.variables.input, idempotencyKey: unused(key) };
    operation.variables = { ...parameters.variables, input };
  }
  // The schema, which GraphiQL asks for by itself.
  if (parameters.operationName === 'IntrospectionQuery') return post(operation, own).then(({ result }) => result);
  const first = waitsFor(parameters.variables);
  if (first) {
    return Promise.resolve(failure(`Run the tab ${first} first: a value in the variables comes from its answer.`));
  }
  rememberVariables(parameters.query, parameters.variables);
  const tab = activeTab()?.id;
  const kind = definition?.operation === 'subscription' ? streamed : once;
  return kind(operation, name, tab, own);
}
