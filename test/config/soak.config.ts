import { defineConfig } from 'vitest/config';
import { SOAK_LIMIT_MS, TEST_ENVIRONMENT } from './limits.js';

// Long property-based programs, apart from the suite: `npm run soak`.
export default defineConfig({
  test: {
    include: ['test/soak/**/*.test.ts'],
    env: TEST_ENVIRONMENT,
    testTimeout: SOAK_LIMIT_MS,
    hookTimeout: SOAK_LIMIT_MS,
    // Those that wait for processes of their own, each of which has one thread that works.
    maxConcurrency: 2,
  },
});
