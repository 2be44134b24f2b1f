import { expect } from 'vitest';
import { SimulatedDevice, type SimulatedDeviceOptions } from '../../adapters/devices/simulated.js';
import type { LogSink } from '../../src/core/call-log.js';
import { MemoryManagerDeviceInterface } from '../../src/core/device-interface.js';
import { MemoryError, type MemoryErrorCode } from '../../src/core/errors.js';
import { MemoryManagerAdapter } from '../../src/core/memory-manager-adapter.js';
import { MemoryManagerInstaller } from '../../src/core/memory-manager-installer.js';
import { checkAlignment, checkBytes, type DevicePtr, NULL_PTR } from '../../src/core/units.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';

/** Keeps what was written to it. */
export class TextSink implements LogSink {
  readonly chunks: string[] = [];

  get text(): string {
    return this.chunks.join('');
  }

  /** The lines, each without its end. */
  get lines(): string[] {
    return this.text.split('\n').slice(0, -1);
  }

  write(chunk: string | Uint8Array): void {
    this.chunks.push(typeof chunk === 'string' ? chunk : new TextDecoder().decode(chunk));
  }
}

/**
 * A manager that overrides the abstract methods alone, as a program written against Flashlight does:
 * each block is a native allocation, given back when it is free.
 */
export class PlainManager extends MemoryManagerAdapter {
  readonly #blocks = new Map<DevicePtr, { bytes: number; locks: Set<'user' | 'manager'> }>();
  initialized = 0;
  stopped = 0;

  constructor(deviceInterface = new MemoryManagerDeviceInterface(), logStream?: LogSink) {
    super(deviceInterface, logStream);
  }

  get liveBlocks(): number {
    return this.#blocks.size;
  }

  initialize(): void {
    this.initialized++;
  }

  shutdown(): void {
    this.stopped++;
  }

  override allocBytes(bytes: number, userLock: boolean, alignment = 0): DevicePtr {
    checkBytes(bytes);
    checkAlignment(alignment);
    if (bytes === 0) return NULL_PTR;
    let ptr = NULL_PTR;
    let cause: unknown;
    try {
      ptr = this.deviceInterface.nativeAlloc(bytes, alignment === 0 ? undefined : alignment);
    } catch (error) {
      if (MemoryError.is(error) && error.code !== 'ERR_MEM_OUT_OF_MEMORY') throw error;
      cause = error;
    }
    if (ptr === NULL_PTR) throw this.#outOfMemory(bytes, cause);
    this.#blocks.set(ptr, { bytes, locks: new Set([userLock ? 'user' : 'manager']) });
    return ptr;
  }

  allocated(ptr: DevicePtr): number {
    return this.#blocks.get(ptr)?.bytes ?? 0;
  }

  unlock(ptr: DevicePtr, userUnlock: boolean): void {
    if (ptr === NULL_PTR) return;
    const { locks } = this.#block(ptr);
    const lock = userUnlock ? 'user' : 'manager';
    if (locks.size === 1 && locks.has(lock)) {
      this.deviceInterface.nativeFree(ptr);
      this.#blocks.delete(ptr);
    }
    locks.delete(lock);
  }

  userLock(ptr: DevicePtr): void {
    this.#block(ptr).locks.add('user');
  }

  isUserLocked(ptr: DevicePtr): boolean {
    return this.#blocks.get(ptr)?.locks.has('user') ?? false;
  }

  signalMemoryCleanup(): void {}

  printInfo(message: string, device: number, sink: LogSink = process.stdout): void {
    sink.write(`${message}\nType: ${this.name}\nDevice: ${device}, Live blocks: ${this.#blocks.size}\n`);
  }

  #block(ptr: DevicePtr): { bytes: number; locks: Set<'user' | 'manager'> } {
    const block = this.#blocks.get(ptr);
    if (block === undefined) throw new MemoryError('ERR_MEM_UNKNOWN_POINTER', { pointer: ptr });
    return block;
  }

  #outOfMemory(requestedBytes: number, cause: unknown): MemoryError {
    const device = this.deviceInterface.getActiveDeviceId();
    const allocatedBytes = [...this.#blocks.values()].reduce((sum, block) => sum + block.bytes, 0);
    const capacityBytes = this.deviceInterface.getMaxMemorySize(device);
    const facts = { requestedBytes, allocatedBytes, reservedBytes: allocatedBytes, capacityBytes, device };
    return new MemoryError('ERR_MEM_OUT_OF_MEMORY', facts, cause);
  }
}

/** A runtime over a simulated device, whose calls can be counted and made to fail. */
export function simulatedRuntime(options: SimulatedDeviceOptions = {}): { device: SimulatedDevice; runtime: MemoryRuntime } {
  const device = new SimulatedDevice(options);
  const runtime = new MemoryRuntime(device, {
    exitReport: false,
    createDefaultManager: (_, table) => new PlainManager(table),
    createFallbackManager: (_, table) => new PlainManager(table),
  });
  return { device, runtime };
}

/** Installs a manager in a runtime's ordinary slot, as a program does. */
export function installed<M extends MemoryManagerAdapter>(manager: M, runtime: MemoryRuntime): M {
  new MemoryManagerInstaller(manager, runtime).setAsMemoryManager();
  return manager;
}

/** Matches a MemoryError of that code with those facts. */
export function memoryError(code: MemoryErrorCode, facts: Record<string, unknown> = {}): Error {
  return expectObject({ name: 'MemoryError', code, facts: expectObject(facts) });
}

function expectObject(properties: Record<string, unknown>): Error {
  return expect.objectContaining(properties);
}

/** Numbers that look random and are the same in every run: xorshift32. */
export class SeededRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0 || 1;
  }

  /** An integer from 0 to `end - 1`. */
  below(end: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % end;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }
}
