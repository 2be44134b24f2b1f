import type { StreamOperations } from '../../../src/core/device-interface.js';
import { badArgument } from '../range-checks.js';
import type { OpenClContext } from './opencl-context.js';
import { wordAt, words } from './opencl-functions.js';
import { checkStatus, statusError } from './opencl-status.js';

const CL_EVENT_COMMAND_EXECUTION_STATUS = 0x11d3;
const CL_COMPLETE = 0;
const STATUS_BYTES = 4;

interface Stream {
  readonly context: OpenClContext;
  readonly queue: number;
}

interface Event {
  readonly context: OpenClContext;
  /** The cl_event, as a number. */
  readonly handle: number;
}

/**
 * In-order queues as streams, and their events, under numbers that are never used twice. Default streams are the default
 * queues; any other belongs to the device that was active when it was made.
 */
export class OpenClStreams implements StreamOperations {
  readonly #contextOf: (device?: number) => OpenClContext;
  readonly #streams = new Map<number, Stream>();
  /** By device. A number outlives the queue that it names: a device that was closed is opened again. */
  readonly #defaults: number[] = [];
  readonly #events = new Map<number, Event>();
  #lastStream = 0;
  #lastEvent = 0;

  /** @param contextOf - gives a device, or the active one */
  constructor(contextOf: (device?: number) => OpenClContext) {
    this.#contextOf = contextOf;
  }

  /** Streams that were made and not closed. */
  get liveStreams(): number {
    return this.#streams.size;
  }

  /** Events that were recorded and not destroyed. */
  get liveEvents(): number {
    return this.#events.size;
  }

  /** Makes a queue on the active device. @returns its stream's number. @throws ERR_MEM_NATIVE */
  create(): number {
    const context = this.#contextOf();
    this.#streams.set(this.#lastStream + 1, { context, queue: context.createQueue() });
    return ++this.#lastStream;
  }

  defaultStream(device: number): number {
    return (this.#defaults[device] ??= ++this.#lastStream);
  }

  /** Waits for a stream's work and gives its queue back; one that is closed already is ignored. @throws ERR_MEM_NATIVE */
  close(stream: number): void {
    const found = this.#streams.get(stream);
    if (found === undefined) return;
    found.context.releaseQueue(found.queue);
    this.#streams.delete(stream);
  }

  /** Gives a device's events and streams back. @throws ERR_MEM_NATIVE */
  closeAll(context: OpenClContext): void {
    for (const [event, { context: owner }] of [...this.#events]) if (owner === context) this.destroy(event);
    for (const [stream, { context: owner }] of [...this.#streams]) if (owner === context) this.close(stream);
  }

  /**
   * The queue of a stream, for work on memory of a device; stream 0 is that device's default queue.
   *
   * @throws ERR_MEM_INVALID_ARGUMENT when there is no such stream, or it is another device's
   */
  queueFor(stream: number, context: OpenClContext): number {
    if (stream === 0) return context.queue;
    const found = this.find(stream);
    if (found.context !== context) {
      throw badArgument('stream', `${stream}, of device ${found.context.id}`, `a stream of device ${context.id}`);
    }
    return found.queue;
  }

  /** The device and queue of a stream. @throws ERR_MEM_INVALID_ARGUMENT */
  find(stream: number): Stream {
    const device = this.#defaults.indexOf(stream);
    if (stream !== 0 && device === -1) return this.#stream(stream);
    const context = stream === 0 ? this.#contextOf() : this.#contextOf(device);
    return { context, queue: context.queue };
  }

  /** @throws ERR_MEM_INVALID_ARGUMENT for a stream that was closed or never made, ERR_MEM_NATIVE */
  record(stream: number): number {
    const { context, queue } = this.find(stream);
    const event = new BigUint64Array(1);
    const { cl } = context;
    checkStatus('clEnqueueMarkerWithWaitList', cl.clEnqueueMarkerWithWaitList(queue, 0, null, event));
    const handle = wordAt(event);
    // A queue that nobody flushes may never start, and a query would wait for ever.
    const status = cl.clFlush(queue);
    if (status !== 0) {
      cl.clReleaseEvent(handle);
      throw statusError('clFlush', status);
    }
    this.#events.set(++this.#lastEvent, { context, handle });
    return this.#lastEvent;
  }

  /** @throws ERR_MEM_INVALID_ARGUMENT, ERR_MEM_NATIVE also when the work before the event failed */
  query(event: number): boolean {
    const { context, handle } = this.#event(event);
    return isComplete(context, handle);
  }

  /** @throws ERR_MEM_INVALID_ARGUMENT for an event that was destroyed, or of another device than the stream; ERR_MEM_NATIVE */
  wait(stream: number, event: number): void {
    const { context, handle } = this.#event(event);
    const target = this.find(stream);
    if (target.context !== context) {
      throw badArgument('event', `${event}, of device ${context.id}`, `an event of device ${target.context.id}`);
    }
    const { cl } = context;
    checkStatus('clEnqueueBarrierWithWaitList', cl.clEnqueueBarrierWithWaitList(target.queue, 1, words(handle), null));
  }

  /** @throws ERR_MEM_INVALID_ARGUMENT, ERR_MEM_NATIVE */
  synchronize(event: number): void {
    const { context, handle } = this.#event(event);
    checkStatus('clWaitForEvents', context.cl.clWaitForEvents(1, words(handle)));
  }

  /** @throws ERR_MEM_INVALID_ARGUMENT, ERR_MEM_NATIVE */
  destroy(event: number): void {
    const { context, handle } = this.#event(event);
    checkStatus('clReleaseEvent', context.cl.clReleaseEvent(handle));
    this.#events.delete(event);
  }

  #stream(stream: number): Stream {
    const found = this.#streams.get(stream);
    if (found === undefined) throw badArgument('stream', stream, '0, or a stream of this device that is not closed');
    return found;
  }

  #event(event: number): Event {
    const found = this.#events.get(event);
    if (found === undefined) throw badArgument('event', event, 'an event of this device that is not destroyed');
    return found;
  }
}

/** Tells whether an event has come to pass. @param handle - a cl_event. @throws ERR_MEM_NATIVE also when its work failed */
export function isComplete({ cl }: OpenClContext, handle: number): boolean {
  const value = new Int32Array(1);
  const status = cl.clGetEventInfo(handle, CL_EVENT_COMMAND_EXECUTION_STATUS, STATUS_BYTES, value, null);
  checkStatus('clGetEventInfo', status);
  const state = value[0] as number;
  if (state < 0) throw statusError('work on a queue', state);
  return state === CL_COMPLETE;
}
