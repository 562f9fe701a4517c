// Texts that are no documents: made of valid ones by one wrong character or token.
import { Lexer, Source, TokenKind } from 'graphql';

function tokens(text) {
  const lexer = new Lexer(new Source(text));
  const all = [];
  for (let token = lexer.advance(); token.kind !== TokenKind.EOF; token = lexer.advance()) all.push(token);
  return all;
}

const cut = (text, { start, end }, by = '') => text.slice(0, start) + by + text.slice(end);

function ofKind(random, text, ...kinds) {
  const fits = tokens(text).filter((token) => kinds.includes(token.kind));
  return fits.length > 0 ? random.pick(fits) : undefined;
}

const replaced =
  (...kinds) =>
  (by) =>
  (random, text) => {
    const token = ofKind(random, text, ...kinds);
    return token && cut(text, token, typeof by === 'function' ? by(random, token) : by);
  };

const punctuation = [
  TokenKind.BRACE_L,
  TokenKind.BRACE_R,
  TokenKind.PAREN_L,
  TokenKind.PAREN_R,
  TokenKind.COLON,
  TokenKind.BRACKET_L,
  TokenKind.BRACKET_R,
  TokenKind.DOLLAR,
  TokenKind.AT,
];
const strings = replaced(TokenKind.STRING, TokenKind.BLOCK_STRING);

const BAD_STRINGS = [
  '"\\ud83d"',
  '"\\ude00"',
  '"\\ude00\\ud83d"',
  '"\\ud83d\\ud83d"',
  '"\\ud83dx"',
  '"\\ud83d\\u0041"',
  '"\\ud83d\\n"',
  '"\\u{D83D}"',
  '"\\u{D83D}\\u{DE00}"',
  '"\\ud83d\\u{DE00}"',
  '"\\u{110000}"',
  '"\\u{FFFFFFFFFF}"',
  '"\\u{}"',
  '"\\u{G}"',
  '"\\u{1F600"',
  '"\\u{ 41}"',
  '"\\u004"',
  '"\\u00G0"',
  '"\\x41"',
  '"\\a"',
  '"\\\'"',
  '"\\U0041"',
  '"\\0"',
  '"open',
  '"two\nlines"',
  '"two\rlines"',
  '"\\"',
  '"""open',
  '"""a\\"""',
  "'single'",
  '"""open""',
];
const BAD_NUMBERS = [
  '01',
  '00',
  '-01',
  '1.',
  '.5',
  '1.e3',
  '1e',
  '1e+',
  '-',
  '+1',
  '1x',
  '1_000',
  '0x10',
  '1.5.2',
  '1..2',
  '--1',
  '1e1.5',
  '1a',
  '1.0f',
  '0b',
  '1_',
];
const BAD_CHARACTERS = [
  '?',
  '%',
  '^',
  '*',
  '/',
  '\\',
  '~',
  '`',
  ';',
  '<',
  '>',
  '\u00A0',
  '\u2028',
  '\u0000',
  '\u0007',
  '\u{1F600}',
  'é',
  '－',
  '.',
  '..',
  '"',
  '\u200B',
];

