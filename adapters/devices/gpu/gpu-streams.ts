import { orUndo } from '../../../src/core/attempt.js';
import { NativeStreams } from '../native-streams.js';
import type { GpuRuntime } from './gpu-runtime.js';

/** A stream or an event: what the runtime calls it, and whose it is. */
export interface GpuHandle {
  readonly handle: number;
  readonly device: number;
  /** Whether someone else made it, and will destroy it. */
  readonly isAdopted?: boolean;
}

/** Streams and events of a GPU. */
export class GpuStreams extends NativeStreams<GpuHandle> {
  constructor(readonly runtime: GpuRuntime) {
    super();
  }

  /** Makes a stream on the active device. @returns its number @throws ERR_MEM_NATIVE */
  create(): number {
    const { activeDevice: device } = this.runtime;
    return this.add({ handle: this.runtime.on(device, () => this.runtime.streamCreate()), device });
  }

  /** Gives a number to a stream of the active device that someone else made and will destroy. */
  adopt(handle: number): number {
    return this.add({ handle, device: this.runtime.activeDevice, isAdopted: true });
  }

  /** Enqueues work, and an event behind it. @returns the event, to be destroyed by the runtime @throws what `enqueue` throws */
  recordAfter({ handle, device }: GpuHandle, enqueue: () => void): GpuHandle {
    const runtime = this.runtime;
    return runtime.on(device, () => {
      const event = runtime.eventCreate();
      const record = () => {
        enqueue();
        runtime.call('EventRecord', event, handle);
      };
      orUndo(record, () => runtime.leftovers.drop(() => runtime.call('EventDestroy', event)));
      return { handle: event, device };
    });
  }

  protected override defaultOf(device: number = this.runtime.activeDevice): GpuHandle {
    return { handle: 0, device };
  }

  protected override closeStream({ handle, device, isAdopted = false }: GpuHandle): void {
    // A stream that was closed has no work left: managers do not wait for it.
    this.runtime.on(device, () => this.runtime.call('StreamSynchronize', handle));
    if (!isAdopted) this.runtime.call('StreamDestroy', handle);
  }

  protected override recordEvent(stream: GpuHandle): GpuHandle {
    return this.recordAfter(stream, () => {});
  }

  protected override isDone(event: GpuHandle): boolean {
    return this.runtime.eventQuery(event.handle);
  }

  protected override waitFor(stream: GpuHandle, event: GpuHandle): void {
    this.runtime.on(stream.device, () => this.runtime.call('StreamWaitEvent', stream.handle, event.handle, 0));
  }

  protected override finish(event: GpuHandle): void {
    this.runtime.call('EventSynchronize', event.handle);
  }

  protected override destroyEvent(event: GpuHandle): void {
    this.runtime.call('EventDestroy', event.handle);
  }
}
