// The differential test: thousands of documents, valid and broken in every rule, judged by graphql-js and by the server.
//
//   node differential.mjs http://127.0.0.1:4000/graphql [SEED:INDEX ..]
//
// Needs a seeded server with generous budgets and limits (tests/api/differential.rs starts one). With documents named, only
// those are asked. LANCEWIRE_DIFFERENTIAL_SEED is a list of seeds with commas, or `random`; LANCEWIRE_DIFFERENTIAL_COUNT
// how many documents they make together. Each disagreement is printed; the last line counts. Exits 1 if there are any.

// Spares graphql-js a check of its own on every type that it looks at.
process.env.NODE_ENV = 'production';

const [url, ...only] = process.argv.slice(2);
if (!url) {
  console.error('usage: node differential.mjs URL [SEED:INDEX ..]');
  process.exit(2);
}

const { run } = await import('./differential/run.mjs');
const { FOUND, SEEDS } = await import('./differential/seeds.mjs');

const named = process.env.LANCEWIRE_DIFFERENTIAL_SEED;
const random = () => [String(Math.floor(Math.random() * 1e9))];
const seeds = named === 'random' ? random() : (named?.split(',') ?? SEEDS);
const count = Number(process.env.LANCEWIRE_DIFFERENTIAL_COUNT ?? 1000);

const say = (line) => console.log(line);
if (named) say(`seeds: ${seeds}`);
const agree = await run(url, { seeds, count, found: FOUND, only, say });
process.exitCode = agree ? 0 : 1;
