// The same document in other characters: white space, commas, comments, byte order marks and the many spellings of a
// string. What it means stays.
import { Lexer, Source, TokenKind, print } from 'graphql';
import blockStrings from 'graphql/language/blockString.js';

const { isPrintableAsBlockString, printBlockString } = blockStrings;

const GAPS = [
  ' ',
  '\n',
  '\t',
  '\r\n',
  '\r',
  ', ',
  ' ,\n',
  '  ',
  '\uFEFF',
  ' # a comment\n',
  '#\u{1F600} "{$\n',
  ',,#\uFEFF\r',
];
const SPACES = [' ', '\n'];
const JOINABLE = new Set([
  TokenKind.BRACE_L,
  TokenKind.BRACE_R,
  TokenKind.PAREN_L,
  TokenKind.PAREN_R,
  TokenKind.BRACKET_L,
  TokenKind.BRACKET_R,
  TokenKind.COLON,
  TokenKind.EQUALS,
  TokenKind.DOLLAR,
  TokenKind.BANG,
  TokenKind.AT,
]);

export function respell(random, document) {
  const text = print(document);
  const lexer = new Lexer(new Source(text));
  const plain = random.chance(0.6);
  // graphql-js takes a block string and a quoted one of the same text for different arguments; see differences.mjs.
  const blocks = new Map();
  const isBlock = (value) => {
    if (!blocks.has(value)) blocks.set(value, random.chance(0.2) && isPrintableAsBlockString(value));
    return blocks.get(value);
  };
  const tokens = [];
  for (let token = lexer.advance(); token.kind !== TokenKind.EOF; token = lexer.advance()) {
    tokens.push(token);
  }
  let out = random.chance(0.05) ? '\uFEFF' : '';
  tokens.forEach((token, at) => {
    if (at > 0) out += gap(random, tokens[at - 1], token, plain);
    const isString = token.kind === TokenKind.STRING || token.kind === TokenKind.BLOCK_STRING;
    out += isString ? spellString(random, token.value, isBlock(token.value)) : text.slice(token.start, token.end);
  });
  return out + (plain ? '' : random.pick(['', '\n', '# the end', ',', '\uFEFF']));
}

// What people write together though it is two tokens.
const together = (before, after) =>
  before.kind === TokenKind.DOLLAR || before.kind === TokenKind.AT || after.kind === TokenKind.BANG;

function gap(random, before, after, plain) {
  if (plain && together(before, after)) return '';
  const joinable = JOINABLE.has(before.kind) || JOINABLE.has(after.kind);
  if (joinable && random.chance(plain ? 0.6 : 0.3)) return '';
  return random.pick(plain || random.chance(0.6) ? SPACES : GAPS);
}

export function spellString(random, value, isBlock = false) {
  if (isBlock) return printBlockString(value, { minimize: random.chance(0.5) });
  const often = random.chance(0.15) ? 0.5 : 0;
  let out = '"';
  for (const character of value) {
    out += spellCharacter(random, character, often);
  }
  return `${out}"`;
}

const SHORT = { '"': '\\"', '\\': '\\\\', '/': '\\/', '\b': '\\b', '\f': '\\f', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

function spellCharacter(random, character, often) {
  const code = character.codePointAt(0);
  const mustEscape = character === '"' || character === '\\' || character === '\n' || character === '\r';
  if (!mustEscape && !random.chance(often)) return character;
  if (SHORT[character] && random.chance(0.5)) return SHORT[character];
  const hex = (unit) => {
    const digits = unit.toString(16).padStart(4, '0');
    return random.chance(0.5) ? digits.toUpperCase() : digits;
  };
  if (random.chance(0.5)) {
    return `\\u{${'0'.repeat(random.int(0, 2))}${random.chance(0.5) ? code.toString(16) : code.toString(16).toUpperCase()}}`;
  }
  // A character outside of the basic plane is written as its pair of surrogates.
  return [...Array(character.length).keys()].map((at) => `\\u${hex(character.charCodeAt(at))}`).join('');
}
