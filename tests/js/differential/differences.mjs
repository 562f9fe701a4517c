// Where this server and graphql-js 16 may differ, and why. All of it; whatever is not here is a fault.
//
// Beside these, documents leave out what would be refused by a rule of ours that is no rule of GraphQL: two mutations of
// which a request may hold one (docs/api.md, "Limits"), and mutations that end the session they are sent with.

const validation = (expected) => expected.phase === 'validation';
// One is enough: a document may break several rules, and the server names the first that it comes to.
const hasError = (expected, text) => expected.errors.some((error) => text.test(error.message));

export const DIFFERENCES = [
  {
    name: 'limits',
    reason:
      'An operation may hold so many tokens, levels, fields, aliases and points (docs/api.md, "Limits"); graphql-js has no such limits. Bounded below: few documents may meet them.',
    applies: (expected, actual) => actual.phase === 'limit',
  },
  {
    name: 'which operation',
    reason:
      'A document without the operation that was asked for is refused with GRAPHQL_VALIDATION_FAILED; the specification has it between validation and execution (6.1) and names no code.',
    applies: (expected, actual) => expected.phase === 'operation' && ['validation', 'request'].includes(actual.phase),
  },
  {
    name: 'type definitions',
    reason:
      'graphql-js parses definitions of types and has ExecutableDefinitions refuse them. A service that only executes may have no grammar for them (2.2, ExecutableDocument) and call it a parse error.',
    applies: (expected, actual) =>
      validation(expected) &&
      actual.phase === 'parse' &&
      expected.errors.some((error) => /definition is not executable/.test(error.message)),
  },
  {
    name: 'literals of a wrong type',
    reason:
      'A value of a wrong type is BAD_USER_INPUT, whether it is a literal or came in a variable, so that clients treat both alike; nothing has run. graphql-js calls a literal a validation error (5.6) and a variable an error of the request (6.1.2).',
    applies: (expected, actual) =>
      validation(expected) &&
      actual.phase === 'variables' &&
      hasError(
        expected,
        /^(Expected value of type |(Enum "\w+"|Boolean|ID|Int|Float|String) cannot represent |Field "[\w.]+" (of required type "[^"]+" was not provided|is not defined by type))/,
      ),
  },
  {
    name: 'subscriptions that do not begin',
    reason:
      'The root of a subscription that fails (no token, a filter without sense) gives errors without data, so the answer does not tell it from a variable that was refused.',
    applies: (expected, actual, { kind }) =>
      kind === 'subscription' &&
      expected.phase === 'executed' &&
      actual.codes.every((code) => ['UNAUTHENTICATED', 'FORBIDDEN', 'BAD_USER_INPUT', 'CURSOR_EXPIRED'].includes(code)),
  },
];

// The rules that graphql-js adds to those of the specification.
export const NOT_IN_SPECIFICATION = ['MaxIntrospectionDepthRule'];

// Of all documents, how many may meet our limits.
export const LIMITED_SHARE = 0.03;

export function excuse(expected, actual, document) {
  return DIFFERENCES.find(({ applies }) => applies(expected, actual, document));
}
