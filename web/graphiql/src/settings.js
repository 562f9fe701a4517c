// What the server says about itself, out of the page.
//
// `demo`: the demo accounts ({ email, name, role }), in development only; `demoPassword`: the one they share;
// `currency`: the marketplace's currency.

const given = JSON.parse(document.getElementById('playground').dataset.settings || '{}');

export const settings = { demo: [], demoPassword: '', currency: 'USD', ...given };

// The demo account of an email, if it is one.
export const demoOf = (email) => settings.demo.find((person) => person.email === email);
