/**
 * Has a manager serve ArrayFire, by its own memory-manager interface.
 *
 * @module
 */

import '../../../src/defaults.js';

export { ArrayFireHost, type ArrayFireHostOptions } from './arrayfire-host.js';
export type { ArrayFireLibraryOptions } from './arrayfire-library.js';
