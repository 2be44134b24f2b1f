import { orUndo } from '../../../src/core/attempt.js';
import { checkArgument } from '../../../src/core/errors.js';
import { NativeStreams } from '../native-streams.js';
import type { OpenClContext } from './opencl-context.js';
import { call, eventOf, statusError, words } from './opencl-functions.js';

const CL_EVENT_COMMAND_EXECUTION_STATUS = 0x11d3;
const CL_COMPLETE = 0;
const STATUS_BYTES = 4;

/** A stream or an event: a cl_command_queue or cl_event as a number, and whose it is. */
export interface OpenClHandle {
  readonly context: OpenClContext;
  readonly handle: number;
}

/** In-order queues as streams, and their events. Default streams are the default queues. */
export class OpenClStreams extends NativeStreams<OpenClHandle> {
  readonly #contextOf: (device?: number) => OpenClContext;

  /** @param contextOf - gives a device, or the active one */
  constructor(contextOf: (device?: number) => OpenClContext) {
    super();
    this.#contextOf = contextOf;
  }

  /** Makes a queue on the active device. @returns its stream's number @throws ERR_MEM_NATIVE */
  create(): number {
    const context = this.#contextOf();
    return this.add({ context, handle: context.createQueue() });
  }

  /**
   * The queue of a stream, for work on memory of a device; stream 0 is that device's default queue.
   *
   * @throws ERR_MEM_INVALID_ARGUMENT when there is no such stream, or it is another device's
   */
  queueFor(stream: number, context: OpenClContext): number {
    if (stream === 0) return context.queue;
    const found = this.find(stream);
    checkOwner('stream', found, context);
    return found.handle;
  }

  protected override defaultOf(device?: number): OpenClHandle {
    const context = this.#contextOf(device);
    return { context, handle: context.queue };
  }

  protected override closeStream({ context, handle }: OpenClHandle): void {
    context.releaseQueue(handle);
  }

  protected override recordEvent({ context, handle: queue }: OpenClHandle): OpenClHandle {
    const { cl } = context;
    const handle = eventOf((event) => call(cl, 'clEnqueueMarkerWithWaitList', queue, 0, null, event));
    // A queue that nobody flushes may never start, and a query would wait for ever.
    orUndo(
      () => call(cl, 'clFlush', queue),
      () => cl.clReleaseEvent(handle),
    );
    return { context, handle };
  }

  protected override isDone({ context, handle }: OpenClHandle): boolean {
    return isComplete(context, handle);
  }

  protected override waitFor(stream: OpenClHandle, event: OpenClHandle): void {
    checkOwner('event', event, stream.context);
    call(event.context.cl, 'clEnqueueBarrierWithWaitList', stream.handle, 1, words(event.handle), null);
  }

  protected override finish({ context, handle }: OpenClHandle): void {
    call(context.cl, 'clWaitForEvents', 1, words(handle));
  }

  protected override destroyEvent({ context, handle }: OpenClHandle): void {
    call(context.cl, 'clReleaseEvent', handle);
  }
}

function checkOwner(name: 'stream' | 'event', { context }: OpenClHandle, expected: OpenClContext): void {
  checkArgument(context === expected, name, `one of device ${context.id}`, `one of device ${expected.id}`);
}

/**
 * Tells whether the work before an event is done.
 * @param handle - a cl_event. @throws ERR_MEM_NATIVE also when its work failed
 */
export function isComplete({ cl }: OpenClContext, handle: number): boolean {
  const value = new Int32Array(1);
  call(cl, 'clGetEventInfo', handle, CL_EVENT_COMMAND_EXECUTION_STATUS, STATUS_BYTES, value, null);
  const state = value[0] as number;
  if (state < 0) throw statusError('work on a queue', state);
  return state === CL_COMPLETE;
}
