import { attempt, orUndo } from '../core/attempt.js';
import { checkFunction } from '../core/check-given.js';
import '../core/disposable.js';
import type { Device } from '../core/device.js';
import type { DeviceGraph } from '../core/device-graph.js';
import { MemoryManagerDeviceInterface } from '../core/device-interface.js';
import type { DeviceStream } from '../core/device-stream.js';
import { checkUsable } from '../core/errors.js';
import type { ManagerSlot } from '../core/manager-slot.js';
import type { ManagerFactory } from '../core/memory-host.js';
import type { MemoryManagerAdapter } from '../core/memory-manager-adapter.js';
import { HeldMemory } from './held-memory.js';

/** What a graph needs of its runtime. */
export interface GraphRuntime {
  readonly device: Device;
  readonly deviceCount: number;
  readonly slot: ManagerSlot;
  createDefaultManager(): MemoryManagerAdapter;
  withManager<T>(manager: MemoryManagerAdapter, fn: () => T): T;
  withStream<T>(stream: DeviceStream | number, fn: () => T): T;
  retire(manager: MemoryManagerAdapter): void;
}

/**
 * A graph that was captured, and the manager that its memory comes from: nobody else gets that memory as long as the graph
 * lives, also what was freed while it was captured, and the device does not. `MemoryRuntime.capture` makes one.
 */
export class CapturedGraph implements DeviceGraph {
  readonly #runtime: GraphRuntime;
  readonly #graph: DeviceGraph;
  readonly #memory: HeldMemory;
  #isDisposed = false;

  /** @internal */
  constructor(
    runtime: GraphRuntime,
    graph: DeviceGraph,
    /** What the captured work's blocks were allocated from. */
    readonly manager: MemoryManagerAdapter,
    memory: HeldMemory,
  ) {
    this.#runtime = runtime;
    this.#graph = graph;
    this.#memory = memory;
  }

  /** Enqueues all of the work. @throws ERR_MEM_DISPOSED, also when the runtime was closed; ERR_MEM_INVALID_ARGUMENT, ERR_MEM_NATIVE */
  launch(stream: DeviceStream | number): void {
    checkUsable(!this.#isDisposed && !this.#runtime.slot.closed, 'graph');
    this.#graph.launch(stream);
  }

  /**
   * Destroys the graph when all of its work is done, and retires its manager: the memory goes back when the last block of the
   * capture is freed. A second time does nothing.
   *
   * @throws ERR_MEM_NATIVE; the graph lives then
   */
  dispose(): void {
    if (this.#isDisposed) return;
    this.#graph.dispose();
    // What was closed has given back all there was.
    if (!this.#runtime.slot.closed) {
      this.#memory.release();
      this.#runtime.retire(this.manager);
    }
    this.#isDisposed = true;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Does what `MemoryRuntime.capture` says. */
export function captureGraph(
  runtime: GraphRuntime,
  stream: DeviceStream | number,
  fn: () => void,
  create: ManagerFactory | undefined,
): CapturedGraph {
  checkFunction('fn', fn);
  if (create !== undefined) checkFunction('create', create);
  const manager = create?.(runtime.deviceCount, new MemoryManagerDeviceInterface()) ?? runtime.createDefaultManager();
  let memory: HeldMemory | undefined;
  const work = () => {
    memory = new HeldMemory(manager.deviceInterface);
    const graph = runtime.withStream(stream, () => runtime.device.capture(stream, fn));
    return new CapturedGraph(runtime, graph, manager, memory);
  };
  return orUndo(
    () => runtime.withManager(manager, work),
    () => {
      attempt(() => memory?.release());
      attempt(() => runtime.retire(manager));
    },
  );
}
