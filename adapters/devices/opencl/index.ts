/**
 * The memory of OpenCL devices: shared virtual memory that managers divide, buffers, maps and streams.
 *
 * @module
 */

export { type BufferCopyOptions, OpenClBuffer } from './opencl-buffer.js';
export { OpenClDevice, type OpenClHandles } from './opencl-device.js';
export type { OpenClFacts } from './opencl-facts.js';
export { loadOpenCl, type OpenClFunctions } from './opencl-functions.js';
export { type MapAccess, OpenClMapping } from './opencl-mapping.js';
export type { OpenClStreams } from './opencl-streams.js';
export type { OpenClDeviceOptions } from './opened-devices.js';
