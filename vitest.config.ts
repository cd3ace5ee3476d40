import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: [
            'src/**/*.test.ts',
            'test/property/**/*.test.ts',
            'test/conformance/**/*.test.ts',
            'test/contract/**/*.test.ts',
            'test/power-loss/**/*.test.ts',
            'test/simulation/**/*.test.ts',
            'test/hostile/**/*.test.ts',
            'examples/**/*.test.ts',
            'web/**/*.test.ts',
          ],
          // No module has state of its own, so files may share a worker.
          isolate: false,
          testTimeout: 30_000,
          hookTimeout: 30_000,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts', 'test/browser/**/*.test.ts'],
          // Each runs a whole cluster, and some check how long things take.
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
