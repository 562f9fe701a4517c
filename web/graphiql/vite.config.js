import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

import { compressed } from './compressed.js';

export default defineConfig({
  // Where the server serves what is built here: src/http/assets.rs.
  base: '/assets/graphiql/',
  build: {
    outDir: 'dist',
    emptyOutDir: true,
    // No folder below the base: the server knows files, not folders.
    assetsDir: '',
    // Fonts and icons as files: the page's policy names our own origin, and a file is cached.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: 'es2022',
    // The editor is large and comes whole; there is nothing to warn of.
    chunkSizeWarningLimit: 8_000,
    rolldownOptions: {
      // Directives of React's compiler, which has compiled those files before they were published.
      onLog: (level, log, handle) => log.code === 'MODULE_LEVEL_DIRECTIVE' || handle(level, log),
    },
  },
  worker: { format: 'es' },
  plugins: [react(), compressed()],
});
