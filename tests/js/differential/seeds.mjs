// Seeds whose documents `make test` asks: COUNT of them, the same number of each seed.
export const SEEDS = ['1', '2'];

// Single documents of other seeds that once found a fault, as `seed:index`.
export const FOUND = [];
