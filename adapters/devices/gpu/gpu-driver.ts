import { MemoryError } from '../../../src/core/errors.js';
import type { CValuesOf } from '../../ffi/c-types.js';
import { functionAt, type NativeLibrary } from '../../ffi/library.js';
import { type GpuDialect, type GpuStatus, OUT_OF_MEMORY, type StatusFunction } from './gpu-status.js';

// The same numbers in CUDA and HIP. @see Source: cuda.h, hip_runtime_api.h
const PINNED = 1;
const ON_DEVICE = 1;
const FILE_DESCRIPTOR = 1;
const MINIMUM = 0;
const NAME_BYTES = 256;

// The oldest interface of CUDA's driver that has every function below.
const INTERFACE_VERSION = 12000;
const SYMBOL_NOT_FOUND = 500;

const FUNCTIONS = {
  MemGetAllocationGranularity: ['uint64_t *', 'int32_t *', 'int'],
  MemAddressReserve: ['uint64_t *', 'size_t', 'size_t', 'uintptr_t', 'uint64_t'],
  MemAddressFree: ['uintptr_t', 'size_t'],
  MemCreate: ['uint64_t *', 'size_t', 'int32_t *', 'uint64_t'],
  MemRelease: ['uint64_t'],
  MemMap: ['uintptr_t', 'size_t', 'size_t', 'uint64_t', 'uint64_t'],
  MemUnmap: ['uintptr_t', 'size_t'],
  MemSetAccess: ['uintptr_t', 'size_t', 'int32_t *', 'size_t'],
  MemGetAddressRange: ['uint64_t *', 'uint64_t *', 'uintptr_t'],
  MemExportToShareableHandle: ['int32_t *', 'uint64_t', 'int', 'uint64_t'],
  MemImportFromShareableHandle: ['uint64_t *', 'uintptr_t', 'int'],
  DeviceGetName: ['uint8_t *', 'int', 'int'],
} as const;

type FunctionName = keyof typeof FUNCTIONS;
const VIRTUAL: readonly FunctionName[] = [
  'MemGetAllocationGranularity',
  'MemAddressReserve',
  'MemAddressFree',
  'MemCreate',
  'MemRelease',
  'MemMap',
  'MemUnmap',
  'MemSetAccess',
];

/** Answers with a status. @param found - receives whether the driver has the function */
type EntryPointFinder = (symbol: string, target: BigUint64Array, found: Int32Array) => number;

/** The driver's functions: virtual memory, and facts. Each is looked up when it is first needed. */
export class GpuDriver {
  readonly #functions = new Map<FunctionName, StatusFunction | undefined>();
  readonly #out = new BigUint64Array(1);
  #findEntryPoint: EntryPointFinder | undefined;

  constructor(
    readonly library: NativeLibrary,
    readonly dialect: GpuDialect,
    readonly status: GpuStatus,
    /** Whether memory that is made here can be exported. */
    readonly isShareable: boolean,
  ) {}

