import { openLibrary } from '../../ffi/library.js';

/** The address of an OpenCL object. */
type Handle = number;
/** Where a call leaves 64-bit numbers: handles, sizes. */
type Words = BigUint64Array;
/** Where a call leaves its status. */
type Status = Int32Array;
/** A 64-bit number of flags, or an address or size. */
type Bits = number;
/** The three last arguments of an enqueue: how many events to wait for, which, and where to leave the own one. */
type Events = [waitCount: number, waitFor: Words | null, event: Words | null];

/** The functions of OpenCL 2.0 that a device uses, by their C names. Each that gives an `int` gives a status. */
export interface OpenClFunctions {
  clGetPlatformIDs(room: number, platforms: Words | null, count: Uint32Array | null): number;
  clGetPlatformInfo(platform: Handle, what: number, room: number, value: Uint8Array | null, bytes: Words | null): number;
  clGetDeviceIDs(platform: Handle, types: Bits, room: number, devices: Words | null, count: Uint32Array | null): number;
  clGetDeviceInfo(device: Handle, what: number, room: number, value: Uint8Array | null, bytes: Words | null): number;
  clCreateContext(properties: Words, count: number, devices: Words, notify: 0, data: 0, status: Status): Handle;
  clReleaseContext(context: Handle): number;
  clCreateCommandQueueWithProperties(context: Handle, device: Handle, properties: null, status: Status): Handle;
  clReleaseCommandQueue(queue: Handle): number;
  clFlush(queue: Handle): number;
  clFinish(queue: Handle): number;
  clSVMAlloc(context: Handle, flags: Bits, bytes: number, alignment: number): number;
  clSVMFree(context: Handle, address: number): void;
  clEnqueueSVMMemcpy(queue: Handle, blocking: 0 | 1, target: number, source: number, bytes: number, ...events: Events): number;
  clEnqueueSVMMemFill(
    queue: Handle,
    address: number,
    pattern: Uint8Array,
    patternBytes: number,
    bytes: number,
    ...events: Events
  ): number;
  clEnqueueSVMMap(queue: Handle, blocking: 0 | 1, flags: Bits, address: number, bytes: number, ...events: Events): number;
  clEnqueueSVMUnmap(queue: Handle, address: number, ...events: Events): number;
  clEnqueueMarkerWithWaitList(queue: Handle, ...events: Events): number;
  clEnqueueBarrierWithWaitList(queue: Handle, ...events: Events): number;
  clWaitForEvents(count: number, events: Words): number;
  clGetEventInfo(event: Handle, what: number, room: number, value: Int32Array, bytes: null): number;
  clReleaseEvent(event: Handle): number;
  clCreateBuffer(context: Handle, flags: Bits, bytes: number, host: number, status: Status): Handle;
  clCreateSubBuffer(buffer: Handle, flags: Bits, kind: number, region: Words, status: Status): Handle;
  clReleaseMemObject(buffer: Handle): number;
  clEnqueueWriteBuffer(
    queue: Handle,
    buffer: Handle,
    blocking: 0 | 1,
    offset: number,
    bytes: number,
    source: Uint8Array,
    ...events: Events
  ): number;
  clEnqueueReadBuffer(
    queue: Handle,
    buffer: Handle,
    blocking: 0 | 1,
    offset: number,
    bytes: number,
    target: Uint8Array,
    ...events: Events
  ): number;
  clEnqueueCopyBuffer(
    queue: Handle,
    source: Handle,
    target: Handle,
    sourceOffset: number,
    targetOffset: number,
    bytes: number,
    ...events: Events
  ): number;
  clEnqueueFillBuffer(
    queue: Handle,
    buffer: Handle,
    pattern: Uint8Array,
    patternBytes: number,
    offset: number,
    bytes: number,
    ...events: Events
  ): number;
  clEnqueueMapBuffer(
    queue: Handle,
    buffer: Handle,
    blocking: 0 | 1,
    flags: Bits,
    offset: number,
    bytes: number,
    ...rest: [...Events, status: Status]
  ): number;
  clEnqueueUnmapMemObject(queue: Handle, buffer: Handle, address: number, ...events: Events): number;
}

const HANDLE = 'uintptr_t';
const EVENTS = ['uint32_t', 'uint64_t *', 'uint64_t *'];
const INFO = [HANDLE, 'uint32_t', 'size_t', 'uint8_t *', 'uint64_t *'];
const TRANSFER = [HANDLE, HANDLE, 'uint32_t', 'size_t', 'size_t', 'uint8_t *', ...EVENTS];

