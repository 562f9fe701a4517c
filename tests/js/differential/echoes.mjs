// Values that come back: a draft's text and skills are answered as they were sent, so the answer shows what the server
// made of a literal, a variable or a default. What GraphQL says the value is, graphql-js says.
import { parse, valueFromASTUntyped } from 'graphql';
import { Random } from './random.mjs';
import { spellString } from './respell.mjs';

const COUNT = 60;

// A key is good once for a database, and one may be asked several times.
const RUN = Date.now().toString(36);

const PIECES = [
  'a',
  'é',
  'ж',
  '漢',
  '\u{1F600}',
  '\u{1F468}\u200D\u{1F469}',
  '\u{10FFFD}',
  '\u{10000}',
  '"',
  '\\',
  '/',
  '\\u0041',
  '\\n',
  '\\"""',
  '#',
  ',',
  '{',
  '$x',
  '"""',
  '\n',
  ' ',
  '  x',
  'z',
];

// Block strings as people write them (2.9.4): indentation, empty lines, escaped quotes, no escapes else.
const BLOCKS = [
  '"""one"""',
  '"""\n  one\n    two\n  three\n"""',
  '"""one\n  two\n  three"""',
  '"""\n\n\n  one\n\n"""',
  '"""\n\tone\n\ttwo"""',
  '"""one \\""" two"""',
  '"""one \\n \\u0041 \\u{41} two"""',
  '"""\r\n  one\r\n  two\r\n"""',
  '"""one\rtwo"""',
  '"""  one"""',
  '"""\n  one\n \n  two"""',
  '"""one" two"""',
  '"""\\one"""',
  '"""é\u{1F600}"""',
  '"""\n    one\n  two\n"""',
  '"""one\n\n\n"""',
];

export function* ECHOES() {
  for (let index = 0; index < COUNT; index += 1) {
    const random = new Random(`echo:${index}`);
    // Letters at both ends: the server trims, and so do the comparisons of block strings.
    const value = `A${Array.from({ length: random.int(1, 8) }, () => random.pick(PIECES)).join('')}Z`;
    const written = index < BLOCKS.length ? BLOCKS[index] : spellString(random, value, false);
    const meant = index < BLOCKS.length ? read(written) : value;
    yield {
      seed: `echo:${index}`,
      what: 'echo',
      kind: 'mutation',
      viewer: 'ada',
      ...ways[index % ways.length](written, meant, index),
    };
  }
}

const read = (text) =>
  valueFromASTUntyped(parse(`{ a(b: ${text}) }`).definitions[0].selectionSet.selections[0].arguments[0].value);

const draft = (description, skills, index) =>
  `draftJob(input: {idempotencyKey: "echo-${RUN}-${index}", title: "Echo", description: ${description}, budget: {amount: "1.00", currencyCode: "USD"}, skills: ${skills}}) { job { description skills { slug } } errors { __typename } }`;

const same = (description, skills) => (data) => {
  const job = data.draftJob?.job;
  if (!job) return `no draft: ${JSON.stringify(data)}`;
  if (job.description.trim() !== description.trim())
    return `the text is ${JSON.stringify(job.description)}, not ${JSON.stringify(description)}`;
  const slugs = job.skills.map(({ slug }) => slug);
  return slugs.join() === skills.join() ? undefined : `the skills are ${slugs}, not ${skills}`;
};

const ways = [
  (written, meant, index) => ({
    text: `mutation { ${draft(written, '"rust"', index)} }`,
    echoes: same(meant, ['rust']),
  }),
  (written, meant, index) => ({
    text: `mutation ($d: String = ${written}) { ${draft('$d', '[]', index)} }`,
    echoes: (data) => (data?.draftJob === undefined ? undefined : same(meant, [])(data)),
  }),
  (_, meant, index) => ({
    text: `mutation ($d: String!, $s: String!) { ${draft('$d', '[$s]', index)} }`,
    variables: { d: meant, s: 'graphql' },
    echoes: same(meant, ['graphql']),
  }),
  (written, meant, index) => ({
    text: `mutation ($s: [String!]! = "rust") { ${draft(written, '$s', index)} }`,
    echoes: same(meant, ['rust']),
  }),
  (written, meant, index) => ({
    text: `mutation ($i: DraftJobInput! = {idempotencyKey: "echo-${RUN}-${index}", title: "Echo", description: ${written}, budget: {currencyCode: "USD", amount: "1.00"}, skills: "rust"}) { draftJob(input: $i) { job { description skills { slug } } } }`,
    echoes: same(meant, ['rust']),
  }),
  (_, meant, index) => ({
    text: 'mutation ($i: DraftJobInput!) { draftJob(input: $i) { job { description skills { slug } } } }',
    variables: {
      i: {
        idempotencyKey: `echo-${RUN}-${index}`,
        title: 'Echo',
        description: meant,
        budget: { currencyCode: 'USD', amount: '1.00' },
        skills: 'rust',
      },
    },
    echoes: same(meant, ['rust']),
  }),
  // The JSON in characters of ASCII alone, as some clients write it.
  (_, meant, index) => ({
    body: ascii({ query: `mutation ($d: String!) { ${draft('$d', '["rust"]', index)} }`, variables: { d: meant } }),
    echoes: same(meant, ['rust']),
  }),
];

function ascii(value) {
  const escaped = (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return JSON.stringify(value).replace(/[^\x20-\x7e]/g, escaped);
}
