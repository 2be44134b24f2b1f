import { defineConfig } from 'vitest/config';
import whole from '../../vitest.config.js';

/**
 * What `npm run test:units` leaves out. Not unit tests: engines under a manager, whole processes explained, pages in a browser, the
 * docs' programs, benches, and what the packed tarball shows. Computed alike on every Node between the oldest and the newest, which run
 * all tests: managers and their contract, traces, reports, commands, a card's stand-in, predictions.
 */
const LEFT_OUT = [
  ...['hosts', 'explain', 'docs', 'bench', 'gpu'].map((folder) => `test/${folder}/**`),
  ...['cli', 'conformance', 'devices/gpu', 'managers', 'report', 'trace', 'whatif'].map((folder) => `test/${folder}/**`),
  'test/package/entry-points.test.ts',
];

// By a file of its own: --exclude says nothing to projects.
const projects = (whole.test?.projects ?? []).map((project) => {
  const { test, ...rest } = project as { readonly test: { readonly exclude: string[] } };
  return { ...rest, test: { ...test, exclude: [...test.exclude, ...LEFT_OUT] } };
});

/** The unit tests: what `npm run test:nodes` runs on each Node. */
export default defineConfig({ ...whole, test: { ...whole.test, projects } });
