// The playground, used as a person uses it: `node playground.mjs <http://host:port>` against a development server with
// demo accounts, whose access tokens end after a few seconds. Every other host is blocked. Ends with 0 if all was well;
// SHOTS=<folder> keeps pictures.

import assert from 'node:assert/strict';

import { accessible, launch, pale } from './browser.mjs';

const url = process.argv[2];
const PASSWORD = 'correct-horse-battery';
const TABS = ['Feed', 'SignIn', 'Post', 'Subscribe', 'Claim', 'Deliver', 'Approve', 'Wallet'];

// What somebody else does meanwhile, without a browser.
async function elsewhere(query, token) {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify({ query }),
  });
  const { data, errors } = await response.json();
  assert.equal(errors, undefined, JSON.stringify(errors));
  return data;
}

async function postsJob(title) {
  const signIn = `mutation { signIn(input: { email: "brian@example.com", password: "${PASSWORD}" }) { session { accessToken } } }`;
  const token = (await elsewhere(signIn)).signIn.session.accessToken;
  const key = `elsewhere-${title.replaceAll(' ', '-')}-${process.pid}`;
  const input = `idempotencyKey: "${key}", title: "${title}", description: "From elsewhere.", skills: []`;
  const query = `mutation { postJob(input: { ${input}, budget: { amount: "10.00", currencyCode: "USD" } }) { job { id } } }`;
  assert.ok((await elsewhere(query, token)).postJob.job.id);
}

const { browser, open } = await launch(url);
const { page, shoot, quiet } = await open();
const sockets = [];
page.on('websocket', (socket) => sockets.push(socket));

const editor = (name) =>
  page.evaluate((part) => {
    const model = globalThis.__MONACO?.editor.getModels().find(({ uri }) => uri.path.includes(part));
    return model?.getValue() ?? '';
  }, name);
