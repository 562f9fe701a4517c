// Rules about fields and the types that they are selected on (spec 5.3, 5.5).
import {
  doTypesOverlap,
  getNamedType,
  isAbstractType,
  isCompositeType,
  isInterfaceType,
  isObjectType,
  isUnionType,
} from 'graphql';
import { definition, field, fragment, inline, namedType, selections, spread } from '../nodes.mjs';
import { composites, declare, insert, insertDefinition, some, unknown } from './shared.mjs';

export const types = {
  KnownTypeNames: [
    ({ random, found }) => insert(random, random.pick(found.sets).node, inline(unknown(random), [field('__typename')])),
    ({ random, found }) => {
      const one = some(random, found.fragments);
      if (!one) return false;
      one.typeCondition = namedType(unknown(random));
      return true;
    },
    ({ random, found }) => {
      const kind = unknown(random);
      return declare(
        random,
        found,
        definition('unknown', random.pick([kind, `${kind}!`, `[${kind}]`, `[[${kind}!]!]!`])),
      );
    },
  ],
  FragmentsOnCompositeTypes: [
    ({ random, found }) =>
      insert(
        random,
        random.pick(found.sets).node,
        inline(random.pick(['String', 'JobStatus', 'MoneyInput', 'DateTime', 'Boolean', 'JobFilter']), [
          field('__typename'),
        ]),
      ),
    ({ random, document, found }) => {
      insertDefinition(
        random,
        document,
        fragment('OnLeaf', random.pick(['ID', 'Role', 'JobPatch', 'Decimal', 'Int']), [field('__typename')]),
      );
      return insert(random, random.pick(found.sets).node, spread('OnLeaf'));
    },
  ],
  VariablesAreInputTypes: [
    ({ random, found }) => {
      const kind = random.pick(['Job', 'Node', 'JobStepError', 'Query', 'JobConnection', 'UserError']);
      return declare(random, found, definition('output', random.pick([kind, `${kind}!`, `[${kind}!]!`])));
    },
  ],
  ScalarLeafs: [
    ({ random, found }) => {
      const leaf = some(
        random,
        found.fields.filter((one) => !one.composite),
      );
      if (!leaf) return false;
      leaf.node.selectionSet = selections([field(random.pick(['__typename', 'id', 'length']))]);
      return true;
    },
    ({ random, found }) => {
      const composite = some(
        random,
        found.fields.filter((one) => one.composite),
      );
      if (!composite) return false;
      delete composite.node.selectionSet;
      return true;
    },
  ],
  FieldsOnCorrectType: [
    ({ random, found }) =>
      insert(
        random,
        random.pick(found.sets).node,
        field(
          random.pick(['nothing', 'ID', '__type_name', '__typeName', 'titel', 'on', 'query']),
          random.chance(0.3) ? { set: [field('id')] } : {},
        ),
      ),
    // A field of another type.
    ({ random, schema, found }) => {
      const { node, type } = random.pick(found.sets);
      const known = isUnionType(type) ? [] : Object.keys(type.getFields());
      const others = composites(schema)
        .filter((other) => !isUnionType(other))
        .flatMap((other) => Object.values(other.getFields()));
      const foreign = random.pick(others.filter((one) => !known.includes(one.name)));
      return insert(
        random,
        node,
        field(foreign.name, isCompositeType(getNamedType(foreign.type)) ? { set: [field('__typename')] } : {}),
      );
    },
    // A field of what implements it, on the interface or union itself.
    ({ random, schema, found }) => {
      const place = some(
        random,
        found.sets.filter(({ type }) => isAbstractType(type)),
      );
      if (!place) return false;
      const own = isInterfaceType(place.type) ? Object.keys(place.type.getFields()) : [];
      const concrete = Object.values(random.pick(schema.getPossibleTypes(place.type)).getFields());
      const one = some(
        random,
        concrete.filter((other) => !own.includes(other.name)),
      );
      return one
        ? insert(
            random,
            place.node,
            field(one.name, isCompositeType(getNamedType(one.type)) ? { set: [field('__typename')] } : {}),
          )
        : false;
    },
    // Introspection stands at the root of a query alone.
    ({ random, found }) => {
      const place = some(
        random,
        found.sets.filter(({ type }) => type.name !== 'Query'),
      );
      return place ? insert(random, place.node, field('__schema', { set: [field('__typename')] })) : false;
    },
  ],
  PossibleFragmentSpreads: [
    ({ random, schema, found }) => {
      const { node, type } = random.pick(found.sets);
      const strange = random.pick(composites(schema).filter((other) => !doTypesOverlap(schema, type, other)));
      return insert(random, node, inline(strange.name, [field('__typename')]));
    },
    ({ random, schema, document, found }) => {
      const { node, type } = random.pick(found.sets);
      const strange = random.pick(composites(schema).filter((other) => !doTypesOverlap(schema, type, other)));
      insertDefinition(random, document, fragment('Strange', strange.name, [field('__typename')]));
      return insert(random, node, random.chance(0.3) ? inline(undefined, [spread('Strange')]) : spread('Strange'));
    },
    // Each step is possible from the one before and the last is not from the first: an object inside another.
    ({ random, schema, found }) => {
      const place = some(
        random,
        found.sets.filter(({ type }) => isObjectType(type) && type.getInterfaces().length > 0),
      );
      if (!place) return false;
      const [between] = place.type.getInterfaces();
      const other = random.pick(schema.getPossibleTypes(between).filter((one) => one !== place.type));
      const inner = inline(other.name, [field('__typename')]);
      // Valid through the interface; invalid without it.
      return insert(random, place.node, random.chance(0.5) ? inner : inline(place.type.name, [inner]));
    },
  ],
};
