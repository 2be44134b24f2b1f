import { defineConfig } from 'vitest/config';
import { SOAK_LIMIT_MS, TEST_ENVIRONMENT } from './limits.js';
import { searchFiles, WHOLE_SEARCH } from './search.js';

// Long property-based programs, apart from the suite, and the searches of the suite in whole: `npm run soak`.
export default defineConfig({
  test: {
    include: ['test/soak/**/*.test.ts', ...searchFiles('test')],
    env: { ...TEST_ENVIRONMENT, ...WHOLE_SEARCH },
    testTimeout: SOAK_LIMIT_MS,
    hookTimeout: SOAK_LIMIT_MS,
    // Those that wait for processes of their own, each of which has one thread that works.
    maxConcurrency: 2,
  },
});
