// guard.js: the version guard. It stands between the network and the cache and knows the newest value of every field
// of every object that has an `id` and a `version`. What comes late or again is given those values before it is written.

const isObject = (value) => typeof value === 'object' && value !== null;
// A page of a list depends on arguments, which an answer does not show: pages are passed on as they are.
const isPage = (value) => isObject(value) && ['pageInfo', 'edges', 'nodes'].some((key) => key in value);
// Whether `known` has all that was asked for, so that it can stand in the place of `asked`.
const covers = (known, asked) => {
  if (!isObject(known) || !isObject(asked)) return known === null || !isObject(asked);
  if (Array.isArray(asked)) return known.every((item) => covers(item, asked[0]));
  return Object.keys(asked).every((key) => key in known && covers(known[key], asked[key]));
};

export function createGuard({ objects = 20_000 } = {}) {
  const seen = new Map(); // id -> Map(field -> { version, value }), the object that was seen longest ago first

  const remembered = (id) => {
    const fields = seen.get(id) ?? new Map();
    seen.delete(id);
    seen.set(id, fields);
    if (seen.size > objects) seen.delete(seen.keys().next().value);
    return fields;
  };

  const newest = (value) => {
    if (Array.isArray(value)) return value.map(newest);
    if (!isObject(value)) return value;
    const versioned = typeof value.id === 'string' && typeof value.version === 'number';
    const fields = versioned ? remembered(value.id) : new Map();
    return Object.fromEntries(
      Object.entries(value).map(([key, field]) => {
        const known = fields.get(key);
        if (known?.version > value.version) return [key, newest(covers(known.value, field) ? known.value : field)];
        if (versioned && !isPage(field)) fields.set(key, { version: value.version, value: field });
        return [key, newest(field)];
      }),
    );
  };

  return (result) => (result?.data ? { ...result, data: newest(result.data) } : result);
}
