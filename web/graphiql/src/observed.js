// A value outside of React that components follow.

import { useSyncExternalStore } from 'react';

export function observed(initial) {
  let value = initial;
  const listeners = new Set();
  return {
    get: () => value,
    set(next) {
      value = next;
      listeners.forEach((listener) => listener());
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

export const useObserved = (store) => useSyncExternalStore(store.subscribe, store.get);
