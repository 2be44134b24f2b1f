import type { StreamOperations } from '../../../src/core/device-interface.js';
import { badArgument } from '../range-checks.js';
import type { GpuRuntime } from './gpu-runtime.js';

/** A stream or an event: what the runtime calls it, and whose it is. */
export interface GpuHandle {
  readonly handle: number;
  readonly device: number;
}

// Of all devices of this process, so that none is taken for one of another.
let lastId = 0;

/** Streams and events of a GPU, under numbers of our own: one that is gone is told from one that is not. */
export class GpuStreams implements StreamOperations {
  readonly #runtime: GpuRuntime;
  readonly #streams = new Map<number, GpuHandle>();
  readonly #events = new Map<number, GpuHandle>();
  /** By device. */
  readonly #defaults: number[] = [];

  constructor(runtime: GpuRuntime) {
    this.#runtime = runtime;
  }

  /** Makes a stream on the active device. @returns its id @throws ERR_MEM_NATIVE */
  create(): number {
    const device = this.#runtime.activeDevice;
    return this.adopt(this.#runtime.on(device, () => this.#runtime.streamCreate()));
  }

  /** Gives a stream of the active device that someone else made an id. */
  adopt(handle: number): number {
    return this.#add({ handle, device: this.#runtime.activeDevice });
  }

  defaultStream(device: number): number {
    return (this.#defaults[device] ??= this.#add({ handle: 0, device }));
  }

  /** Waits for a stream that {@link create} made, and destroys it. @throws ERR_MEM_INVALID_ARGUMENT, ERR_MEM_NATIVE */
  close(stream: number): void {
    const { handle } = this.stream(stream);
    this.#runtime.streamSynchronize(handle);
    this.#runtime.streamDestroy(handle);
    this.#streams.delete(stream);
  }

  /** Takes the id of an adopted stream back. @throws ERR_MEM_INVALID_ARGUMENT */
  forget(stream: number): void {
    this.stream(stream);
    this.#streams.delete(stream);
  }

  /** A stream by its id; 0 is the default one of the active device. @throws ERR_MEM_INVALID_ARGUMENT */
  stream(id: number): GpuHandle {
    if (id === 0) return { handle: 0, device: this.#runtime.activeDevice };
    const found = this.#streams.get(id);
    if (found === undefined) throw badArgument('stream', id, '0 or an open stream of this device');
    return found;
  }

  /** @throws ERR_MEM_INVALID_ARGUMENT, ERR_MEM_NATIVE */
  record(stream: number): number {
    const { device, handle } = this.recordAfter(this.stream(stream), () => {});
    this.#events.set(++lastId, { handle, device });
    return lastId;
  }

  /** Enqueues work, and an event behind it. @returns the event, to be destroyed by the runtime @throws what `enqueue` throws */
  recordAfter({ handle, device }: GpuHandle, enqueue: () => void): GpuHandle {
    const runtime = this.#runtime;
    return runtime.on(device, () => {
      const event = runtime.eventCreate();
      try {
        enqueue();
        runtime.eventRecord(event, handle);
      } catch (error) {
        runtime.leftovers.drop(() => runtime.eventDestroy(event));
        throw error;
      }
      return { handle: event, device };
    });
  }

  /** @throws ERR_MEM_INVALID_ARGUMENT, ERR_MEM_NATIVE */
  query(event: number): boolean {
    return this.#runtime.eventQuery(this.#event(event).handle);
  }

  /** @throws ERR_MEM_INVALID_ARGUMENT, ERR_MEM_NATIVE */
  wait(stream: number, event: number): void {
    const { handle } = this.#event(event);
    const waiting = this.stream(stream);
    this.#runtime.on(waiting.device, () => this.#runtime.streamWait(waiting.handle, handle));
  }

  /** @throws ERR_MEM_INVALID_ARGUMENT, ERR_MEM_NATIVE */
  synchronize(event: number): void {
    this.#runtime.eventSynchronize(this.#event(event).handle);
  }

  /** @throws ERR_MEM_INVALID_ARGUMENT, ERR_MEM_NATIVE */
  destroy(event: number): void {
    this.#runtime.eventDestroy(this.#event(event).handle);
    this.#events.delete(event);
  }

  #add(stream: GpuHandle): number {
    this.#streams.set(++lastId, stream);
    return lastId;
  }

  #event(id: number): GpuHandle {
    const found = this.#events.get(id);
    if (found === undefined) throw badArgument('event', id, 'an event of this device that was recorded and not destroyed');
    return found;
  }
}
