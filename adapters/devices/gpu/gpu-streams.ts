import { orUndo } from '../../../src/core/attempt.js';
import { checkArgument } from '../../../src/core/errors.js';
import { NativeStreams } from '../native-streams.js';
import { GpuFunctions } from './gpu-functions.js';
import type { GpuRuntime } from './gpu-runtime.js';

/** A stream or an event: what the runtime calls it, and whose it is. */
export interface GpuHandle {
  readonly handle: number;
  readonly device: number;
  /** Whether someone else made it, and will destroy it. */
  readonly isAdopted?: boolean;
}

interface GpuStream extends GpuHandle {
  isClosed?: boolean;
}

/** An event; one of a stream that is captured tells nothing about the work that is done. */
interface GpuEvent extends GpuHandle {
  capturedOn?: GpuStream | undefined;
}

const CAPTURE_FUNCTIONS = { StreamIsCapturing: ['uintptr_t', 'int32_t *'] } as const;

/** Streams and events of a GPU. */
export class GpuStreams extends NativeStreams<GpuStream> {
  readonly #functions: GpuFunctions<typeof CAPTURE_FUNCTIONS>;
  readonly #status = new Int32Array(1);
  #captures = 0;

  constructor(readonly runtime: GpuRuntime) {
    super();
    this.#functions = new GpuFunctions(runtime, CAPTURE_FUNCTIONS);
  }

  /** Runs `fn` while streams are captured: events of these are not asked about. */
  whileCapturing<T>(fn: () => T): T {
    this.#captures++;
    try {
      return fn();
    } finally {
      this.#captures--;
    }
  }

  /** Tells whether what is enqueued on a stream is captured. No native call while nothing is. */
  isCapturing({ handle }: GpuHandle): boolean {
    return this.#captures > 0 && handle !== 0 && this.askCapturing(handle);
  }

  /** Asks the runtime whether a stream is captured, be it in vain. */
  askCapturing(handle: number): boolean {
    this.#functions.call('StreamIsCapturing', handle, this.#status);
    return this.#status[0] !== 0;
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

  protected override closeStream(stream: GpuStream): void {
    const { handle, device, isAdopted = false } = stream;
    // A stream that was closed has no work left: managers do not wait for it.
    this.runtime.on(device, () => this.runtime.call('StreamSynchronize', handle));
    if (!isAdopted) this.runtime.call('StreamDestroy', handle);
    stream.isClosed = true;
  }

  protected override recordEvent(stream: GpuStream): GpuEvent {
    const isCaptured = this.isCapturing(stream);
    const event = this.recordAfter(stream, () => {});
    return isCaptured ? { ...event, capturedOn: stream } : event;
  }

  protected override isDone(event: GpuEvent): boolean {
    if (event.capturedOn !== undefined) {
      // To ask would end the capture. Later the work of the stream until then counts.
      if (this.isOfCapture(event)) return false;
      this.#recordAgain(event);
    }
    return this.runtime.eventQuery(event.handle);
  }

  protected override waitFor(stream: GpuHandle, event: GpuHandle): void {
    this.runtime.on(stream.device, () => this.runtime.call('StreamWaitEvent', stream.handle, event.handle, 0));
  }

  protected override isOfCapture(event: GpuEvent): boolean {
    return this.#captures > 0 && event.capturedOn !== undefined;
  }

  protected override finish(event: GpuEvent): void {
    if (event.capturedOn !== undefined) {
      checkArgument(!this.isOfCapture(event), 'event', 'one of a stream that is captured', 'an event outside of the capture');
      this.#recordAgain(event);
    }
    this.runtime.call('EventSynchronize', event.handle);
  }

  protected override destroyEvent(event: GpuHandle): void {
    this.runtime.call('EventDestroy', event.handle);
  }

  /** Marks the present end of a stream's work by an event that was recorded in a capture. */
  #recordAgain(event: GpuEvent): void {
    const { capturedOn } = event;
    // A stream that was closed has no work left; the default stream's stands for it.
    const handle = capturedOn?.isClosed === true ? 0 : capturedOn!.handle;
    this.runtime.on(event.device, () => this.runtime.call('EventRecord', event.handle, handle));
    event.capturedOn = undefined;
  }
}
