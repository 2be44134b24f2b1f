import { inFolders, withoutTests } from './without-tests.js';

/**
 * The suite on a second Node: without what runs in a browser, the site, which no program of a user's makes, and engines to be explained,
 * one of which is compiled for the first Node.
 */
export default withoutTests([...inFolders('report/page'), 'test/docs/site.test.ts', 'test/explain/engines.test.ts']);
