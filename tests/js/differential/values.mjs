// Values for arguments and variables: literals with variables in any place, and their JSON. All of them can be coerced
// to the type they are made for, unless a mutator (mutate.mjs, variables.mjs) breaks them afterwards.
import {
  GraphQLNonNull,
  getNullableType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  isRequiredInputField,
  isTypeSubTypeOf,
} from 'graphql';
import { boolean, definition, enumValue, float, int, list, nothing, object, string, variable } from './nodes.mjs';

const WORDS = [
  'rust',
  'logo',
  'a',
  'Port a billing service',
  'key-1',
  '',
  ' ',
  'naïve café',
  'ロゴ',
  '\u{1F600}',
  'a\u{1F468}\u200D\u{1F469}b',
  'x\u{10FFFF}y',
  '\u{10000}',
  'say "no"',
  'back\\slash',
  'two\nlines',
  '  indented\n    more\n  less',
  'tab\there',
  '\b\f',
  'a/b',
  '"""',
  '\uFEFF',
  '# no comment',
  '{ $x: 1 }',
  '\u007f',
  '\u2028',
  '\\u0041',
  'C++',
  'true',
  'null',
  '1',
];

const MOMENTS = [
  '2026-11-21T09:30:00.000Z',
  '2026-01-01T00:00:00Z',
  '2025-12-31T23:59:59.999+01:00',
  '2030-06-01T12:00:00-08:00',
];

// Everything an operation says about its variables, and what is sent for them.
export class Variables {
  constructor(random, pools, { often = 0.25 } = {}) {
    Object.assign(this, { random, pools, often });
    this.definitions = new Map();
    this.sent = {};
    this.count = 0;
  }

  nodes() {
    const { random } = this;
    return random
      .shuffle([...this.definitions.values()])
      .map(({ name, type, defaultValue }) => definition(name, type, defaultValue));
  }

  // A variable that may stand where `type` is expected, new or used before.
  use(schema, type, locationHasDefault, hint) {
    const { random } = this;
    const fitting = [...this.definitions.values()].filter((known) => mayStand(schema, known, type, locationHasDefault));
    if (fitting.length > 0 && random.chance(0.3)) return variable(random.pick(fitting).name);
    return variable(this.declare(schema, type, locationHasDefault, hint).name);
  }

  declare(schema, type, locationHasDefault, hint) {
    const { random } = this;
    const made = {
      name: random.pick(['v', 'input', 'id', 'on', 'type', 'V_', '_']) + this.count,
      defaultValue: undefined,
    };
    this.count += 1;
    const nullable = getNullableType(type);
    const constant = () => literal(this, schema, nullable, { hint, constant: true });
    if (isNonNullType(type)) {
      made.type = type;
      if (random.chance(0.3)) {
        made.type = nullable;
        made.defaultValue = constant();
      } else if (locationHasDefault && random.chance(0.5)) {
        made.type = nullable;
      } else if (random.chance(0.15)) {
        made.defaultValue = constant();
      }
    } else {
      made.type = random.chance(0.25) ? new GraphQLNonNull(nullable) : stricter(random, nullable);
      if (random.chance(0.3)) {
        const mayBeNull = !isNonNullType(made.type);
        made.defaultValue = mayBeNull && random.chance(0.2) ? nothing() : constant();
      }
    }
    this.definitions.set(made.name, made);
    this.send(schema, made, type, hint);
    return made;
  }

  send(schema, { name, type, defaultValue }, location, hint) {
    const { random } = this;
    const mayBeLeftOut = !isNonNullType(type) || defaultValue !== undefined;
    if (mayBeLeftOut && random.chance(0.35)) return;
    // Null where the location cannot be null is an error of the field, while it runs (spec 6.4.1). For a condition
    // graphql-js and the specification differ on what it is; see cases.mjs.
    const mayBeNull = !isNonNullType(type) && hint !== 'if' && (!isNonNullType(location) || random.chance(0.15));
    this.sent[name] = mayBeNull && random.chance(0.15) ? null : json(this, getNullableType(type), hint);
  }
}

// AreTypesCompatible and IsVariableUsageAllowed (spec 5.8.5).
export function mayStand(schema, { type, defaultValue }, location, locationHasDefault) {
  if (isNonNullType(location) && !isNonNullType(type)) {
    const hasDefault = defaultValue !== undefined && defaultValue.kind !== 'NullValue';
    return (hasDefault || locationHasDefault) && isTypeSubTypeOf(schema, type, location.ofType);
  }
  return isTypeSubTypeOf(schema, type, location);
}

// `[T]` in a variable may be `[T!]` where `[T]` is wanted.
function stricter(random, type) {
  if (!isListType(type) || isNonNullType(type.ofType) || random.chance(0.5)) return type;
  return new type.constructor(new GraphQLNonNull(type.ofType));
}

