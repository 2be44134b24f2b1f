import '../../../src/defaults.js';

export { SqliteHost, type SqliteHostOptions } from './sqlite-host.js';
