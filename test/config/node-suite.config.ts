import { inFolders, withoutTests } from './without-tests.js';

/** The suite on a second Node: without what runs in a browser, and the site, which no program of a user's makes. */
export default withoutTests([...inFolders('report/page'), 'test/docs/site.test.ts']);
