// A test that takes a minute on a quiet machine passes on one that is ten times slower.
/** What a test, a hook, a child process or a wait may take. */
export const LIMIT_MS = 600_000;
/** The same for the long programs of `npm run soak`. */
export const SOAK_LIMIT_MS = 3 * LIMIT_MS;
/**
 * What tests and the processes that they start have: no test reaches the network, and reading certificates takes longer than
 * Node's start.
 */
export const TEST_ENVIRONMENT = { NODE_EXTRA_CA_CERTS: '' };
