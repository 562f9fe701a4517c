// The panel "Sign in": demo accounts in one click, email and password for everybody else, and who is signed in.

import { Button } from '@graphiql/react';
import { useState } from 'react';

import { PersonIcon } from './icons.jsx';
import { useObserved } from './observed.js';
import { choose, people, signIn, signOut } from './people.js';
import { settings } from './settings.js';

const ROLE = { CLIENT: 'client', FREELANCER: 'freelancer', ADMIN: 'admin' };
const roles = (person) => person.roles.map((role) => ROLE[role] ?? role.toLowerCase()).join(', ');

function SignedIn({ state }) {
  if (!state.people.length) return <p className="lw-note">Nobody is signed in. What is public can be read without.</p>;
  return (
    <ul className="lw-list" aria-label="Signed in">
      {state.people.map((person) => (
        <li key={person.id} className="lw-person">
          <span>
            <strong>{person.name}</strong> <small>{roles(person)}</small>
            <small className="lw-email">{person.email}</small>
          </span>
          <span className="lw-actions">
            {person.id === state.current ? (
              <small className="lw-badge">in use</small>
            ) : (
              <Button type="button" aria-label={`Use ${person.name}`} onClick={() => choose(person.id)}>
                Use
              </Button>
            )}
            <Button type="button" aria-label={`Sign out ${person.name}`} onClick={() => signOut(person.id)}>
              Sign out
            </Button>
          </span>
        </li>
      ))}
    </ul>
  );
}

function DemoAccounts({ state, enter, busy }) {
  const away = settings.demo.filter(({ email }) => !state.people.some((person) => person.email === email));
  if (!away.length) return null;
  return (
    <section aria-labelledby="lw-demo">
      <h3 id="lw-demo">Demo accounts</h3>
      <div className="lw-demo">
        {away.map(({ email, name, role }) => (
          <Button key={email} type="button" disabled={busy} onClick={() => enter(email, settings.demoPassword)}>
            {name} <small>{ROLE[role]}</small>
          </Button>
        ))}
      </div>
    </section>
  );
}

function Panel() {
  const state = useObserved(people);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState('');
  const enter = async (email, password) => {
    setBusy(true);
    setProblem('');
    try {
      await signIn(email, password);
      return true;
    } catch (error) {
      setProblem(error.message);
      return false;
    } finally {
      setBusy(false);
    }
  };
  const submit = async (event) => {
    event.preventDefault();
    const form = event.currentTarget;
    const { email, password } = Object.fromEntries(new FormData(form));
    if (await enter(email.trim(), password)) form.reset();
  };
  return (
    <section className="lw-panel" aria-label="Sign in">
      <h2>Sign in</h2>
      <p className="lw-note">
        Tokens stay in this page&rsquo;s memory: a reload forgets them. They go with every tab and its socket, and are
        renewed before they end.
      </p>
      <SignedIn state={state} />
      <DemoAccounts state={state} enter={enter} busy={busy} />
      <form onSubmit={submit}>
        <h3>Email and password</h3>
        <label>
          Email
          <input name="email" type="email" autoComplete="username" required />
        </label>
        <label>
          Password
          <input name="password" type="password" autoComplete="current-password" required />
        </label>
        <Button type="submit" disabled={busy}>
          Sign in
        </Button>
        <p role="alert" className="lw-problem">
          {problem}
        </p>
      </form>
    </section>
  );
}

export const SIGN_IN_PLUGIN = { title: 'Sign in', icon: PersonIcon, content: Panel };
