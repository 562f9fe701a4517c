// As whom the tab in front runs: told to the person, and theirs to change.

import { pick, useGraphiQL } from '@graphiql/react';

import { AUTOMATIC, NOBODY, castFor, choices, choose, nameOf } from './cast.js';
import { useObserved } from './observed.js';
import { people } from './people.js';
import { settings } from './settings.js';

export function RunsAs() {
  const { tabs, activeTabIndex } = useGraphiQL(pick('tabs', 'activeTabIndex'));
  const state = useObserved(people);
  const chosen = useObserved(choices);
  const tab = tabs[activeTabIndex];
  if (!tab) return null;
  // What it would be if it were left to itself.
  const automatic = castFor(tab.title, undefined);
  const who = automatic.problem ? 'sign in first' : nameOf(automatic);
  const away = settings.demo.filter(({ email }) => !state.people.some((person) => person.email === email));
  return (
    <label className="lw-runs-as">
      <span>Runs as</span>
      <select value={chosen[tab.id] ?? AUTOMATIC} onChange={(event) => choose(tab.id, event.target.value)}>
        <option value={AUTOMATIC}>{who} (by itself)</option>
        <option value={NOBODY}>nobody</option>
        {state.people.length > 0 && (
          <optgroup label="Signed in">
            {state.people.map(({ email, name }) => (
              <option key={email} value={email}>
                {name}
              </option>
            ))}
          </optgroup>
        )}
        {away.length > 0 && (
          <optgroup label="Demo accounts">
            {away.map(({ email, name }) => (
              <option key={email} value={email}>
                {name}
              </option>
            ))}
          </optgroup>
        )}
      </select>
    </label>
  );
}
