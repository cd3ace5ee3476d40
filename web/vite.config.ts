import { defineConfig } from 'vite';

/** The page is served below `/dashboard/` and loads nothing from elsewhere; nothing is inlined, as its policy forbids that. */
export default defineConfig({
  root: import.meta.dirname,
  base: '/dashboard/',
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: { outDir: '../dist/web', emptyOutDir: true, assetsInlineLimit: 0, modulePreload: { polyfill: false } },
  logLevel: 'warn',
});
