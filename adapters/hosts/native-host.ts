import { MemoryError } from '../../src/core/errors.js';
import { MemoryHost, type MemoryHostOptions } from '../../src/core/memory-host.js';
import type { MemoryStatsSnapshot } from '../../src/core/memory-statistics.js';
import { CallbackTable } from '../ffi/callback-table.js';

/** A host of native code that calls back through C functions. */
export abstract class NativeHost extends MemoryHost {
  /** Every function that this host gave to C. */
  readonly callbacks: CallbackTable;

  /** @param name - what messages call the host */
  constructor(name: string, options: MemoryHostOptions) {
    super(options);
    this.callbacks = new CallbackTable(name);
  }

  /** Why the last request or free that failed did so, whatever its code; undefined since the outermost {@link call} began. */
  get lastError(): MemoryError | undefined {
    return this.callbacks.lastError;
  }

  /** Statistics of the active manager on a device; undefined before the first allocation. */
  stats(device = 0): MemoryStatsSnapshot | undefined {
    return this.slot.active?.stats(device);
  }

  /** Makes a native call that may call back, and throws what went wrong in its callbacks. @throws as `CallbackTable.call` */
  call<T>(native: () => T): T {
    return this.callbacks.call(native);
  }

  /** As {@link call}, for an asynchronous native call. @throws as `CallbackTable.callAsync` */
  callAsync<T>(native: () => Promise<T>): Promise<T> {
    return this.callbacks.callAsync(native);
  }

  /** Takes the functions back from the native code and shuts all managers down. A second time does nothing. */
  abstract dispose(): void;

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Gives the buffered log lines to their sinks; the memory stays, since the engine may use it to the last. @internal */
  endWithProcess(): void {
    this.slot.flushLogs();
    this.pinnedSlot.flushLogs();
  }

  /** @throws ERR_MEM_REENTRANT inside a native call, an allocation or a swap */
  protected checkDisposable(): void {
    this.callbacks.checkDisposable();
    this.slot.checkClosable();
    this.pinnedSlot.checkClosable();
  }

  /** Has {@link lastError} say why a request was refused that is answered by "no memory". @throws `error` where that is no answer */
  protected refuse<A>(error: unknown, answer: A): A {
    if (!MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY') && !MemoryError.is(error, 'ERR_MEM_INVALID_SIZE')) throw error;
    this.callbacks.note(error);
    return answer;
  }
}
