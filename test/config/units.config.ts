import { inFolders, withoutTests } from './without-tests.js';

/**
 * The unit tests: what `npm run test:nodes` runs on each Node. Not unit tests: engines under a manager, whole processes explained, pages
 * in a browser, the docs' programs, benches, and what the packed tarball shows. Computed alike on every Node between the oldest and the
 * newest: managers and their contract, traces, reports, commands, a card's stand-in, predictions.
 */
export default withoutTests([
  ...inFolders('hosts', 'explain', 'docs', 'bench', 'gpu'),
  ...inFolders('cli', 'conformance', 'devices/gpu', 'managers', 'report', 'trace', 'whatif'),
  'test/package/entry-points.test.ts',
]);
