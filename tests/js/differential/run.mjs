// Asks the server every document and compares.
import { CASES } from './cases.mjs';
import { make } from './corpus.mjs';
import { DIFFERENCES, LIMITED_SHARE, NOT_IN_SPECIFICATION, excuse } from './differences.mjs';
import { ECHOES } from './echoes.mjs';
import { RULES, judge } from './judge.mjs';
import { MUTATORS } from './mutate.mjs';
import { Random } from './random.mjs';
import { loadSchema } from './schema.mjs';
import { Server } from './server.mjs';
import { misshapen } from './shape.mjs';
import { proveShapes } from './shape_test.mjs';
import { Transports } from './transports.mjs';

const PARALLEL = 8;
// A server that is wrong throughout would fill the terminal.
const SHOWN = Number(process.env.LANCEWIRE_DIFFERENTIAL_SHOWN ?? 60);

// So many documents are a whole run, which must have come across everything.
const WHOLE = 1000;

// Faults of ours, which no document may cause.
const FAULTS = new Set(['INTERNAL_SERVER_ERROR', 'TIMEOUT', undefined]);

// True if all agree. `found` and `only` are lists of `seed:index`; with `only`, nothing else is asked.
export async function run(url, { seeds, count, found, only, say }) {
  proveShapes();
  const schema = loadSchema();
  const server = new Server(url);
  const tally = {
    documents: 0,
    executed: 0,
    refused: 0,
    disagree: 0,
    excused: new Map(),
    rules: new Map(),
    ways: new Set(),
    silent: 0,
    sorts: new Map(),
  };
  try {
    const pools = await server.pools();
    const named = (labels) => labels.map((label) => label.split(/[:+]/)).map(([seed, index]) => [seed, Number(index)]);
    const each = Math.ceil(count / seeds.length);
    const all = [
      ...named(found),
      ...seeds.flatMap((seed) => Array.from({ length: each }, (_, index) => [seed, index])),
    ];
    const documents = function* documents() {
      if (only.length === 0) {
        yield* CASES();
        yield* ECHOES();
      }
      for (const [seed, index] of only.length > 0 ? named(only) : all) yield make(schema, pools, seed, index);
    };
    const queue = documents();
    const worker = async () => {
      for (let next = queue.next(); !next.done; next = queue.next()) {
        for (const made of [next.value].flat()) await check(schema, server, made, tally, say);
      }
    };
    await Promise.all(Array.from({ length: PARALLEL }, worker));
  } finally {
    await server.close();
  }
  const flaws = only.length > 0 || count < WHOLE ? [] : incomplete(tally, count);
  flaws.forEach((flaw) => say(`the generator itself: ${flaw}`));
  if (tally.disagree > SHOWN) say(`and ${tally.disagree - SHOWN} more`);
  for (const [sort, times] of [...tally.sorts].sort()) say(`  ${String(times).padStart(5)} ${sort}`);
  const excused = DIFFERENCES.map(({ name }) => `${tally.excused.get(name) ?? 0} ${name}`).join(', ');
  say(`differences that are meant: ${excused}; ${tally.silent} subscriptions began and were silent`);
  say(
    `${tally.documents} documents: ${tally.executed} executed, ${tally.refused} refused, ${tally.disagree} disagreements`,
  );
  return tally.disagree === 0 && flaws.length === 0;
}

async function check(schema, server, made, tally, say) {
  const body =
    made.body ?? JSON.stringify({ query: made.text, variables: made.variables, operationName: made.operationName });
  const sent = JSON.parse(body);
  const expected = made.specification
    ? { phase: made.specification, errors: [] }
    : judge(schema, sent.query, sent.variables, sent.operationName);
  const random = new Random(`transport of ${made.seed}`);
  const kind = made.kind === 'query' && /mutation/.test(sent.query) ? 'mutation' : made.kind;
  const transport = random.pick(Transports.of(kind));
  const begins = kind === 'subscription' && expected.phase === 'executed';
  const actual = await server.ask({ body, viewer: made.viewer, begins, transport });

  tally.documents += 1;
  tally.ways.add(made.what);
  if (made.rule) tally.rules.set(made.rule, (tally.rules.get(made.rule) ?? 0) + 1);
  if (expected.phase === 'executed') tally.executed += 1;
  else tally.refused += 1;
  if (actual.silent) tally.silent += 1;

  const wrong = disagreement(schema, expected, actual, sent, made, tally);
  if (!wrong) return;
  tally.disagree += 1;
  const sort = `${made.what}: ${expected.phase} here, ${actual.phase} there`;
  tally.sorts.set(sort, (tally.sorts.get(sort) ?? 0) + 1);
  if (tally.disagree > SHOWN) return;
  say(`--- ${made.seed} (${made.what}, ${made.viewer ?? 'anonymous'}, ${transport})`);
  say(
    made.body ??
      `${made.text}\n    variables ${JSON.stringify(made.variables ?? null)}${made.operationName ? `, operation ${made.operationName}` : ''}`,
  );
  say(
    `    ${made.specification ? 'specification' : 'graphql-js'}: ${expected.phase}${made.specification ? '' : reasons(expected.errors)}`,
  );
  say(`    server: ${actual.phase}${reasons(actual.errors)}`);
  if (wrong !== true) say(`    ${wrong}`);
}

const reasons = (errors) =>
  errors
    .slice(0, 3)
    .map((error) => ` | ${error.message.split('\n')[0]}`)
    .join('');

function disagreement(schema, expected, actual, sent, made, tally) {
  if (actual.codes.some((code) => FAULTS.has(code))) return `the server says ${actual.codes} (${actual.status})`;
  if (made.anyOf) return made.anyOf.includes(actual.phase) ? undefined : true;
  if (actual.phase !== expected.phase) {
    const known = excuse(expected, actual, made);
    if (!known) return true;
    tally.excused.set(known.name, (tally.excused.get(known.name) ?? 0) + 1);
    return undefined;
  }
  if (actual.phase !== 'executed' || actual.silent || !expected.document) return undefined;
  return misshapen(schema, expected, sent.variables, sent.operationName, actual) ?? made.echoes?.(actual.data);
}

// What a run must have held to prove anything.
function incomplete(tally, count) {
  const flaws = [];
  if (tally.documents < count) flaws.push(`${tally.documents} documents instead of ${count}`);
  if (tally.executed * 3 < tally.documents)
    flaws.push(`only ${tally.executed} of ${tally.documents} documents are valid`);
  for (const rule of RULES.filter((name) => !NOT_IN_SPECIFICATION.includes(name))) {
    if (!tally.rules.has(rule)) flaws.push(`no document breaks ${rule}`);
  }
  for (const { name } of MUTATORS) {
    if (!tally.ways.has(name)) flaws.push(`no document was made by ${name}`);
  }
  const limited = tally.excused.get('limits') ?? 0;
  if (limited > tally.documents * LIMITED_SHARE)
    flaws.push(`${limited} of ${tally.documents} documents were refused by limits`);
  return flaws;
}
