// Rules about arguments, values and directives (spec 5.4, 5.6, 5.7).
import {
  getNamedType,
  getNullableType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  isRequiredArgument,
  isRequiredInputField,
} from 'graphql';
import {
  argument,
  boolean,
  definition,
  directive,
  enumValue,
  field,
  float,
  int,
  list,
  nothing,
  object,
  string,
  variable,
} from '../nodes.mjs';
import { add, declareIn, declared, insert, nameOfType, replace, some } from './shared.mjs';

export const directives = {
  KnownDirectives: [
    ({ random, found }) => {
      random
        .pick(found.conditional)
        .directives.push(
          directive(random.pick(['unknown', 'Include', 'skipped', 'client', 'defer', 'stream', 'connection'])),
        );
      return true;
    },
    // Known, in another place.
    ({ random, found }) => {
      const [made] = found.operations;
      const places = [made, ...made.variableDefinitions, ...found.fragments];
      random.pick(places).directives.push(directive('include', [argument('if', boolean(true))]));
      return true;
    },
    ({ random, found }) => {
      random
        .pick(found.conditional)
        .directives.push(
          random.pick([directive('deprecated'), directive('specifiedBy', [argument('url', string('x'))])]),
        );
      return true;
    },
  ],
  UniqueDirectivesPerLocation: [
    ({ random, found }) => {
      const node = random.pick(found.conditional);
      const which = random.pick(['skip', 'include']);
      const made = () => directive(which, [argument('if', boolean(random.chance(0.5)))]);
      node.directives.push(made(), made());
      return true;
    },
  ],
};

export const args = {
  KnownArgumentNames: [
    ({ random, found }) => {
      const one = some(
        random,
        found.fields.filter(({ node }) => !node.name.value.startsWith('__') || random.chance(0.2)),
      );
      if (!one) return false;
      one.node.arguments.push(
        argument(
          random.pick(['nothing', 'ID', 'firs', 'input', 'name']),
          random.pick([int(1), nothing(), string('x'), list([])]),
        ),
      );
      return true;
    },
    ({ random, found }) => {
      const node = random.pick(found.conditional);
      if (node.directives.length > 0) return false;
      node.directives = [
        directive('include', [argument('if', boolean(true)), argument(random.pick(['unless', 'If']), boolean(true))]),
      ];
      return true;
    },
  ],
  UniqueArgumentNames: [
    ({ random, found }) => {
      const one = some(random, found.args);
      if (!one) return false;
      one.siblings.splice(random.int(0, one.siblings.length), 0, structuredClone(one.node));
      return true;
    },
    ({ random, found }) => {
      const node = random.pick(found.conditional);
      if (node.directives.length > 0) return false;
      node.directives = [
        directive('skip', [argument('if', boolean(false)), argument('if', boolean(random.chance(0.5)))]),
      ];
      return true;
    },
  ],
  ProvidedRequiredArguments: [
    ({ random, found }) => {
      const one = some(
        random,
        found.fields.filter(
          ({ node, definition }) =>
            definition &&
            node.arguments.some((arg) =>
              isRequiredArgument(definition.args.find((known) => known.name === arg.name.value)),
            ),
        ),
      );
      if (!one) return false;
      one.node.arguments = one.node.arguments.filter(
        (arg) => !isRequiredArgument(one.definition.args.find((known) => known.name === arg.name.value)),
      );
      return true;
    },
    ({ random, found }) => {
      const node = random.pick(found.conditional);
      if (node.directives.length > 0) return false;
      node.directives = [directive(random.pick(['skip', 'include']))];
      return true;
    },
  ],
  UniqueInputFieldNames: [
    ({ random, found }) => {
      const one = some(
        random,
        found.objects.filter(({ node }) => node.fields.length > 0),
      );
      if (!one) return false;
      const twice = random.pick(one.node.fields);
      one.node.fields.splice(random.int(0, one.node.fields.length), 0, structuredClone(twice));
      return true;
    },
    // In a default value.
    ({ random, found }) => {
      const filter = object([
        ['status', enumValue('OPEN')],
        ['clientId', string('a')],
        ['clientId', string('a')],
      ]);
      found.operations.forEach((one) => declareIn(random, one, definition('filter', 'JobFilter', filter)));
      const query = found.operations[0];
      if (query.operation !== 'query') return false;
      found.operations.forEach((one) =>
        insert(
          random,
          one.selectionSet,
          field('jobs', {
            alias: 'defaulted',
            args: [argument('filter', variable('filter')), argument('first', int(1))],
            set: [field('__typename')],
          }),
        ),
      );
      return true;
    },
  ],
};