/** What each function gives and takes, as koffi writes it. */
const SIGNATURES: { readonly [F in keyof OpenClFunctions]: readonly [result: string, parameters: readonly string[]] } = {
  clGetPlatformIDs: ['int', ['uint32_t', 'uint64_t *', 'uint32_t *']],
  clGetPlatformInfo: ['int', INFO],
  clGetDeviceIDs: ['int', [HANDLE, 'uint64_t', 'uint32_t', 'uint64_t *', 'uint32_t *']],
  clGetDeviceInfo: ['int', INFO],
  clCreateContext: [HANDLE, ['uint64_t *', 'uint32_t', 'uint64_t *', HANDLE, HANDLE, 'int *']],
  clReleaseContext: ['int', [HANDLE]],
  clCreateCommandQueueWithProperties: [HANDLE, [HANDLE, HANDLE, 'uint64_t *', 'int *']],
  clReleaseCommandQueue: ['int', [HANDLE]],
  clFlush: ['int', [HANDLE]],
  clFinish: ['int', [HANDLE]],
  clSVMAlloc: [HANDLE, [HANDLE, 'uint64_t', 'size_t', 'uint32_t']],
  clSVMFree: ['void', [HANDLE, HANDLE]],
  clEnqueueSVMMemcpy: ['int', [HANDLE, 'uint32_t', HANDLE, HANDLE, 'size_t', ...EVENTS]],
  clEnqueueSVMMemFill: ['int', [HANDLE, HANDLE, 'uint8_t *', 'size_t', 'size_t', ...EVENTS]],
  clEnqueueSVMMap: ['int', [HANDLE, 'uint32_t', 'uint64_t', HANDLE, 'size_t', ...EVENTS]],
  clEnqueueSVMUnmap: ['int', [HANDLE, HANDLE, ...EVENTS]],
  clEnqueueMarkerWithWaitList: ['int', [HANDLE, ...EVENTS]],
  clEnqueueBarrierWithWaitList: ['int', [HANDLE, ...EVENTS]],
  clWaitForEvents: ['int', ['uint32_t', 'uint64_t *']],
  clGetEventInfo: ['int', [HANDLE, 'uint32_t', 'size_t', 'int *', 'uint64_t *']],
  clReleaseEvent: ['int', [HANDLE]],
  clCreateBuffer: [HANDLE, [HANDLE, 'uint64_t', 'size_t', HANDLE, 'int *']],
  clCreateSubBuffer: [HANDLE, [HANDLE, 'uint64_t', 'uint32_t', 'uint64_t *', 'int *']],
  clReleaseMemObject: ['int', [HANDLE]],
  clEnqueueWriteBuffer: ['int', TRANSFER],
  clEnqueueReadBuffer: ['int', TRANSFER],
  clEnqueueCopyBuffer: ['int', [HANDLE, HANDLE, HANDLE, 'size_t', 'size_t', 'size_t', ...EVENTS]],
  clEnqueueFillBuffer: ['int', [HANDLE, HANDLE, 'uint8_t *', 'size_t', 'size_t', 'size_t', ...EVENTS]],
  clEnqueueMapBuffer: [HANDLE, [HANDLE, HANDLE, 'uint32_t', 'uint64_t', 'size_t', 'size_t', ...EVENTS, 'int *']],
  clEnqueueUnmapMemObject: ['int', [HANDLE, HANDLE, HANDLE, ...EVENTS]],
};

const LIBRARY_NAMES: Partial<Record<NodeJS.Platform, readonly string[]>> = {
  win32: ['OpenCL.dll'],
  // Apple's library is OpenCL 1.2: it loads, lacks shared virtual memory, and is therefore absent.
  darwin: ['/System/Library/Frameworks/OpenCL.framework/OpenCL', 'libOpenCL.dylib'],
};

/**
 * Loads the OpenCL library.
 *
 * @param path - where it is; the system's by default
 * @throws ERR_MEM_DEVICE_ABSENT when there is none, or it is older than OpenCL 2.0
 */
export function loadOpenCl(path?: string): OpenClFunctions {
  const names = path === undefined ? (LIBRARY_NAMES[process.platform] ?? ['libOpenCL.so.1', 'libOpenCL.so']) : [path];
  const library = openLibrary(names, { device: 'OpenCL' });
  const functions = Object.entries(SIGNATURES).map(([name, [result, parameters]]) => [
    name,
    library.func(name, result, parameters),
  ]);
  return Object.fromEntries(functions) as OpenClFunctions;
}

/** Reads the handles or numbers that a call left. */
export function wordAt(words: Words, index = 0): number {
  return Number(words[index]);
}

/** Makes words of numbers. */
export function words(...values: number[]): Words {
  return BigUint64Array.from(values, (value) => BigInt(value));
}
