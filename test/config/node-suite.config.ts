import { inFolders, withoutTests } from './without-tests.js';

/**
 * The suite on a second Node: without what runs in a browser, the site, which no program of a user's makes, engines that are compiled
 * for the first Node, and failing OpenCL calls, where once an event was given back sooner, for a reason not yet found.
 */
export default withoutTests([
  ...inFolders('report/page'),
  'test/docs/site.test.ts',
  'test/explain/engines.test.ts',
  'test/devices/opencl/opencl-failures.test.ts',
]);