// A literal of another kind than `type` wants; undefined where none comes to mind.
export function wrongLiteral(random, type) {
  if (isNonNullType(type) && random.chance(0.2)) return nothing();
  const nullable = getNullableType(type);
  if (isListType(nullable)) {
    const item = wrongLiteral(random, nullable.ofType);
    if (!item) return undefined;
    return item.kind === 'NullValue' || random.chance(0.7)
      ? list(random.shuffle([item, ...(random.chance(0.4) ? [item] : [])]))
      : item;
  }
  if (isInputObjectType(nullable))
    return random.pick([string('{}'), int(1), list([int(1)]), enumValue('A'), boolean(true)]);
  if (isEnumType(nullable)) {
    const known = nullable.getValues()[0].name;
    return random.pick([
      string(known),
      enumValue(known.toLowerCase()),
      enumValue('NOTHING'),
      int(0),
      boolean(true),
      object([]),
      list([list([enumValue(known)])]),
    ]);
  }
  switch (nullable.name) {
    case 'Int':
      return random.pick([
        string('1'),
        float('1.0'),
        float('1e3'),
        int('2147483648'),
        int('-2147483649'),
        int('99999999999999999999'),
        boolean(true),
        enumValue('one'),
        object([]),
        list([int(1)]),
      ]);
    case 'Boolean':
      return random.pick([string('true'), int(1), int(0), enumValue('TRUE'), object([]), list([boolean(true)])]);
    case 'String':
      return random.pick([int(1), float('1.5'), boolean(true), enumValue('word'), object([]), list([string('x')])]);
    case 'ID':
      return random.pick([
        float('1.5'),
        boolean(true),
        enumValue('job'),
        object([['id', string('x')]]),
        list([string('x')]),
      ]);
    case 'DateTime':
      return random.pick([
        int(1),
        string('yesterday'),
        boolean(true),
        enumValue('NOW'),
        string(''),
        string('2026-13-01T00:00:00Z'),
        object([]),
      ]);
    case 'Decimal':
      return random.pick([boolean(true), enumValue('ten'), object([]), list([string('1.00')])]);
    default:
      return random.pick([int(1), boolean(true), enumValue('USD'), object([])]);
  }
}

export const values = {
  ValuesOfCorrectType: [
    ({ random, found }) => {
      const place = some(
        random,
        found.literals.filter((one) => one.type),
      );
      const wrong = place && wrongLiteral(random, place.type);
      if (!wrong) return false;
      replace(place, wrong);
      return true;
    },
    // An unknown field of an input object.
    ({ random, found }) => {
      const one = some(
        random,
        found.objects.filter(({ type }) => isInputObjectType(getNamedType(type))),
      );
      return one
        ? add(
            one.node.fields,
            object([[random.pick(['nothing', 'ID', '__typename', 'Status']), random.pick([int(1), nothing()])]])
              .fields[0],
          )
        : false;
    },
    // A required field of an input object left out.
    ({ random, found }) => {
      const fits = found.objects.filter(
        ({ node, type }) => isInputObjectType(getNamedType(type)) && node.fields.some((one) => required(type, one)),
      );
      const one = some(random, fits);
      if (!one) return false;
      const gone = random.pick(one.node.fields.filter((each) => required(one.type, each)));
      one.node.fields = one.node.fields.filter((each) => each !== gone);
      return true;
    },
    // A default value of another type, in an operation that uses the variable.
    ({ random, found, schema }) => {
      const known = some(random, declared(found));
      if (!known) return false;
      const type = schema.getType(nameOfType(known.type));
      const wrong = known.type.kind === 'NonNullType' && random.chance(0.3) ? nothing() : wrongLiteral(random, type);
      if (!wrong || known.type.kind === 'ListType' || known.type.type?.kind === 'ListType') return false;
      known.defaultValue = wrong;
      return true;
    },
  ],
};

const required = (type, one) => {
  const known = getNamedType(type).getFields()[one.name.value];
  return known !== undefined && isRequiredInputField(known);
};
