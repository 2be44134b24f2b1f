import { orUndo } from '../../../src/core/attempt.js';
import '../../../src/core/disposable.js';
import type { DeviceGraph } from '../../../src/core/device-graph.js';
import { type DeviceStream, streamIdOf } from '../../../src/core/device-stream.js';
import { checkArgument, checkUsable } from '../../../src/core/errors.js';
import { numberIn } from '../../os/bytes.js';
import { GpuFunctions } from './gpu-functions.js';
import type { GpuRuntime } from './gpu-runtime.js';
import type { GpuHandle, GpuStreams } from './gpu-streams.js';

const FUNCTIONS = {
  StreamBeginCapture: ['uintptr_t', 'int'],
  StreamEndCapture: ['uintptr_t', 'uint32_t *'],
  GraphInstantiateWithFlags: ['uint32_t *', 'uintptr_t', 'uint64_t'],
  GraphLaunch: ['uintptr_t', 'uintptr_t'],
  GraphDestroy: ['uintptr_t'],
  GraphExecDestroy: ['uintptr_t'],
} as const;

type GraphFunctions = GpuFunctions<typeof FUNCTIONS>;

// The same numbers in CUDA and HIP: memory may be allocated meanwhile.
const RELAXED = 2;
/** Of a capture in which a call was made that cannot be captured. */
const INVALIDATED = 901;

/** Captures work of streams. */
export class GpuGraphs {
  readonly #runtime: GpuRuntime;
  readonly #streams: GpuStreams;
  readonly #functions: GraphFunctions;

  constructor(runtime: GpuRuntime, streams: GpuStreams) {
    this.#runtime = runtime;
    this.#streams = streams;
    this.#functions = new GpuFunctions(runtime, FUNCTIONS);
  }

  /** Captures what `fn` enqueues on a stream, and on others that it lets wait for that one and that one for. */
  capture(stream: DeviceStream | number, fn: () => void): GpuGraph {
    const on = this.#streams.find(streamIdOf(stream));
    checkArgument(on.handle !== 0, 'stream', streamIdOf(stream), 'a stream that is no default stream');
    return this.#runtime.on(on.device, () => {
      this.#functions.call('StreamBeginCapture', on.handle, RELAXED);
      const graph = this.#streams.whileCapturing(() => this.#captured(on, fn));
      try {
        const out = new Uint32Array(2);
        this.#functions.call('GraphInstantiateWithFlags', out, graph, 0);
        return new GpuGraph(this.#runtime, this.#streams, this.#functions, { handle: numberIn(out), device: on.device });
      } finally {
        // What can be launched does not need it.
        this.#runtime.leftovers.drop(() => this.#functions.call('GraphDestroy', graph));
      }
    });
  }

  /** Ends what was begun, whatever happens. @returns the graph */
  #captured(on: GpuHandle, fn: () => unknown): number {
    const out = new Uint32Array(2);
    const work = () => {
      const result = fn();
      const isPromise = typeof (result as Promise<void> | undefined)?.then === 'function';
      checkArgument(!isPromise, 'fn', 'one that gives a promise', 'a function that has enqueued its work when it returns');
      this.#functions.call('StreamEndCapture', on.handle, out);
    };
    orUndo(work, () => this.#runtime.leftovers.drop(() => this.#abandon(on)));
    return numberIn(out);
  }

  /** Ends a capture that has failed, unless it has ended. */
  #abandon({ handle, device }: GpuHandle): void {
    this.#runtime.on(device, () => {
      if (!this.#streams.askCapturing(handle)) return;
      const out = new Uint32Array(2);
      if (!this.#functions.ask('StreamEndCapture', INVALIDATED, handle, out)) return;
      this.#runtime.leftovers.drop(() => this.#functions.call('GraphDestroy', numberIn(out)));
    });
  }
}

/** A graph that can be launched. */
export class GpuGraph implements DeviceGraph {
  readonly #runtime: GpuRuntime;
  readonly #streams: GpuStreams;
  readonly #functions: GraphFunctions;
  readonly #graph: GpuHandle;
  #isDisposed = false;

  constructor(runtime: GpuRuntime, streams: GpuStreams, functions: GraphFunctions, graph: GpuHandle) {
    this.#runtime = runtime;
    this.#streams = streams;
    this.#functions = functions;
    this.#graph = graph;
  }

  /** The runtime's own handle, a `cudaGraphExec_t` as a number. @throws ERR_MEM_DISPOSED */
  get handle(): number {
    checkUsable(!this.#isDisposed, 'graph');
    return this.#graph.handle;
  }

  launch(stream: DeviceStream | number): void {
    checkUsable(!this.#isDisposed, 'graph');
    const { handle, device } = this.#graph;
    const id = streamIdOf(stream);
    const on = this.#streams.find(id);
    checkArgument(on.device === device || id === 0, 'stream', `${id} of device ${on.device}`, `a stream of device ${device}`);
    this.#runtime.on(device, () => this.#functions.call('GraphLaunch', handle, on.handle));
  }

  /** Destroys the graph when all work of its device is done. A second time does nothing. @throws ERR_MEM_NATIVE */
  dispose(): void {
    if (this.#isDisposed) return;
    this.#runtime.on(this.#graph.device, () => {
      this.#runtime.call('DeviceSynchronize');
      this.#functions.call('GraphExecDestroy', this.#graph.handle);
    });
    this.#isDisposed = true;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
