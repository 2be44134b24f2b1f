import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { openLibrary } from '../../adapters/ffi/library.js';
import { CachingMemoryManager, GuardedMemoryManager } from '../../managers/index.js';
import {
  devicePtr,
  GiB,
  KiB,
  MemoryError,
  type MemoryErrorCode,
  MemoryManagerDeviceInterface,
  MemoryRuntime,
  MiB,
} from '../../src/index.js';
import { memoryRegistry, type ScalablePageAllocator, SharedAllocation } from '../../src/shared/index.js';
import { loadTrace, replayTrace } from '../../src/trace/index.js';

const table = () => new MemoryManagerDeviceInterface();

/** Runs with a runtime over a device of 64 MiB without memory behind it. */
function simulated(fn: (runtime: MemoryRuntime) => unknown): unknown {
  using runtime = new MemoryRuntime(new SimulatedDevice({ capacityBytes: 64 * MiB }), { exitReport: false });
  return fn(runtime);
}

/** Runs with an allocator over a region that this process alone has. */
function shared(fn: (allocator: ScalablePageAllocator) => unknown): unknown {
  const registry = memoryRegistry();
  registry.createBackend('malloc', 77, MiB);
  try {
    return fn(registry.createAllocator('scalable-page', 77, { major: 77, minor: 0 }));
  } finally {
    registry.destroyBackend(77);
  }
}

