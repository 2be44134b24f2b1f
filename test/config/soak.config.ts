import { defineConfig } from 'vitest/config';

// Long property-based programs, apart from the suite: `npm run soak`.
export default defineConfig({
  test: { include: ['test/soak/**/*.test.ts'], testTimeout: 1_200_000 },
});
