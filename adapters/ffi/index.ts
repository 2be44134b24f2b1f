/**
 * What a host of your own is made of: libraries, callbacks that do not throw through C, memory for what must not fail.
 *
 * @module
 */

import '../../src/defaults.js';

export { EngineHost, type EngineHostOptions } from '../hosts/engine-host.js';
export { FallbackMemory } from '../hosts/fallback-memory.js';
export { type BlockOwner, GivenUpBlocks } from '../hosts/given-up-blocks.js';
export { NativeHost } from '../hosts/native-host.js';
export type { CFunction, CParameters, CReturn, CValues, CValuesOf } from './c-types.js';
export {
  type CArguments,
  type Callback,
  type CallbackSpec,
  type CallbackWatch,
  type CNumber,
  type CResult,
  type CType,
  type CTypes,
  callback,
} from './callback.js';
export { CallbackTable } from './callback-table.js';
export { cFunction, type LibraryOptions, NativeLibrary, openLibrary } from './library.js';