/** What a program does that gets each error. Those that take a crash, a full disk or another platform are made as the library makes them. */
export function provokedErrors(folder: string): { readonly [C in MemoryErrorCode]: () => unknown } {
  const file = (name: string, text: string) => {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  };
  return {
    ERR_MEM_OUT_OF_MEMORY: () => simulated((runtime) => runtime.allocate(1 * GiB)),
    ERR_MEM_INVALID_SIZE: () => simulated((runtime) => runtime.allocate(1.5)),
    ERR_MEM_INVALID_ALIGNMENT: () => simulated((runtime) => runtime.allocate(64, { alignment: 3 })),
    ERR_MEM_INVALID_POINTER: () => devicePtr(-1),
    ERR_MEM_INVALID_ARGUMENT: () => new CachingMemoryManager(1, table(), { splitSizeLimit: 1 } as never),
    ERR_MEM_UNKNOWN_POINTER: () => simulated((runtime) => runtime.slot.unlock(devicePtr(4096), true)),
    ERR_MEM_DOUBLE_FREE: () =>
      simulated((runtime) => {
        const ptr = runtime.slot.alloc(100, true);
        runtime.slot.alloc(100, true);
        runtime.slot.unlock(ptr, true);
        runtime.slot.unlock(ptr, true);
      }),
    ERR_MEM_NOT_INSTALLED: () => new CachingMemoryManager(1, table()).allocBytes(100, true),
    ERR_MEM_TABLE_IN_USE: () =>
      simulated((runtime) => {
        const one = table();
        runtime.use(new CachingMemoryManager(1, one));
        runtime.use(new CachingMemoryManager(1, one));
      }),
    ERR_MEM_LIFECYCLE: () =>
      simulated((runtime) => {
        const manager = new CachingMemoryManager(1, table());
        runtime.use(manager).dispose();
        runtime.use(manager);
      }),
    ERR_MEM_ENGINE_IN_USE: () => {
      throw new MemoryError('ERR_MEM_ENGINE_IN_USE', {
        engine: 'SQLite',
        reason: 'it has started already; attach the host before the first connection',
      });
    },
    ERR_MEM_REENTRANT: () =>
      simulated((runtime) => {
        class Meddling extends CachingMemoryManager {
          override initialize(): void {
            runtime.use(new CachingMemoryManager(1, table()));
          }
        }
        runtime.use(new Meddling(1, table()));
      }),
    ERR_MEM_INVALID_DEVICE: () => simulated((runtime) => runtime.withDevice(7, () => {})),
    ERR_MEM_DEVICE_BUSY: () =>
      simulated((runtime) => {
        runtime.slot.alloc(100, true);
        runtime.slot.active!.removeMemoryManagement(0);
      }),
    ERR_MEM_NO_LOG_STREAM: () => new CachingMemoryManager(1, table()).setLoggingEnabled(true),
    ERR_MEM_LOG_SINK: () => {
      throw new MemoryError('ERR_MEM_LOG_SINK', { manager: 'CachingMemoryManager' });
    },
    ERR_MEM_TRACE_WRITE: () => {
      throw new MemoryError('ERR_MEM_TRACE_WRITE', { file: 'app.stowtrace' });
    },
    ERR_MEM_DISPOSED: () =>
      simulated((runtime) => {
        const block = runtime.allocate(100);
        block.dispose();
        block.fill(0);
      }),
    ERR_MEM_NO_DATA: () => {
      throw new MemoryError('ERR_MEM_NO_DATA', { tensor: 'tensor "logits"' });
    },
    ERR_MEM_OUT_OF_RANGE: () => simulated((runtime) => runtime.allocate(100).slice(90, 20)),
    ERR_MEM_DEVICE_ABSENT: () => openLibrary(['libcudart.so.99'], { device: 'cuda' }),
    ERR_MEM_NO_WEBASSEMBLY: () => {
      throw new MemoryError('ERR_MEM_NO_WEBASSEMBLY', {
        reason: 'this process has none',
        remedy: 'run Node without --jitless',
      });
    },
    ERR_MEM_UNSUPPORTED_PLATFORM: () => simulated((runtime) => runtime.allocate(100).view()),
    ERR_MEM_NATIVE: () => {
      throw new MemoryError('ERR_MEM_NATIVE', { functionName: 'mlock', status: 12, statusName: 'ENOMEM' });
    },
    ERR_MEM_BAD_INPUT: () => loadTrace(file('app.log', 'alloc 4096 1 140212345671680 \nalloc many 1 140212345675776 \n')),
    ERR_MEM_BAD_SEGMENT: () => memoryRegistry().attachBackend(`file:${file('region', 'x'.repeat(8192))}`),
    ERR_MEM_SEGMENT_EXISTS: () => {
      throw new MemoryError('ERR_MEM_SEGMENT_EXISTS', { url: 'shm:my-app', creatorPid: 4711, creatorAlive: false });
    },
    ERR_MEM_SEGMENT_ABSENT: () => memoryRegistry().attachBackend('shm:not-there'),
    ERR_MEM_REPLAY: async () => {
      const trace = await loadTrace(file('small.trace', '#alloctrace v1 small\na 0 1000\na 1 100000000\n'));
      return simulated((runtime) => replayTrace(trace, runtime as never));
    },
    ERR_MEM_CORRUPTED: () => {
      using runtime = new MemoryRuntime(new CpuDevice(), { exitReport: false });
      const guarded = new GuardedMemoryManager(new CachingMemoryManager(1, table()), { memory: runtime.device });
      runtime.use(guarded);
      const block = runtime.allocate(100);
      const bytes = block.view();
      new Uint8Array(bytes.buffer, bytes.byteOffset)[100] = 1;
      try {
        block.dispose();
      } finally {
        guarded.repair(block.ptr);
        block.dispose();
      }
    },
    ERR_MEM_REGION_DAMAGED: () => {
      throw new MemoryError('ERR_MEM_REGION_DAMAGED', { offset: 65_568, reason: 'the header of the block was written over' });
    },
    ERR_MEM_LOCK_TIMEOUT: () => {
      throw new MemoryError('ERR_MEM_LOCK_TIMEOUT', { ownerPid: 4711, waitedMs: 1000 });
    },
    ERR_MEM_STALE_TOKEN: () =>
      shared((allocator) => {
        const block = SharedAllocation.allocate(allocator, 4 * KiB);
        const token = block.token();
        block.dispose();
        SharedAllocation.attach(token);
      }),
    ERR_MEM_STILL_SHARED: () => {
      throw new MemoryError('ERR_MEM_STILL_SHARED', { offset: 65_568, references: 2 });
    },
    ERR_MEM_OWNER_ALIVE: () => {
      throw new MemoryError('ERR_MEM_OWNER_ALIVE', { pid: 4711 });
    },
    ERR_MEM_INVARIANT: () => {
      throw new MemoryError('ERR_MEM_INVARIANT', { invariant: 'MyManager.place gave no free block' });
    },
  };
}
