// As whom each tab runs.
//
// By itself a tab of the story runs as somebody who may do what it does: who posted the job also approves, who claimed
// it also delivers; otherwise the person in use, the latest to have signed in, or a demo account. Every tab can be told
// otherwise.

import { observed } from './observed.js';
import { people } from './people.js';
import { demoOf, settings } from './settings.js';
import { roleOf } from './story.js';

export const AUTOMATIC = 'automatic';
export const NOBODY = 'nobody';

// By tab: AUTOMATIC (or nothing), NOBODY, or an email.
export const choices = observed({});

// Who began their part of the story, by role.
const began = { CLIENT: null, FREELANCER: null };
const BEGINS = { Post: 'CLIENT', Claim: 'FREELANCER' };

export const choose = (tab, choice) => choices.set({ ...choices.get(), [tab]: choice });

export const choiceOf = (tab) => choices.get()[tab] ?? AUTOMATIC;

// Remembers who has run a tab that others follow.
export function ran(name, person) {
  if (name in BEGINS) began[BEGINS[name]] = person;
}

const article = { CLIENT: 'a client', FREELANCER: 'a freelancer' };

// { person } who is signed in, { demo } who is yet to be, { problem } in words, or nothing for nobody.
function automatic(name) {
  const state = people.get();
  const byId = (id) => state.people.find((person) => person.id === id);
  const inUse = byId(state.current);
  const role = roleOf(name);
  if (role === 'NOBODY') return {};
  if (!role) return inUse ? { person: inUse } : {};
  const has = (person) => person?.roles.includes(role);
  const follows = !(name in BEGINS) && byId(began[role]);
  const person = follows || (has(inUse) && inUse) || state.people.find(has);
  if (person) return { person };
  const demo = settings.demo.find((each) => each.role === role);
  if (demo) return { demo };
  return { problem: `This tab needs ${article[role]}. Sign in as one: the panel "Sign in" is on the left.` };
}

export function castFor(name, tab) {
  const choice = choiceOf(tab);
  if (choice === AUTOMATIC) return automatic(name);
  if (choice === NOBODY) return {};
  const person = people.get().people.find(({ email }) => email === choice);
  if (person) return { person };
  const demo = demoOf(choice);
  return demo ? { demo } : { problem: `${choice} is signed out. Sign in again, or let the tab run as somebody else.` };
}

export const nameOf = ({ person, demo }) => person?.name ?? demo?.name ?? 'nobody';
