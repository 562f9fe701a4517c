// Rules about operations, fragments and how they hang together (spec 5.2, 5.5.1, 5.5.2).
import { parse } from 'graphql';
import { field, fragment, inline, operation, selections, spread } from '../nodes.mjs';
import { add, composites, insert, insertDefinition, some, unknown } from './shared.mjs';

const typeDefinition = (text) => parse(text, { noLocation: true }).definitions[0];

export const structure = {
  ExecutableDefinitions: [
    ({ random, document }) =>
      add(
        document.definitions,
        typeDefinition(
          random.pick([
            'type Extra { a: Int }',
            'extend type Query { a: Int }',
            'scalar Extra',
            'enum Extra { A }',
            'input Extra { a: Int }',
            'directive @extra on FIELD',
            'union Extra = Job',
            'schema { query: Query }',
            'interface Extra { a: Int }',
          ]),
        ),
      ),
  ],
  UniqueOperationNames: [
    ({ random, document, found }) => {
      const [first] = found.operations;
      if (!first.name) return false;
      return insertDefinition(
        random,
        document,
        operation(random.pick(['query', 'mutation']), { title: first.name.value, set: [field('__typename')] }),
      );
    },
  ],
  LoneAnonymousOperation: [
    ({ random, document, found }) => {
      const anonymous = found.operations.find((one) => !one.name);
      const title = anonymous && random.chance(0.6) ? 'Other' : undefined;
      return insertDefinition(
        random,
        document,
        operation(random.pick(['query', 'query', 'mutation']), { title, set: [field('__typename')] }),
      );
    },
  ],
  UniqueFragmentNames: [
    ({ random, document, found }) => {
      const one = some(random, found.fragments);
      return one
        ? insertDefinition(
            random,
            document,
            fragment(one.name.value, one.typeCondition.name.value, [field('__typename')]),
          )
        : false;
    },
  ],
  KnownFragmentNames: [({ random, found }) => insert(random, random.pick(found.sets).node, spread(unknown(random)))],
  NoUnusedFragments: [
    ({ random, document, schema }) =>
      insertDefinition(
        random,
        document,
        fragment('Unused', random.pick(composites(schema)).name, [field('__typename')]),
      ),
    // Spread only by a fragment that nobody spreads.
    ({ random, document, schema }) => {
      const type = random.pick(composites(schema)).name;
      insertDefinition(random, document, fragment('UnusedOuter', type, [spread('UnusedInner')]));
      return insertDefinition(random, document, fragment('UnusedInner', type, [field('__typename')]));
    },
  ],
  NoFragmentCycles: [
    ({ random, found }) => {
      const one = some(random, found.fragments);
      return one ? insert(random, one.selectionSet, spread(one.name.value)) : false;
    },
    ({ random, document, found, schema }) => {
      const { node, type } = random.pick(found.sets);
      const length = random.int(1, 3);
      const titles = Array.from({ length }, (_, at) => `Cycle${at}`);
      titles.forEach((title, at) => {
        const next = spread(titles[(at + 1) % length]);
        const way = random.chance(0.3) ? inline(random.chance(0.5) ? type.name : undefined, [next]) : next;
        insertDefinition(random, document, fragment(title, type.name, random.shuffle([way, field('__typename')])));
      });
      return schema && insert(random, node, spread(titles[0]));
    },
    // Through a field: each level is another object.
    ({ random, document, found }) => {
      const places = found.sets.filter(({ type }) =>
        ['Job', 'Claim', 'Wallet', 'User', 'Transaction', 'Deliverable'].includes(type.name),
      );
      const place = some(random, places);
      if (!place) return false;
      const back = {
        Job: ['activeClaim', 'job'],
        Claim: ['job', 'activeClaim'],
        Wallet: ['owner', 'wallet'],
        User: ['wallet', 'owner'],
        Transaction: ['reverses'],
        Deliverable: ['claim', 'job', 'activeClaim'],
      }[place.type.name];
      if (place.type.name === 'Deliverable') {
        insertDefinition(
          random,
          document,
          fragment('Below', 'Deliverable', [
            field('claim', { set: [inline('Node', [field('__typename'), spread('Around')])] }),
          ]),
        );
        insertDefinition(
          random,
          document,
          fragment('Around', 'Node', [field('__typename'), inline('Deliverable', [spread('Below')])]),
        );
        return insert(random, place.node, spread('Below'));
      }
      const set = back.reduceRight((inner, one) => [field(one, { set: inner })], [spread('Below')]);
      insertDefinition(random, document, fragment('Below', place.type.name, set));
      return insert(random, place.node, spread('Below'));
    },
    // Nobody spreads the cycle.
    ({ random, document }) => insertDefinition(random, document, fragment('Alone', 'Job', [spread('Alone')])),
  ],
};

export const subscriptions = {
  SingleFieldSubscriptions: [
    ({ random, found, document, generator, schema }) => {
      const [made] = found.operations;
      const fields = Object.values(schema.getSubscriptionType().getFields());
      const second = random.chance(0.2)
        ? field('__typename')
        : generator.field(random.pick(fields), 1, { alias: 'second' });
      // It may use variables of its own.
      found.operations.forEach((one) => {
        one.variableDefinitions = generator.variables.nodes();
      });
      const way = random.int(0, 2);
      if (way === 0) return insert(random, made.selectionSet, second);
      if (way === 1)
        return insert(random, made.selectionSet, inline(random.chance(0.5) ? 'Subscription' : undefined, [second]));
      insertDefinition(random, document, fragment('SecondField', 'Subscription', [second]));
      return insert(random, made.selectionSet, spread('SecondField'));
    },
    // Introspection is no event.
    ({ found }) => {
      found.operations[0].selectionSet = selections([field('__typename')]);
      return true;
    },
  ],
};
