export { CallbackTable } from '../../ffi/callback-table.js';
export { NativeLibrary } from '../../ffi/library.js';
export { EngineHost, type EngineHostOptions } from '../engine-host.js';
export { GgmlContext } from './ggml-context.js';
export { GgmlHost, type GgmlHostOptions } from './ggml-host.js';
