// Rules about variables (spec 5.8).
import { getNamedType, getNullableType, isListType } from 'graphql';
import { argument, definition, directive, field, name, nothing, operation, variable } from '../nodes.mjs';
import { declare, declareIn, declared, insertDefinition, nameOfType, replace, some } from './shared.mjs';

export const variables = {
  UniqueVariableNames: [
    ({ random, found }) => {
      const known = some(random, declared(found));
      return known
        ? declare(
            random,
            found,
            definition(known.variable.name.value, random.pick(['Int', 'String', known.type.name?.value ?? 'ID'])),
          )
        : false;
    },
  ],
  NoUndefinedVariables: [
    ({ random, found }) => {
      const known = some(
        random,
        found.operations.flatMap((one) => one.variableDefinitions.map((definition) => [one, definition])),
      );
      if (!known) return false;
      known[0].variableDefinitions = known[0].variableDefinitions.filter((one) => one !== known[1]);
      return true;
    },
    ({ random, found }) => {
      const place = some(random, found.literals);
      if (!place) return false;
      replace(place, variable('undefined'));
      return true;
    },
    ({ random, found }) => {
      const node = random.pick(found.conditional);
      if (node.directives.length > 0) return false;
      node.directives = [directive(random.pick(['skip', 'include']), [argument('if', variable('undefined'))])];
      return true;
    },
    // Only one of two operations defines what both use.
    ({ random, document, found }) => {
      const first = found.operations[0];
      if (!first.name || first.variableDefinitions.length === 0 || found.usages.length === 0) return false;
      return insertDefinition(random, document, {
        ...structuredClone(first),
        name: name('WithoutVariables'),
        variableDefinitions: [],
      });
    },
  ],
  NoUnusedVariables: [
    ({ random, found }) =>
      declare(
        random,
        found,
        definition(
          'unused',
          random.pick(['Int', 'String!', '[ID!]', 'JobFilter', 'Boolean']),
          random.chance(0.2) ? nothing() : undefined,
        ),
      ),
    // Used by the other operation.
    ({ random, document, found }) => {
      const first = found.operations[0];
      if (!first.name || first.variableDefinitions.length === 0) return false;
      const second = operation('query', {
        title: 'UsesNothing',
        variables: structuredClone(first.variableDefinitions),
        set: [field('__typename')],
      });
      return insertDefinition(random, document, second);
    },
  ],
  VariablesInAllowedPosition: [
    // Another type than declared.
    ({ random, found }) => {
      const known = some(random, declared(found));
      if (!known) return false;
      const before = nameOfType(known.type);
      const other = random.pick(
        ['Int', 'String', 'ID', 'Boolean', 'JobStatus', 'DateTime', 'JobFilter'].filter((one) => one !== before),
      );
      known.type = definition('x', known.type.kind === 'NonNullType' ? `${other}!` : other).type;
      delete known.defaultValue;
      return true;
    },
    // Nullable where null cannot be.
    ({ random, found }) => {
      const known = some(
        random,
        declared(found).filter((one) => one.type.kind === 'NonNullType'),
      );
      if (!known) return false;
      known.type = known.type.type;
      delete known.defaultValue;
      if (random.chance(0.3)) known.defaultValue = nothing();
      return true;
    },
    // A list where one is wanted, or one where a list is wanted.
    ({ random, found }) => {
      const known = some(random, declared(found));
      if (!known) return false;
      delete known.defaultValue;
      const inner = known.type.kind === 'NonNullType' ? known.type.type : known.type;
      known.type =
        inner.kind === 'ListType' ? inner.type : { kind: 'NonNullType', type: { kind: 'ListType', type: inner } };
      return true;
    },
    // A new variable in place of a literal: of its type but nullable, or of another.
    ({ random, found }) => {
      const place = some(
        random,
        found.literals.filter((one) => one.type && one.owner.kind === 'OperationDefinition'),
      );
      if (!place) return false;
      const text = String(place.type);
      const nullable = String(getNullableType(place.type));
      const items = isListType(getNullableType(place.type)) ? [`[${String(getNamedType(place.type))}]`] : [];
      const wanted = random.pick(
        ['Int', 'String!', 'ID!', '[Int!]', 'MoneyInput', 'Role!', nullable, ...items].filter((one) => one !== text),
      );
      replace(place, variable('misplaced'));
      return declareIn(random, place.owner, definition('misplaced', wanted));
    },
    ({ random, found }) => {
      const nodes = found.conditional.filter((node) => node.directives.length === 0);
      const node = some(random, nodes);
      if (!node) return false;
      node.directives = [directive(random.pick(['skip', 'include']), [argument('if', variable('condition'))])];
      found.operations.forEach((one) =>
        declareIn(random, one, definition('condition', random.pick(['Boolean', 'String!', '[Boolean!]!', 'Int']))),
      );
      return true;
    },
  ],
};
