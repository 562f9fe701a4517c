// Where in a document something stands, with the types around it: what mutators choose from.
import { TypeInfo, isCompositeType, getNamedType, visit, visitWithTypeInfo } from 'graphql';

// The nodes are those of `document` itself, so that a mutator changes them in place.
export function sites(schema, document) {
  const found = {
    fields: [],
    sets: [],
    spreads: [],
    inlines: [],
    args: [],
    literals: [],
    objects: [],
    directives: [],
    usages: [],
    conditional: [],
  };
  const info = new TypeInfo(schema);
  const owners = [];
  visit(
    document,
    visitWithTypeInfo(info, {
      enter(node, key, parent) {
        const owner = owners[owners.length - 1];
        switch (node.kind) {
          case 'OperationDefinition':
          case 'FragmentDefinition':
            owners.push(node);
            break;
          case 'VariableDefinition':
            return false;
          case 'SelectionSet':
            found.sets.push({ node, type: info.getParentType(), owner });
            break;
          case 'Field': {
            const definition = info.getFieldDef();
            const named = definition && getNamedType(definition.type);
            found.fields.push({
              node,
              parent: info.getParentType(),
              definition,
              named,
              composite: isCompositeType(named),
              siblings: parent,
              owner,
            });
            found.conditional.push(node);
            break;
          }
          case 'FragmentSpread':
            found.spreads.push({ node, parent: info.getParentType(), siblings: parent, owner });
            found.conditional.push(node);
            break;
          case 'InlineFragment':
            found.inlines.push({ node, owner });
            found.conditional.push(node);
            break;
          case 'Directive':
            found.directives.push({ node, siblings: parent });
            break;
          case 'Argument':
            found.args.push({
              node,
              definition: info.getArgument(),
              siblings: parent,
              ofDirective: info.getDirective() !== null && info.getDirective() !== undefined,
            });
            break;
          case 'ObjectValue':
            found.objects.push({ node, type: info.getInputType(), owner });
            found.literals.push({ node, type: info.getInputType(), holder: parent, key, owner });
            break;
          case 'Variable':
            found.usages.push({ node, type: info.getInputType(), owner });
            break;
          case 'ListValue':
          case 'IntValue':
          case 'FloatValue':
          case 'StringValue':
          case 'BooleanValue':
          case 'EnumValue':
          case 'NullValue':
            found.literals.push({ node, type: info.getInputType(), holder: parent, key, owner });
            break;
        }
        return undefined;
      },
      leave(node) {
        if (node.kind === 'OperationDefinition' || node.kind === 'FragmentDefinition') owners.pop();
      },
    }),
  );
  found.operations = document.definitions.filter((one) => one.kind === 'OperationDefinition');
  found.fragments = document.definitions.filter((one) => one.kind === 'FragmentDefinition');
  return found;
}
