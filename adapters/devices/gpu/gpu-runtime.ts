import { attempt } from '../../../src/core/attempt.js';
import type { MemoryInfo } from '../../../src/core/device.js';
import { MemoryError } from '../../../src/core/errors.js';
import { type CValuesOf, structType } from '../../ffi/c-types.js';
import { type NativeLibrary, openLibrary } from '../../ffi/library.js';
import { numberIn } from '../../os/bytes.js';
import { GpuDriver } from './gpu-driver.js';
import { type GpuDialect, GpuStatus, INVALID_VALUE, NOT_READY, OUT_OF_MEMORY, type StatusFunction } from './gpu-status.js';

/** How a copy goes: 1 is to the device, 2 from it, 3 both. The same numbers in CUDA and HIP. */
export type CopyKind = 0 | 1 | 2 | 3;

/** The size of the handle of a segment for other processes. */
export const IPC_HANDLE_BYTES = 64;

// Flags, the same numbers in CUDA and HIP.
const ATTACH_GLOBAL = 1;
const REGISTER_PORTABLE = 1;
const STREAM_NON_BLOCKING = 1;
const EVENT_DISABLE_TIMING = 2;
const IPC_LAZY_PEER_ACCESS = 1;
// Type and device, the address for the device, the address for the host; the rest is reserved: 88 bytes in CUDA 13, less in others.
const POINTER_ATTRIBUTES_WORDS = 32;

/** The parameters of each function that is called, as koffi writes them. */
const FUNCTIONS = {
  GetDeviceCount: ['int32_t *'],
  SetDevice: ['int'],
  RuntimeGetVersion: ['int32_t *'],
  DriverGetVersion: ['int32_t *'],
  MemGetInfo: ['uint64_t *', 'uint64_t *'],
  Malloc: ['uint32_t *', 'size_t'],
  Free: ['uintptr_t'],
  MallocManaged: ['uint32_t *', 'size_t', 'uint32_t'],
  HostRegister: ['uintptr_t', 'size_t', 'uint32_t'],
  HostUnregister: ['uintptr_t'],
  PointerGetAttributes: ['uint64_t *', 'uintptr_t'],
  Memcpy: ['uintptr_t', 'uintptr_t', 'size_t', 'int'],
  MemcpyAsync: ['uintptr_t', 'uintptr_t', 'size_t', 'int', 'uintptr_t'],
  Memset: ['uintptr_t', 'int', 'size_t'],
  MemsetAsync: ['uintptr_t', 'int', 'size_t', 'uintptr_t'],
  DeviceSynchronize: [],
  StreamCreateWithFlags: ['uint32_t *', 'uint32_t'],
  StreamDestroy: ['uintptr_t'],
  StreamSynchronize: ['uintptr_t'],
  StreamWaitEvent: ['uintptr_t', 'uintptr_t', 'uint32_t'],
  EventCreateWithFlags: ['uint32_t *', 'uint32_t'],
  EventRecord: ['uintptr_t', 'uintptr_t'],
  EventQuery: ['uintptr_t'],
  EventSynchronize: ['uintptr_t'],
  EventDestroy: ['uintptr_t'],
  IpcGetMemHandle: ['uint8_t *', 'uintptr_t'],
  IpcCloseMemHandle: ['uintptr_t'],
} as const;

type FunctionName = keyof typeof FUNCTIONS;

/**
 * The functions of a GPU runtime: each checks the status and throws what went wrong.
 *
 * @throws (every method) ERR_MEM_NATIVE, and ERR_MEM_DEVICE_ABSENT without a driver or a card
 */
export class GpuRuntime {
  readonly library: NativeLibrary;
  readonly status: GpuStatus;
  readonly driver: GpuDriver;
  readonly leftovers = new Leftovers();
  /** The device that the thread is left on after each call. */
  activeDevice = 0;
  readonly #prefix: string;
  readonly #functions: Readonly<Record<FunctionName, StatusFunction>>;
  readonly #used: boolean[] = [];
  readonly #out = new Uint32Array(2);
  #ipcOpen: StatusFunction | undefined;

  /**
   * Loads a runtime.
   *
   * @param libraries - file names or paths, the best first
   * @param isShareable - whether pages can be exported
   * @throws ERR_MEM_DEVICE_ABSENT
   */
  constructor(dialect: GpuDialect, libraries: readonly string[], isShareable = false) {
    this.library = openLibrary(libraries, { device: dialect.name });
    this.#prefix = dialect.prefix;
    this.status = new GpuStatus(this.library, dialect);
    const entries = Object.entries(FUNCTIONS).map(([name, parameters]) => [
      name,
      this.library.func<StatusFunction>(`${dialect.prefix}${name}`, 'int', [...parameters]),
    ]);
    this.#functions = Object.fromEntries(entries);
    this.driver = new GpuDriver(this.library, dialect, this.status, isShareable);
  }