// An answer, or the text that is shown while there is none.
const response = async () => {
  const text = await editor('response');
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
};
// Waits until what the page shows is so.
async function until(what, read, holds) {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const value = await read();
    if (holds(value)) return value;
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}; it was ${JSON.stringify(value)}`);
    await page.evaluate(() => new Promise(requestAnimationFrame));
  }
}

const tab = (name) => page.getByRole('button', { name, exact: true });
const tabs = () => page.locator('.graphiql-tab-button').allTextContents();

async function goTo(name) {
  await tab(name).click();
  await until(`the tab ${name}`, () => editor('operation'), (text) => new RegExp(`(query|mutation|subscription) ${name}\\b`).test(text));
}

// Empties the panel of answers, so that what it shows from here on is new.
const wipe = () =>
  page.evaluate(() => globalThis.__MONACO?.editor.getModels().find(({ uri }) => uri.path.includes('response'))?.setValue(''));

// Goes to a tab and presses the button, as anybody would.
async function run(name) {
  await goTo(name);
  await wipe();
  await page.getByRole('button', { name: /^Execute query/ }).click();
  const answer = await until(`an answer in ${name}`, response, (value) => value?.data || value?.errors);
  assert.equal(answer.errors, undefined, `${name}: ${JSON.stringify(answer)}`);
  for (const payload of Object.values(answer.data)) assert.deepEqual(payload?.errors ?? [], [], `${name}: ${JSON.stringify(answer)}`);
  return answer.data;
}

const runsAs = (who) =>
  until(`the name of whom it runs as, ${who}`, () => page.getByLabel('Runs as').locator('option:checked').textContent(), (shown) => shown === who);

// Everything that the browser would find on its disk later.
const kept = () =>
  page.evaluate(async () => {
    const databases = (await indexedDB.databases?.()) ?? [];
    const caches = (await globalThis.caches?.keys()) ?? [];
    return { local: { ...localStorage }, session: { ...sessionStorage }, databases, caches, cookie: document.cookie };
  });

await page.goto(`${url}/graphql`);
await tab('Feed').waitFor();
assert.deepEqual(await tabs(), TABS);
await until('the schema', () => page.locator('.graphiql-doc-explorer, .graphiql-sidebar').count(), (count) => count > 0);
await shoot('first');

// A tab that needs an answer of another one says so and sends nothing.
await goTo('Claim');
await page.getByRole('button', { name: /^Execute query/ }).click();
const early = await until('a hint', response, (value) => value?.errors);
assert.match(early.errors[0].message, /Run the tab Post first/);

// The story, in order and unchanged.
const feed = await run('Feed');
assert.ok(feed.streamCursor && feed.jobs.nodes.length > 0);
await runsAs('nobody (by itself)');
const { signIn } = await run('SignIn');
assert.equal(signIn.user.displayName, 'Ada Client');
const secrets = [signIn.session.accessToken, signIn.session.refreshToken, PASSWORD];
const { postJob } = await run('Post');
assert.equal(postJob.job.status, 'OPEN');
await runsAs('Ada Client (by itself)');
await shoot('post');

// The first event is the job just posted, since the stream begins where the feed stood.
const first = await run('Subscribe');
assert.equal(first.jobPosted.job.id, postJob.job.id);
await postsJob('Seen at once');
await until('an event', response, (value) => value?.data?.jobPosted.job.title === 'Seen at once');
await shoot('subscribe');

// The token ends, the socket with it. What is posted before it is back is not missed.
const [socket] = sockets.slice(-1);
if (!socket.isClosed()) await socket.waitForEvent('close');
await postsJob('Posted while it was away');
await until('what was missed', response, (value) => value?.data?.jobPosted.job.title === 'Posted while it was away');
assert.ok(sockets.length > 1, 'it came back on another socket');

// The stream goes on in the panel while its person is elsewhere.
await page.getByRole('button', { name: 'Show Live' }).click();
await page.getByRole('button', { name: 'Follow the job that you posted' }).click();
const { claimJob } = await run('Claim');
assert.equal(claimJob.job.status, 'CLAIMED');
assert.equal(claimJob.job.id, postJob.job.id);
await runsAs('Ben Freelancer (by itself)');
const { submitDeliverable } = await run('Deliver');
assert.equal(submitDeliverable.job.status, 'IN_REVIEW');
const { approveDeliverable } = await run('Approve');
assert.equal(approveDeliverable.job.status, 'COMPLETED');
await runsAs('Ada Client (by itself)');
const { viewer } = await run('Wallet');
assert.equal(viewer.displayName, 'Ben Freelancer');
assert.equal(viewer.wallet.transactions.nodes[0].type, 'ESCROW_RELEASE');
const events = page.getByRole('list', { name: 'Events' });
await until('the end of the job in the panel', () => events.textContent(), (text) => text.includes('"COMPLETED"'));
await postsJob('Seen in the panel');
await until('an event in the panel', () => events.textContent(), (text) => text.includes('Seen in the panel'));
// It came back where it stood, and not where it had begun: each job once, the newest first.
const posted = (await events.locator('pre').allTextContents()).map((text) => JSON.parse(text).jobPosted?.job.title);
assert.deepEqual(posted.filter(Boolean), ['Seen in the panel', 'Posted while it was away', 'Seen at once', postJob.job.title]);
await accessible(page);
assert.deepEqual(await pale(page, '.lw-panel'), []);
await shoot('live');

// Back in its tab the stream is shown again, and can be stopped there.
await goTo('Subscribe');
await until('the latest event', response, (value) => value?.data?.jobPosted.job.title === 'Seen in the panel');
await page.getByRole('button', { name: /^Stop query/ }).click();
await until('its end', () => page.getByRole('list', { name: 'Running' }).allTextContents(), (lists) => !lists.join().includes('Subscribe'));

// A second round of the same tabs: fresh keys, the ids of the new job.
const again = (await run('Post')).postJob.job;
assert.notEqual(again.id, postJob.job.id);
assert.equal((await run('Claim')).claimJob.job.id, again.id);

// Somebody else by a click, and by a form that tells what is wrong.
await page.getByRole('button', { name: 'Show Sign in' }).click();
await page.getByRole('button', { name: 'Dina Freelancer' }).click();
await page.getByRole('button', { name: 'Sign out Dina Freelancer' }).waitFor();
await page.getByLabel('Email').fill('chandra@example.com');
await page.getByLabel('Password').fill('a password that is wrong');
await page.getByRole('button', { name: 'Sign in', exact: true }).click();
await until('a reason', () => page.getByRole('alert').first().textContent(), (text) => text.trim().length > 0);
await page.getByLabel('Password').fill(PASSWORD);
await page.getByRole('button', { name: 'Sign in', exact: true }).click();
await page.getByRole('button', { name: 'Sign out Chandra Client' }).waitFor();
await page.getByLabel('Runs as').selectOption('dina@example.com');
assert.match(JSON.stringify(await (async () => {
  await wipe();
  await page.getByRole('button', { name: /^Execute query/ }).click();
  return until('a refusal', response, (value) => value?.data?.claimJob.errors?.length);
})()), /JOB_NOT_CLAIMABLE/);
await accessible(page);
assert.deepEqual(await pale(page, '.lw-panel'), []);
await shoot('sign-in');
await page.getByRole('button', { name: 'Sign out Dina Freelancer' }).click();
await page.getByRole('button', { name: 'Dina Freelancer', exact: false }).first().waitFor();

// History and documentation are there.
await page.getByRole('button', { name: 'Show History' }).click();
await page.locator('.graphiql-history-item-label', { hasText: 'Approve' }).first().waitFor();
await page.getByRole('button', { name: 'Show Documentation Explorer' }).click();
await page.locator('.graphiql-doc-explorer').getByText('Subscription').first().waitFor();
await shoot('docs');

// A token that somebody types into the headers, and a password in a tab of their own, stay off the disk as well.
await goTo('SignIn');
await page.getByRole('button', { name: 'Headers', exact: true }).click();
await page.locator('.graphiql-editor-tool .graphiql-editor:not(.hidden)').click();
await page.keyboard.insertText('{ "Authorization": "Bearer typed-by-hand-0123456789" }');
await until('the tabs on the disk', kept, ({ local }) => Object.keys(local).some((key) => key.includes('tabState')));
await page.getByRole('button', { name: 'Execute query' }).or(page.getByRole('button', { name: /^Execute query/ })).first().click();
await until('an answer', response, (value) => value?.data || value?.errors);
await goTo('Feed');
const disk = await until('the active tab on the disk', kept, ({ local }) => Object.entries(local).some(([key, text]) => key.includes('tabState') && JSON.parse(text).activeTabIndex === 0));
const text = JSON.stringify(disk);
for (const secret of [...secrets, 'typed-by-hand', 'a password that is wrong']) assert.ok(!text.includes(secret), `${secret} is on the disk: ${text}`);
assert.ok(!/eyJ[\w-]+\./.test(text), 'a token is on the disk');
assert.deepEqual([disk.databases, disk.caches, disk.cookie, disk.session], [[], [], '', {}]);

// A reload forgets who was signed in and keeps the tabs; they run again.
await page.reload();
await tab('Feed').waitFor();
assert.deepEqual(await tabs(), TABS);
assert.equal((await run('SignIn')).signIn.user.displayName, 'Ada Client');
assert.ok((await run('Post')).postJob.job.id);

quiet();

// In the dark.
const dark = await open({ colorScheme: 'dark' });
await dark.page.goto(`${url}/graphql`);
await dark.page.getByRole('button', { name: 'Show Sign in' }).click();
await dark.page.getByRole('button', { name: 'Ada Client' }).waitFor();
await accessible(dark.page);
assert.deepEqual(await pale(dark.page, '.lw-panel'), []);
await dark.shoot('dark');
dark.quiet();

// On a phone.
const phone = await open({ viewport: { width: 390, height: 800 } });
await phone.page.goto(`${url}/graphql`);
await phone.page.getByRole('button', { name: 'Feed', exact: true }).click();
await phone.page.getByRole('button', { name: /^Execute query/ }).click();
await phone.page.locator('.graphiql-response').getByText('streamCursor').waitFor();
await phone.shoot('phone');
phone.quiet();

await browser.close();
console.log('played');
