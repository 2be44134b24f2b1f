export { CallbackTable } from '../../ffi/callback-table.js';
export { NativeLibrary } from '../../ffi/library.js';
export { ArrayFireHost, type ArrayFireHostOptions } from './arrayfire-host.js';
export { type AfFunction, ArrayFireLibrary, type ArrayFireLibraryOptions } from './arrayfire-library.js';
