import { MemoryError } from '../../../src/core/errors.js';
import { keptMaxMemoryBytes } from '../../os/memory-limits.js';
import { CL_DEVICE_NOT_FOUND, call, checkStatus, type OpenClFunctions, statusNameOf } from './opencl-functions.js';

// What can be asked. @see Source: CL/cl.h
const CL_PLATFORM_NAME = 0x0902;
const CL_DEVICE_TYPE_ALL = 0xffffffff;
const CL_DEVICE_TYPE = 0x1000;
const CL_DEVICE_MAX_MEM_ALLOC_SIZE = 0x1010;
const CL_DEVICE_MEM_BASE_ADDR_ALIGN = 0x1019;
const CL_DEVICE_GLOBAL_MEM_SIZE = 0x101f;
const CL_DEVICE_NAME = 0x102b;
const CL_DEVICE_VERSION = 0x102f;
const CL_DEVICE_HOST_UNIFIED_MEMORY = 0x1035;
const CL_DEVICE_SVM_CAPABILITIES = 0x1053;
const CL_DEVICE_SVM_COARSE_GRAIN_BUFFER = 1;
const CL_DEVICE_SVM_FINE_GRAIN_BUFFER = 2;
const TYPE_NAMES = [
  [2, 'cpu'],
  [4, 'gpu'],
  [8, 'accelerator'],
] as const;
const BITS_PER_BYTE = 8;

/** What is known of one OpenCL device before it is used. */
export interface OpenClFacts {
  /** The cl_platform_id, as a number. */
  readonly platform: number;
  readonly platformName: string;
  /** The cl_device_id, as a number. */
  readonly device: number;
  readonly name: string;
  readonly type: 'cpu' | 'gpu' | 'accelerator' | 'custom';
  /** As the device writes it: `OpenCL 3.0 …`. */
  readonly version: string;
  /** What it may hold: its memory, or what this process may use of the host's where that is the same and less. */
  readonly capacityBytes: number;
  /** The most in one allocation. */
  readonly maxAllocBytes: number;
  /** What the offset of a sub-buffer is a multiple of. */
  readonly subBufferAlignment: number;
  /** Whether it has memory that the host sees without mapping it. */
  readonly fineGrain: boolean;
}

/**
 * Finds the devices with shared virtual memory, on every platform, in the library's order.
 *
 * @throws ERR_MEM_DEVICE_ABSENT when there is none, with the reason
 * @throws ERR_MEM_NATIVE
 */
export function findDevices(cl: OpenClFunctions): OpenClFacts[] {
  const found: OpenClFacts[] = [];
  const reasons: string[] = [];
  for (const platform of platformsOf(cl)) {
    const platformName = textOf(ask(cl, 'clGetPlatformInfo', platform, CL_PLATFORM_NAME));
    const devices = devicesOf(cl, platform);
    if (devices.length === 0) reasons.push(`${platformName} has no device`);
    for (const device of devices) {
      const facts = factsOf(cl, device);
      if (facts === undefined) reasons.push(`a device of ${platformName} has no shared virtual memory`);
      else found.push({ platform, platformName, device, ...facts });
    }
  }
  if (found.length === 0) throw new MemoryError('ERR_MEM_DEVICE_ABSENT', { device: 'OpenCL', reason: reasons.join('; ') });
  return found;
}

function platformsOf(cl: OpenClFunctions): number[] {
  const count = new Uint32Array(1);
  const status = cl.clGetPlatformIDs(0, null, count);
  // A loader without drivers answers with an error of its own, or with none and no platform.
  if (status !== 0 || count[0] === 0) {
    const reason = `no platform: ${status === 0 ? 'no driver is installed' : statusNameOf(status)}`;
    throw new MemoryError('ERR_MEM_DEVICE_ABSENT', { device: 'OpenCL', reason });
  }
  const platforms = new BigUint64Array(count[0] as number);
  call(cl, 'clGetPlatformIDs', platforms.length, platforms, null);
  return Array.from(platforms, Number);
}

function devicesOf(cl: OpenClFunctions, platform: number): number[] {
  const count = new Uint32Array(1);
  const status = cl.clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 0, null, count);
  if (status === CL_DEVICE_NOT_FOUND) return [];
  checkStatus('clGetDeviceIDs', status);
  const devices = new BigUint64Array(count[0] as number);
  call(cl, 'clGetDeviceIDs', platform, CL_DEVICE_TYPE_ALL, devices.length, devices, null);
  return Array.from(devices, Number);
}

/** @returns undefined for a device without shared virtual memory; one before OpenCL 2.0 does not even know the question */
function factsOf(cl: OpenClFunctions, device: number): Omit<OpenClFacts, 'platform' | 'platformName' | 'device'> | undefined {
  const number = (what: number) => numberOf(ask(cl, 'clGetDeviceInfo', device, what));
  const text = (what: number) => textOf(ask(cl, 'clGetDeviceInfo', device, what));
  const svm = number(CL_DEVICE_SVM_CAPABILITIES);
  if ((svm & CL_DEVICE_SVM_COARSE_GRAIN_BUFFER) === 0) return undefined;
  const memoryBytes = number(CL_DEVICE_GLOBAL_MEM_SIZE);
  const type = number(CL_DEVICE_TYPE);
  return {
    name: text(CL_DEVICE_NAME),
    type: TYPE_NAMES.find(([bit]) => (type & bit) !== 0)?.[1] ?? 'custom',
    version: text(CL_DEVICE_VERSION),
    capacityBytes: number(CL_DEVICE_HOST_UNIFIED_MEMORY) === 0 ? memoryBytes : Math.min(memoryBytes, keptMaxMemoryBytes()),
    maxAllocBytes: number(CL_DEVICE_MAX_MEM_ALLOC_SIZE),
    subBufferAlignment: number(CL_DEVICE_MEM_BASE_ADDR_ALIGN) / BITS_PER_BYTE,
    fineGrain: (svm & CL_DEVICE_SVM_FINE_GRAIN_BUFFER) !== 0,
  };
}

const CL_INVALID_VALUE = -30;

/** Asks for a value of any size. @returns nothing where the question is unknown */
function ask(cl: OpenClFunctions, name: 'clGetPlatformInfo' | 'clGetDeviceInfo', about: number, what: number): Uint8Array {
  const size = new BigUint64Array(1);
  const status = cl[name](about, what, 0, null, size);
  if (status === CL_INVALID_VALUE) return new Uint8Array(0);
  checkStatus(name, status);
  const value = new Uint8Array(Number(size[0]));
  call(cl, name, about, what, value.length, value, null);
  return value;
}

/** Reads a little-endian number of 0 to 8 bytes. */
function numberOf(value: Uint8Array): number {
  return value.reduceRight((sum, byte) => sum * 256 + byte, 0);
}

function textOf(value: Uint8Array): string {
  return Buffer.from(value).toString('utf8').replace(/\0+$/, '').trim();
}