  /** How many cards there are: at least one. */
  deviceCount(): number {
    const count = this.#integer('GetDeviceCount');
    if (count > 0) return count;
    throw new MemoryError('ERR_MEM_DEVICE_ABSENT', { device: this.#prefix, reason: 'the driver knows no card' });
  }

  /** The versions of runtime and driver: 13000 is 13.0. */
  versions(): { readonly runtime: number; readonly driver: number } {
    return { runtime: this.#integer('RuntimeGetVersion'), driver: this.#integer('DriverGetVersion') };
  }

  /** Makes a device the one that calls of this thread go to. */
  setDevice(id: number): void {
    this.call('SetDevice', id);
    this.#used[id] = true;
  }

  /** Runs an action on a device, and makes the active one current again. Other code of this thread may have changed it. */
  on<T>(device: number, action: () => T): T {
    this.setDevice(device);
    if (device === this.activeDevice) return action();
    try {
      return action();
    } finally {
      attempt(() => this.setDevice(this.activeDevice));
    }
  }

  /** Waits for all work of every device that was ever used here. */
  synchronizeAll(): void {
    this.#used.forEach((used, device) => {
      if (used) this.on(device, () => this.call('DeviceSynchronize'));
    });
  }

  memoryInfo(): MemoryInfo {
    const [free, total] = [new BigUint64Array(1), new BigUint64Array(1)];
    this.call('MemGetInfo', free, total);
    return { freeBytes: Number(free[0]), totalBytes: Number(total[0]) };
  }

  /** @returns an address, or 0 when there is no room */
  malloc(bytes: number): number {
    this.leftovers.retry();
    return this.#ask('Malloc', OUT_OF_MEMORY, this.#out, bytes) ? numberIn(this.#out) : 0;
  }

  /** @returns an address, or 0 when there is no room */
  mallocManaged(bytes: number): number {
    return this.#ask('MallocManaged', OUT_OF_MEMORY, this.#out, bytes, ATTACH_GLOBAL) ? numberIn(this.#out) : 0;
  }

  /** Waits for the work of the memory's device. */
  free(address: number): void {
    this.call('Free', address);
    this.leftovers.retry();
  }

  hostRegister(address: number, bytes: number): void {
    this.call('HostRegister', address, bytes, REGISTER_PORTABLE);
  }

  /** Tells whether the runtime knows an address as memory that host and device reach, whoever allocated it. */
  isHostMemory(address: number): boolean {
    const attributes = new BigUint64Array(POINTER_ATTRIBUTES_WORDS);
    // HIP calls memory of nobody an invalid value. CUDA gives that no address for the device.
    return this.#ask('PointerGetAttributes', INVALID_VALUE, attributes, address) && attributes[1] !== 0n && attributes[2] !== 0n;
  }

  /** Makes a stream that the default stream does not hold up. */
  streamCreate(): number {
    this.call('StreamCreateWithFlags', this.#out, STREAM_NON_BLOCKING);
    return numberIn(this.#out);
  }

  eventCreate(): number {
    this.call('EventCreateWithFlags', this.#out, EVENT_DISABLE_TIMING);
    return numberIn(this.#out);
  }

  /** Tells whether all work before the event is done. */
  eventQuery(event: number): boolean {
    return this.#ask('EventQuery', NOT_READY, event);
  }

  /** The handle of a segment for other processes. @param address - its start */
  ipcHandle(address: number): Uint8Array {
    const handle = new Uint8Array(IPC_HANDLE_BYTES);
    this.call('IpcGetMemHandle', handle, address);
    return handle;
  }

  /** Opens memory of another process. @returns its address here */
  ipcOpen(handle: Uint8Array): number {
    const name = `${this.#prefix}IpcOpenMemHandle`;
    // The handle goes by value: a struct of 64 bytes.
    this.#ipcOpen ??= this.library.func(name, 'int', [
      'uint32_t *',
      structType({ data: `uint8_t [${IPC_HANDLE_BYTES}]` }),
      'uint32_t',
    ]);
    this.status.check(name, this.#ipcOpen(this.#out, { data: handle }, IPC_LAZY_PEER_ACCESS));
    return numberIn(this.#out);
  }

  /** Makes a call by its name without prefix. */
  call<F extends FunctionName>(name: F, ...values: CValuesOf<(typeof FUNCTIONS)[F]>): void {
    this.status.check(`${this.#prefix}${name}`, this.#functions[name](...values));
  }

  /** Makes a call that the status `no` answers with no. */
  #ask<F extends FunctionName>(name: F, no: number, ...values: CValuesOf<(typeof FUNCTIONS)[F]>): boolean {
    return this.status.succeeded(`${this.#prefix}${name}`, this.#functions[name](...values), no);
  }

  #integer(name: 'GetDeviceCount' | 'RuntimeGetVersion' | 'DriverGetVersion'): number {
    const out = new Int32Array(1);
    this.call(name, out);
    return out[0] as number;
  }
}

/**
 * What to give back after a call that has succeeded, or has failed for another reason. A refusal becomes a process warning,
 * and is tried again later, so that nothing leaks.
 */
export class Leftovers {
  readonly #actions: (() => void)[] = [];

  /** Gives something back now, or later. @param giveBack - throws when it is refused */
  drop(giveBack: () => void): void {
    this.#actions.push(giveBack);
    this.retry();
  }

  /** Tries again what was refused. Cost: O(1) where nothing was. */
  retry(): void {
    // Taken out first: an action may come back here.
    for (let action = this.#actions.pop(); action !== undefined; action = this.#actions.pop()) {
      const giveBack = action;
      let isGiven = false;
      attempt(() => {
        giveBack();
        isGiven = true;
      });
      if (isGiven) continue;
      this.#actions.push(action);
      return;
    }
  }
}
