// Short ways to write syntax trees.
import { Kind, parseType } from 'graphql';

export const name = (value) => ({ kind: Kind.NAME, value });

export const field = (fieldName, { alias, args = [], directives = [], set } = {}) => ({
  kind: Kind.FIELD,
  name: name(fieldName),
  ...(alias ? { alias: name(alias) } : {}),
  arguments: args,
  directives,
  ...(set ? { selectionSet: Array.isArray(set) ? selections(set) : set } : {}),
});

export const selections = (items) => ({ kind: Kind.SELECTION_SET, selections: items });

export const inline = (condition, set, directives = []) => ({
  kind: Kind.INLINE_FRAGMENT,
  ...(condition ? { typeCondition: namedType(condition) } : {}),
  directives,
  selectionSet: Array.isArray(set) ? selections(set) : set,
});

export const spread = (fragment, directives = []) => ({ kind: Kind.FRAGMENT_SPREAD, name: name(fragment), directives });

export const fragment = (fragmentName, condition, set, directives = []) => ({
  kind: Kind.FRAGMENT_DEFINITION,
  name: name(fragmentName),
  typeCondition: namedType(condition),
  directives,
  selectionSet: Array.isArray(set) ? selections(set) : set,
});

export const operation = (kind, { title, variables = [], directives = [], set }) => ({
  kind: Kind.OPERATION_DEFINITION,
  operation: kind,
  ...(title ? { name: name(title) } : {}),
  variableDefinitions: variables,
  directives,
  selectionSet: Array.isArray(set) ? selections(set) : set,
});

export const argument = (argumentName, value) => ({ kind: Kind.ARGUMENT, name: name(argumentName), value });

export const directive = (directiveName, args = []) => ({
  kind: Kind.DIRECTIVE,
  name: name(directiveName),
  arguments: args,
});

export const variable = (variableName) => ({ kind: Kind.VARIABLE, name: name(variableName) });

export const definition = (variableName, type, defaultValue, directives = []) => ({
  kind: Kind.VARIABLE_DEFINITION,
  variable: variable(variableName),
  type: parseType(String(type), { noLocation: true }),
  ...(defaultValue ? { defaultValue } : {}),
  directives,
});

export const namedType = (typeName) => ({ kind: Kind.NAMED_TYPE, name: name(typeName) });

export const int = (value) => ({ kind: Kind.INT, value: String(value) });
export const float = (value) => ({ kind: Kind.FLOAT, value: String(value) });
export const string = (value) => ({ kind: Kind.STRING, value });
export const boolean = (value) => ({ kind: Kind.BOOLEAN, value });
export const enumValue = (value) => ({ kind: Kind.ENUM, value });
export const nothing = () => ({ kind: Kind.NULL });
export const list = (values) => ({ kind: Kind.LIST, values });
export const object = (fields) => ({
  kind: Kind.OBJECT,
  fields: fields.map(([key, value]) => ({ kind: Kind.OBJECT_FIELD, name: name(key), value })),
});
export const document = (definitions) => ({ kind: Kind.DOCUMENT, definitions });
