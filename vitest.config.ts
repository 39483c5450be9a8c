import { defineConfig } from 'vitest/config';

/** Most of the time tests wait for something. */
const WORKERS = 2;

/**
 * One tier of tests: `test/<name>/`. What the servers of a tier are is written in test/kit/global.ts. `groupOrder`: tiers of a
 * higher one come when all others are through. `maxWorkers`: so many of its files run at the same time.
 */
function tier(name: string, timeoutS: number, globalSetup: string[] = [], groupOrder = 0, maxWorkers = WORKERS) {
  return {
    extends: true as const,
    test: {
      name,
      include: [`test/${name}/**/*.test.ts`],
      testTimeout: timeoutS * 1000,
      hookTimeout: Math.max(timeoutS, 60) * 1000,
      globalSetup,
      maxWorkers,
      sequence: { groupOrder },
    },
  };
}

const servers = ['test/kit/global.ts'];

export default defineConfig({
  test: {
    // The Temporal SDK's native part does not survive worker threads that come and go.
    pool: 'forks',
    passWithNoTests: true,
    teardownTimeout: 20_000, // servers are ended, and their data removed
    projects: [
      tier('unit', 5),
      tier('workflow', 30, servers),
      tier('replay', 30, servers),
      tier('e2e', 60, servers),
      tier('asterisk', 60, servers),
      tier('reliability', 60, servers, 1),
      // Last and one by one: each leaves the machine no rest.
      tier('storm', 60, servers, 2, 1),
    ],
  },
});
