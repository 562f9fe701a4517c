// The judge of shapes, judged: answers that are right and pass, and each way in which one can be wrong and must not.
import { buildSchema, parse } from 'graphql';
import { misshapen } from './shape.mjs';

const SCHEMA = buildSchema(`
  interface Node { id: ID! }
  type User implements Node { id: ID! name: String! email: String wallet: Wallet friends(first: Int): [User!]! }
  type Wallet implements Node { id: ID! amount: Int! }
  type Query { me: User node(id: ID!): Node nodes(ids: [ID!]!): [Node]! }
`);

const USER =
  'query ($on: Boolean = true) { me { id name email @include(if: $on) ...F } me { id wallet { amount } } } fragment F on User { friends(first: 2) { id } }';
const RIGHT = { me: { id: '1', name: 'a', email: null, friends: [{ id: '2' }, { id: '3' }], wallet: { amount: 1 } } };
const NODE = '{ node(id: "1") { __typename ... on User { x: name } ... on Node { id } ... on Wallet { y: id } } }';
const failed = (...path) => [{ message: 'failed', path }];

// [what, document, data, errors, variables]; those of WRONG must be found fault with.
const GOOD = [
  ['as asked', USER, RIGHT],
  ['left out', USER, { me: { ...without(RIGHT.me, 'email') } }, [], { on: false }],
  ['nobody', USER, { me: null }],
  ['a field that can be null failed', USER, { me: { ...RIGHT.me, wallet: null } }, failed('me', 'wallet')],
  [
    'one that cannot takes its parent with it',
    USER,
    { me: { ...RIGHT.me, wallet: null } },
    failed('me', 'wallet', 'amount'),
  ],
  ['one in a list takes them all', USER, { me: null }, failed('me', 'friends', 1, 'id')],
  ['of an object', NODE, { node: { __typename: 'User', x: 'a', id: '1' } }],
  ['of another', NODE, { node: { __typename: 'Wallet', id: '1', y: '1' } }],
];

const WRONG = [
  ['a field is missing', USER, { me: without(RIGHT.me, 'name') }],
  ['a field that can be null is missing', USER, { me: without(RIGHT.me, 'email') }],
  ['a field is there that was left out', USER, RIGHT, [], { on: false }],
  ['a field that nobody asked for', USER, { me: { ...RIGHT.me, extra: 1 } }],
  ['another order', USER, { me: Object.fromEntries(Object.entries(RIGHT.me).reverse()) }],
  [
    'in order of their first sets',
    USER,
    { me: { id: '1', name: 'a', email: null, wallet: { amount: 1 }, friends: [{ id: '2' }] } },
  ],
  ['not merged', USER, { me: without(RIGHT.me, 'wallet') }],
  ['null where null cannot be', USER, { me: { ...RIGHT.me, name: null } }],
  ['null in a list', USER, { me: { ...RIGHT.me, friends: [null] } }],
  ['one for a list', USER, { me: { ...RIGHT.me, friends: { id: '2' } } }],
  ['a list for one', USER, { me: [RIGHT.me] }],
  ['a list in a list', USER, { me: { ...RIGHT.me, friends: [[{ id: '2' }]] } }],
  ['more than asked for', USER, { me: { ...RIGHT.me, friends: [{ id: '2' }, { id: '3' }, { id: '4' }] } }],
  ['a text for a number', USER, { me: { ...RIGHT.me, wallet: { amount: 'x' } } }],
  ['an object for a text', USER, { me: { ...RIGHT.me, name: { first: 'a' } } }],
  ['no data', USER, null],
  ['nulled too far up', USER, { me: null }, failed('me', 'wallet')],
  ['nulled too far up, for one that cannot be null', USER, { me: null }, failed('me', 'wallet', 'amount')],
  ['failed and there', USER, RIGHT, failed('me', 'wallet', 'amount')],
  ['failed where nothing was asked', USER, RIGHT, failed('me', 'nothing')],
  ['failed without a path', USER, RIGHT, [{ message: 'failed' }]],
  ['of no type', NODE, { node: { __typename: 'Nothing', x: 'a', id: '1' } }],
  ['of a type that it is not', NODE, { node: { __typename: 'Query', x: 'a', id: '1' } }],
  ['of the other type', NODE, { node: { __typename: 'Wallet', x: 'a', id: '1' } }],
  ['without its own fields', NODE, { node: { __typename: 'User', id: '1' } }],
  ['with another id', NODE, { node: { __typename: 'User', x: 'a', id: '2' } }],
];

function without(object, key) {
  const { [key]: _gone, ...rest } = object;
  return rest;
}

function judged([, text, data, errors = [], variables = {}]) {
  const document = parse(text);
  return misshapen(SCHEMA, { document, operation: document.definitions[0] }, variables, undefined, { data, errors });
}

export function proveShapes() {
  for (const one of GOOD) {
    const wrong = judged(one);
    if (wrong) throw new Error(`the judge of shapes refuses "${one[0]}": ${wrong}`);
  }
  for (const one of WRONG) {
    if (!judged(one)) throw new Error(`the judge of shapes lets "${one[0]}" pass`);
  }
}
