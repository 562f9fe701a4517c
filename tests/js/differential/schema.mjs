// The schema under test, as graphql-js sees it: schema.graphql of this repository with the input coercion of our
// custom scalars added, since SDL does not say it. src/graphql/scalars.rs is what they follow.
import { readFileSync } from 'node:fs';
import { GraphQLError, Kind, buildSchema } from 'graphql';

const FILE = new URL('../../../schema.graphql', import.meta.url);

const bytes = (text) => Buffer.byteLength(text, 'utf8');

// Only clear cases are generated: what lies between (a lower-case `t`, a leap second) is tested elsewhere.
const MOMENT = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;

const SCALARS = {
  DateTime: {
    literals: [Kind.STRING],
    accepts: (value) => typeof value === 'string' && MOMENT.test(value) && !Number.isNaN(Date.parse(value)),
  },
  // A number is taken, so that the domain can refuse it with its path as an InputError.
  Decimal: {
    literals: [Kind.STRING, Kind.INT, Kind.FLOAT],
    accepts: (value) => typeof value === 'number' || (typeof value === 'string' && bytes(value) <= 64),
  },
  CurrencyCode: { literals: [Kind.STRING], accepts: (value) => typeof value === 'string' && bytes(value) <= 64 },
  URL: { literals: [Kind.STRING], accepts: (value) => typeof value === 'string' && bytes(value) <= 4096 },
};

export function loadSchema() {
  const schema = buildSchema(readFileSync(FILE, 'utf8'));
  const custom = Object.values(schema.getTypeMap()).filter(
    (type) => type.astNode?.kind === Kind.SCALAR_TYPE_DEFINITION,
  );
  for (const scalar of custom) {
    const rule = SCALARS[scalar.name];
    // Input coercion that nobody wrote down here would be guessed, and the test would prove nothing about it.
    if (!rule) throw new Error(`tests/js/differential/schema.mjs does not know the scalar ${scalar.name}`);
    const refused = () => new GraphQLError(`not a ${scalar.name}`);
    scalar.parseValue = (value) => {
      if (!rule.accepts(value)) throw refused();
      return value;
    };
    scalar.parseLiteral = (node) => {
      const value = node.kind === Kind.INT || node.kind === Kind.FLOAT ? Number(node.value) : node.value;
      if (!rule.literals.includes(node.kind) || !rule.accepts(value)) throw refused();
      return value;
    };
  }
  return schema;
}
