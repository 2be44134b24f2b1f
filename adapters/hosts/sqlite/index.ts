/**
 * Has a manager serve SQLite's shared library.
 *
 * @module
 */

import '../../../src/defaults.js';

export type { SlabUsage } from '../slabs/native-slabs.js';
export { SqliteHost, type SqliteHostOptions } from './sqlite-host.js';