export const SYNTAX = [
  { name: 'token left out', apply: replaced(...punctuation)('') },
  { name: 'token twice', apply: replaced(...punctuation)((_, token) => token.kind + token.kind) },
  {
    name: 'other bracket',
    apply: replaced(
      TokenKind.BRACE_L,
      TokenKind.BRACE_R,
      TokenKind.PAREN_L,
      TokenKind.PAREN_R,
    )((random) => random.pick(['[', ']', '(', ')', '{', '}'])),
  },
  {
    name: 'cut off',
    // Between characters: half of one is a fault of the request's JSON.
    apply: (random, text) => text.slice(0, random.int(0, text.trimEnd().length - 1)).replace(/[\ud800-\udbff]$/, ''),
  },
  {
    name: 'text behind',
    apply: (random, text) =>
      `${text}${random.pick([' }', ' x', ' 1', ' "', ' {}', ' query', ' fragment F', ' fragment on on User { id }', '(', ' ...', ' @skip(if: true)', ' $x', ' | ', ' & '])}`,
  },
  {
    name: 'strange character',
    apply: (random, text) => {
      const token = random.pick(tokens(text));
      return `${text.slice(0, token.start)}${random.pick(BAD_CHARACTERS)}${random.pick(['', ' '])}${text.slice(token.start)}`;
    },
  },
  { name: 'string', apply: strings((random) => random.pick(BAD_STRINGS)) },
  { name: 'number', apply: replaced(TokenKind.INT, TokenKind.FLOAT)((random) => random.pick(BAD_NUMBERS)) },
  {
    name: 'empty',
    apply: (random) =>
      random.pick([
        '',
        ' ',
        '\uFEFF',
        '# only a comment',
        ',,,',
        '{}',
        'query',
        'query {',
        'query Q',
        'query Q()',
        '{ a() }',
        'query Q() { viewer { id } }',
        '{ viewer {} }',
        '{ viewer { ... } }',
        '{ viewer { ...on } }',
        '{ viewer { ... on { id } } }',
        'fragment F { id }',
        '{ a: b: viewer { id } }',
        '{ : viewer { id } }',
        '{ viewer @ { id } }',
        '{ viewer @skip() { id } }',
        '{ viewer @skip(if) { id } }',
        '{ jobs(first: ) { nodes { id } } }',
        '{ jobs(: 1) { nodes { id } } }',
        'subscribe { jobPosted { id } }',
        'Query { viewer { id } }',
        '{ viewer { id } } }',
        '{ skills(prefix: $) { id } }',
        'query ($x) { viewer { id } }',
        'query ($x:) { viewer { id } }',
        'query (x: Int) { viewer { id } }',
        'query ($x: [Int) { viewer { id } }',
        'query ($x: Int!!) { viewer { id } }',
        'query ($x: [Int]!!) { viewer { id } }',
        'query ($x: Int = ) { viewer { id } }',
        '{ viewer { ... @include(if: true) } }',
        'fragment on on User { id } { viewer { id } }',
        '{ "viewer" { id } }',
        '{ viewer { "id" } }',
        '{ viewer { 1 } }',
        '{ nodes(ids: [1, 2) { id } }',
        '{ jobs(filter: {status: OPEN) { totalCount } }',
        '{ jobs(filter: {status OPEN}) { totalCount } }',
        '{ jobs(filter: {: OPEN}) { totalCount } }',
        '"a description"',
        '"a description" { viewer { id } }',
        '{ viewer { ...F } } fragment F on User',
        '{ viewer { ...F } } fragment F on User {}',
        '{ viewer { ...F } } fragment on User { id }',
        '{ viewer { id } } query query',
        '... on Query { viewer { id } }',
        '@skip(if: true) { viewer { id } }',
        'mutation',
        'subscription { }',
        '{ viewer { id }',
        '{{ viewer { id } }}',
        '[{ viewer { id } }]',
      ]),
  },
  // Variables have no place in what is constant (spec 2.4, 2.10).
  {
    name: 'variable default',
    apply: (random) =>
      random.pick([
        'query ($a: Int, $b: Int = $a) { jobs(first: $b) { totalCount } }',
        'query ($a: ID, $b: [ID!] = [$a]) { nodes(ids: $b) { id } }',
        'query ($a: ID, $f: JobFilter = {clientId: $a}) { jobs(first: 1, filter: $f) { totalCount } }',
        'query ($a: Boolean, $b: Int @include(if: $a)) { jobs(first: $b) { totalCount } }',
      ]),
  },
  {
    name: 'name',
    apply: replaced(TokenKind.NAME)((random, token) =>
      random.pick([
        `${token.value}-x`,
        `1${token.value}`,
        `${token.value}.x`,
        `$${token.value}$`,
        `-${token.value}`,
        `"${token.value}"`,
        `${token.value}é`,
        `${token.value}:`,
        `@${token.value}`,
        `(${token.value})`,
      ]),
    ),
  },
  {
    name: 'enum that is reserved',
    apply: (random) =>
      random.pick([
        '{ ...on }',
        '{ ... on on { id } }',
        'fragment on on Query { viewer { id } } { ...on }',
        '{ viewer { ...{ } } }',
      ]),
  },
];