// A literal. `constant` leaves variables out, as in default values.
export function literal(variables, schema, type, options = {}) {
  const { hint = '', constant = false, locationHasDefault = false, depth = 0, never = false } = options;
  const { random } = variables;
  if (!constant && random.chance(depth > 0 ? variables.often * 0.7 : variables.often)) {
    return variables.use(schema, type, locationHasDefault, hint);
  }
  if (!isNonNullType(type) && !never && depth > 0 && random.chance(0.04)) return nothing();
  const nullable = getNullableType(type);
  const inner = (of, more) => literal(variables, schema, of, { hint, constant, depth: depth + 1, ...more });
  if (isListType(nullable)) {
    // One value stands for a list of one. No variable: its type would be compared with the list's; and null is the list.
    if (random.chance(0.2)) return inner(getNullableType(nullable.ofType), { constant: true, never: true });
    return list(Array.from({ length: random.int(0, 3) }, () => inner(nullable.ofType)));
  }
  if (isInputObjectType(nullable)) {
    const fields = Object.values(nullable.getFields()).filter((one) => isRequiredInputField(one) || random.chance(0.4));
    const value = (one) => inner(one.type, { hint: one.name, locationHasDefault: one.defaultValue !== undefined });
    return object(random.shuffle(fields).map((one) => [one.name, value(one)]));
  }
  if (isEnumType(nullable)) return enumValue(random.pick(nullable.getValues()).name);
  return scalarLiteral(variables, nullable.name, hint);
}

function scalarLiteral(variables, typeName, hint) {
  const value = scalarJson(variables, typeName, hint);
  if (typeName === 'ID' && typeof value === 'number') return int(value);
  if (typeName === 'Int') return int(value);
  if (typeName === 'Boolean') return boolean(value);
  if (typeName === 'Decimal' && typeof value === 'number') return Number.isInteger(value) ? int(value) : float(value);
  return string(value);
}

// JSON of a type that is not null itself, unless `mayBeNull`.
export function json(variables, type, hint = '', mayBeNull = false) {
  const { random } = variables;
  if (mayBeNull && !isNonNullType(type) && random.chance(0.08)) return null;
  const nullable = getNullableType(type);
  if (isListType(nullable)) {
    if (random.chance(0.2)) return json(variables, nullable.ofType, hint);
    return Array.from({ length: random.int(0, 3) }, () => json(variables, nullable.ofType, hint, true));
  }
  if (isInputObjectType(nullable)) {
    const fields = Object.values(nullable.getFields()).filter((one) => isRequiredInputField(one) || random.chance(0.4));
    return Object.fromEntries(
      random.shuffle(fields).map((one) => [one.name, json(variables, one.type, one.name, true)]),
    );
  }
  if (isEnumType(nullable)) return random.pick(nullable.getValues()).name;
  return scalarJson(variables, nullable.name, hint);
}

function scalarJson({ random, pools }, typeName, hint) {
  switch (typeName) {
    case 'Int':
      if (hint === 'first' || hint === 'last')
        return random.weighted([
          [20, random.int(1, 3)],
          [1, 0],
          [1, -1],
          [1, 101],
        ]);
      return random.pick([0, 1, 2, 3, -1, 2147483647, -2147483648]);
    case 'Boolean':
      return random.chance(0.5);
    case 'ID':
      return random.weighted([
        [12, identifier(random, pools, hint)],
        [1, random.int(0, 99)],
        [1, random.pick(WORDS)],
      ]);
    case 'DateTime':
      return random.pick(MOMENTS);
    case 'Decimal':
      return random.weighted([
        [8, random.pick(['1.00', '0.50', '25.00', '-1', 'abc', ''])],
        [1, 12],
        [1, 0.5],
      ]);
    case 'CurrencyCode':
      return random.pick(['USD', 'USD', 'USD', 'EUR', 'usd']);
    case 'URL':
      return random.pick(['https://example.com/a.png', 'http://example.com', 'not a url']);
    default:
      // A subscription is told what happened since the beginning, so that it has something to tell at once.
      if (hint === 'after' && pools.replay) return pools.replay;
      if (/^(after|before)$/.test(hint))
        return random.chance(0.7) && pools.cursors.length ? random.pick(pools.cursors) : random.pick(WORDS);
      if (/skill|prefix/i.test(hint)) return random.pick(['rust', 'graphql', 'logo-design', 'nothing', 'r']);
      if (hint === 'query') return random.pick(['rust', 'logo', 'api', 'shop', '']);
      if (hint === 'idempotencyKey') return `diff-${random.int(0, 1e9)}`;
      return random.pick(WORDS);
  }
}

function identifier(random, pools, hint) {
  const kind = {
    jobId: 'jobs',
    claimId: 'claims',
    deliverableId: 'deliverables',
    clientId: 'users',
    userId: 'users',
    transactionId: 'transactions',
  }[hint];
  if (kind && pools[kind]?.length && random.chance(0.8)) return random.pick(pools[kind]);
  return pools.ids.length ? random.pick(pools.ids) : 'job_unknown';
}