  /** Tells whether the driver has every function of virtual memory. */
  get hasVirtualMemory(): boolean {
    return VIRTUAL.every((name) => this.#find(name) !== undefined);
  }

  /** The unit of physical memory of a device in bytes. @throws ERR_MEM_NATIVE where the device has no virtual memory */
  granularity(device: number): number {
    this.call('MemGetAllocationGranularity', this.#out, this.#properties(device), MINIMUM);
    return Number(this.#out[0]);
  }

  /** @returns addresses that nothing backs, or 0 when there are none left */
  reserve(bytes: number): number {
    return this.#allocated('MemAddressReserve', this.#out, bytes, 0, 0, 0) ? Number(this.#out[0]) : 0;
  }

  /** Makes memory without addresses. @returns its handle, or undefined when there is no room */
  create(bytes: number, device: number): bigint | undefined {
    return this.#allocated('MemCreate', this.#out, bytes, this.#properties(device), 0) ? (this.#out[0] as bigint) : undefined;
  }

  /** Lets a device read (1), or read and write (3) mapped memory. */
  setAccess(address: number, bytes: number, device: number, access: 1 | 3): void {
    this.call('MemSetAccess', address, bytes, Int32Array.of(ON_DEVICE, device, access), 1);
  }

  /** A file descriptor of memory, to be closed. @throws ERR_MEM_NATIVE for memory that was not made to be shared */
  exportDescriptor(handle: bigint): number {
    this.#need('MemExportToShareableHandle');
    const descriptor = new Int32Array(1);
    this.call('MemExportToShareableHandle', descriptor, handle, FILE_DESCRIPTOR, 0);
    return descriptor[0] as number;
  }

  /** The handle of exported memory, to be released. @param descriptor - of this process; it can be closed then */
  importDescriptor(descriptor: number): bigint {
    this.#need('MemImportFromShareableHandle');
    this.call('MemImportFromShareableHandle', this.#out, descriptor, FILE_DESCRIPTOR);
    return this.#out[0] as bigint;
  }

  /** The allocation that an address lies in, or undefined where the driver cannot tell. */
  addressRange(address: number): { readonly base: number; readonly bytes: number } | undefined {
    if (this.#find('MemGetAddressRange') === undefined) return undefined;
    const bytes = new BigUint64Array(1);
    this.call('MemGetAddressRange', this.#out, bytes, address);
    return { base: Number(this.#out[0]), bytes: Number(bytes[0]) };
  }

  /** The name of a device, or undefined where the driver cannot tell. */
  deviceName(device: number): string | undefined {
    if (this.#find('DeviceGetName') === undefined) return undefined;
    const name = new Uint8Array(NAME_BYTES);
    this.call('DeviceGetName', name, NAME_BYTES, device);
    return new TextDecoder().decode(name.subarray(0, name.indexOf(0)));
  }

  /** Makes a call by its name without prefix; the driver must have it. @throws ERR_MEM_NATIVE */
  call<F extends FunctionName>(name: F, ...values: CValuesOf<(typeof FUNCTIONS)[F]>): void {
    this.status.check(this.#symbol(name), this.#find(name)!(...values));
  }

  #allocated<F extends FunctionName>(name: F, ...values: CValuesOf<(typeof FUNCTIONS)[F]>): boolean {
    return this.status.succeeded(this.#symbol(name), this.#find(name)!(...values), OUT_OF_MEMORY);
  }

  #find(name: FunctionName): StatusFunction | undefined {
    if (!this.#functions.has(name)) {
      const symbol = this.#symbol(name);
      const found = this.dialect.hasEntryPoints
        ? this.#entryPoint(symbol, FUNCTIONS[name])
        : this.library.optional<StatusFunction>(symbol, 'int', [...FUNCTIONS[name]]);
      this.#functions.set(name, found);
    }
    return this.#functions.get(name);
  }

  #entryPoint(symbol: string, parameters: readonly string[]): StatusFunction | undefined {
    const target = new BigUint64Array(1);
    const found = new Int32Array(1);
    this.#findEntryPoint ??= this.#entryPointFinder();
    const status = this.#findEntryPoint(symbol, target, found);
    const known = this.status.succeeded('cudaGetDriverEntryPointByVersion', status, SYMBOL_NOT_FOUND);
    return known && target[0] !== 0n ? functionAt(Number(target[0]), 'int', parameters) : undefined;
  }

  /** The runtime's function that finds those of the driver. */
  #entryPointFinder(): EntryPointFinder {
    const parameters = ['str', 'uint64_t *', 'uint32_t', 'uint64_t', 'int32_t *'];
    const byVersion = this.library.optional<StatusFunction>('cudaGetDriverEntryPointByVersion', 'int', parameters);
    if (byVersion !== undefined) return (symbol, target, found) => byVersion(symbol, target, INTERFACE_VERSION, 0, found);
    // Before 12.5 there is but this one.
    const older = this.library.func<StatusFunction>('cudaGetDriverEntryPoint', 'int', [
      'str',
      'uint64_t *',
      'uint64_t',
      'int32_t *',
    ]);
    return (symbol, target, found) => older(symbol, target, 0, found);
  }

  /** @throws ERR_MEM_UNSUPPORTED_PLATFORM where the driver lacks the function */
  #need(name: FunctionName): void {
    if (this.#find(name) !== undefined) return;
    throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { what: this.#symbol(name), platform: this.library.path });
  }

  /**
   * What kind of memory: pinned, on a device; exported as file descriptors, or not at all.
   *
   * Type, handle types, location type and id, a pointer for Windows, eight bytes of flags: the same 32 bytes in CUDA and HIP.
   */
  #properties(device: number): Int32Array {
    return Int32Array.of(PINNED, this.isShareable ? FILE_DESCRIPTOR : 0, ON_DEVICE, device, 0, 0, 0, 0);
  }

  #symbol(name: FunctionName): string {
    return `${this.dialect.driverPrefix}${name}`;
  }
}
