import { CompletionPoller } from '../completion-poller.js';
import { DeviceBudget } from '../device-budget.js';
import type { OpenClFacts } from './opencl-facts.js';
import { type OpenClFunctions, words } from './opencl-functions.js';
import { checkStatus } from './opencl-status.js';

const CL_CONTEXT_PLATFORM = 0x1084;

/** One device in use: its cl_context, its in-order queues, and what its memory may still give. */
export class OpenClContext {
  readonly cl: OpenClFunctions;
  /** The device's id in this process's list. */
  readonly id: number;
  readonly facts: OpenClFacts;
  /** The cl_context, as a number. */
  readonly handle: number;
  /** The default queue's cl_command_queue, as a number. */
  readonly queue: number;
  readonly budget: DeviceBudget;
  readonly poller = new CompletionPoller();
  /** Buffers that were made and not disposed of. */
  liveBuffers = 0;
  readonly #queues = new Set<number>();

  private constructor(cl: OpenClFunctions, id: number, facts: OpenClFacts, handles: { context: number; queue: number }) {
    this.cl = cl;
    this.id = id;
    this.facts = facts;
    this.handle = handles.context;
    this.queue = handles.queue;
    this.budget = new DeviceBudget(facts.capacityBytes);
    this.#queues.add(handles.queue);
  }

  /** Makes the context of a device, and its default queue. @throws ERR_MEM_NATIVE */
  static open(cl: OpenClFunctions, id: number, facts: OpenClFacts): OpenClContext {
    const properties = words(CL_CONTEXT_PLATFORM, facts.platform, 0);
    const status = new Int32Array(1);
    const context = cl.clCreateContext(properties, 1, words(facts.device), 0, 0, status);
    checkStatus('clCreateContext', status[0] as number);
    try {
      return new OpenClContext(cl, id, facts, { context, queue: makeQueue(cl, context, facts.device) });
    } catch (error) {
      cl.clReleaseContext(context);
      throw error;
    }
  }

  /** Makes a further queue. @throws ERR_MEM_NATIVE */
  createQueue(): number {
    const queue = makeQueue(this.cl, this.handle, this.facts.device);
    this.#queues.add(queue);
    return queue;
  }

  /** Waits for a queue's work and gives it back. @throws ERR_MEM_NATIVE */
  releaseQueue(queue: number): void {
    this.finish(queue);
    checkStatus('clReleaseCommandQueue', this.cl.clReleaseCommandQueue(queue));
    this.#queues.delete(queue);
  }

  /** Waits for all work of a queue. @throws ERR_MEM_NATIVE */
  finish(queue: number): void {
    checkStatus('clFinish', this.cl.clFinish(queue));
  }

  /** Waits for all work of all queues. @throws ERR_MEM_NATIVE */
  finishAll(): void {
    for (const queue of this.#queues) this.finish(queue);
  }

  /** Gives the queues and the context back. After a failure it can be called again. @throws ERR_MEM_NATIVE */
  release(): void {
    for (const queue of [...this.#queues]) this.releaseQueue(queue);
    checkStatus('clReleaseContext', this.cl.clReleaseContext(this.handle));
  }
}

function makeQueue(cl: OpenClFunctions, context: number, device: number): number {
  const status = new Int32Array(1);
  // Without properties a queue is in order.
  const queue = cl.clCreateCommandQueueWithProperties(context, device, null, status);
  checkStatus('clCreateCommandQueueWithProperties', status[0] as number);
  return queue;
}
