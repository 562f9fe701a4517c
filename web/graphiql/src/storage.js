// Where GraphiQL keeps tabs, history and sizes: the browser's storage, without secrets.
//
// `defaultTabs` count only while nothing is stored, so the name carries a hash of the tabs: with a version of ours that
// has other tabs everybody begins with those.

import { scrub, scrubOperation } from './secrets.js';
import { demoOf, settings } from './settings.js';

const FAMILY = 'lancewire-playground-';
const TABS = 'graphiql:tabState';
// Lists of operations that were run: GraphiQL's history and its favourites.
const LISTS = ['graphiql:queries', 'graphiql:favorites'];
// A second copy of what stands in the active tab. We read it from there: were it stored as well, two copies with
// secrets taken out could differ, and GraphiQL would open one more tab at each start.
const COPIES = { 'graphiql:query': 'query', 'graphiql:variables': 'variables', 'graphiql:headers': 'headers' };

const hash = (text) => {
  let sum = 5381;
  for (let at = 0; at < text.length; at += 1) sum = ((sum * 33) ^ text.charCodeAt(at)) >>> 0;
  return sum.toString(36);
};

const parsed = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
};

// Everybody knows the password of the demo accounts, so a tab that signs one in runs again after a reload.
function withDemoPassword(tab) {
  const email = parsed(tab.variables)?.input?.email;
  if (!demoOf(email)) return tab;
  const password = JSON.stringify(settings.demoPassword);
  return { ...tab, variables: tab.variables.replace(/("password"\s*:\s*)""/, (_, before) => before + password) };
}

function cleaned(key, value) {
  const state = parsed(value);
  if (key === TABS && Array.isArray(state?.tabs)) {
    const tabs = state.tabs.map((tab) => ({ ...scrubOperation(tab), hash: null, response: null }));
    return JSON.stringify({ ...state, tabs });
  }
  if (LISTS.includes(key) && state) {
    const lists = Object.entries(state).map(([name, items]) => [name, items.map(scrubOperation)]);
    return JSON.stringify(Object.fromEntries(lists));
  }
  return scrub(value);
}

export function storageFor(tabs) {
  const prefix = `${FAMILY}${hash(JSON.stringify(tabs.map(({ query }) => query)))}:`;
  const keys = () => Object.keys(localStorage).filter((key) => key.startsWith(prefix));
  // What an older version has kept is of no use to this one.
  const ours = Object.keys(localStorage).filter((key) => key.startsWith(FAMILY));
  ours.filter((key) => !key.startsWith(prefix)).forEach((key) => localStorage.removeItem(key));

  const read = (key) => localStorage.getItem(prefix + key);
  const readTabs = () => {
    const state = parsed(read(TABS));
    if (!Array.isArray(state?.tabs)) return null;
    return { ...state, tabs: state.tabs.map(withDemoPassword) };
  };
  return {
    getItem(key) {
      if (key === TABS) {
        const state = readTabs();
        return state && JSON.stringify(state);
      }
      if (key in COPIES) {
        const state = readTabs();
        return state?.tabs[state.activeTabIndex]?.[COPIES[key]] ?? null;
      }
      return read(key);
    },
    setItem(key, value) {
      if (!(key in COPIES)) localStorage.setItem(prefix + key, cleaned(key, value));
    },
    removeItem: (key) => localStorage.removeItem(prefix + key),
    get length() {
      return keys().length;
    },
    clear: () => keys().forEach((key) => localStorage.removeItem(key)),
  };
}
