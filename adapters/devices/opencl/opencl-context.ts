import { orUndo } from '../../../src/core/attempt.js';
import { DeviceCapacity } from '../device-capacity.js';
import type { OpenClFacts } from './opencl-facts.js';
import { call, make, type OpenClFunctions, words } from './opencl-functions.js';

const CL_CONTEXT_PLATFORM = 0x1084;

/** One device in use: its cl_context, its in-order queues, and what its memory may still give. */
export class OpenClContext {
  /** The cl_context, as a number. */
  readonly handle: number;
  /** The default queue's cl_command_queue, as a number. */
  readonly queue: number;
  readonly capacity: DeviceCapacity;
  /** Buffers that were made and not disposed of. */
  liveBuffers = 0;
  readonly #queues = new Set<number>();

  /** Makes the context of a device, and its default queue. @throws ERR_MEM_NATIVE */
  constructor(
    readonly cl: OpenClFunctions,
    /** The device's id in this process's list. */
    readonly id: number,
    readonly facts: OpenClFacts,
  ) {
    this.capacity = new DeviceCapacity(facts.capacityBytes);
    this.handle = make(cl, 'clCreateContext', words(CL_CONTEXT_PLATFORM, facts.platform, 0), 1, words(facts.device), 0, 0);
    this.queue = orUndo(
      () => this.createQueue(),
      () => cl.clReleaseContext(this.handle),
    );
  }

  /** Makes a further queue, in order. @throws ERR_MEM_NATIVE */
  createQueue(): number {
    const queue = make(this.cl, 'clCreateCommandQueueWithProperties', this.handle, this.facts.device, null);
    this.#queues.add(queue);
    return queue;
  }

  /** Waits for a queue's work and gives it back. @throws ERR_MEM_NATIVE */
  releaseQueue(queue: number): void {
    this.finish(queue);
    call(this.cl, 'clReleaseCommandQueue', queue);
    this.#queues.delete(queue);
  }

  /** Waits for all work of a queue. @throws ERR_MEM_NATIVE */
  finish(queue = this.queue): void {
    call(this.cl, 'clFinish', queue);
  }

  /** Waits for all work of all queues. @throws ERR_MEM_NATIVE */
  finishAll(): void {
    for (const queue of this.#queues) this.finish(queue);
  }

  /** Gives the queues and the context back. After a failure it can be called again. @throws ERR_MEM_NATIVE */
  release(): void {
    for (const queue of [...this.#queues]) this.releaseQueue(queue);
    call(this.cl, 'clReleaseContext', this.handle);
  }
}
