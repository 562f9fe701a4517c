// Seeds whose documents `make test` asks. A seed that once found a fault goes here.
export const SEEDS = ['1', '2'];
