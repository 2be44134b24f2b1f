import type { StreamOperations } from '../../src/core/device-interface.js';
import { checkArgument, MemoryError } from '../../src/core/errors.js';

/** The streams of a device: names are checked once, and a stream that was closed has no work left. */
export class DeviceStreams {
  readonly #operations: () => StreamOperations | undefined;
  readonly #device: number;
  readonly #known = new Set<number>();

  /** @param operations - the device's; without them no stream but 0 is named */
  constructor(operations: () => StreamOperations | undefined, device: number) {
    this.#operations = operations;
    this.#device = device;
  }

  get operations(): StreamOperations {
    return this.#operations()!;
  }

  /** Those that were named, without stream 0. */
  get known(): ReadonlySet<number> {
    return this.#known;
  }

  /** Has the device look at a stream when it is first named: an event that fails later would fail a free. @throws what it throws */
  check(stream: number): void {
    if (stream === 0 || this.#known.has(stream)) return;
    this.operations.destroy(this.operations.record(stream));
    this.#known.add(stream);
  }

  /** Tells whether an event is of work that is captured, and cannot be waited for. */
  isCaptured(event: number): boolean {
    return this.operations.isCaptured?.(event) ?? false;
  }

  /** Records an event on a stream that was seen before; undefined when it was closed since, which its work was done by. */
  record(stream: number): number | undefined {
    const { operations } = this;
    try {
      // A free or a cleanup may come while another device is active.
      return operations.record(stream === 0 ? operations.defaultStream(this.#device) : stream);
    } catch (error) {
      if (stream !== 0 && MemoryError.is(error, 'ERR_MEM_INVALID_ARGUMENT')) return undefined;
      throw error;
    }
  }
}

/** @throws ERR_MEM_UNSUPPORTED_PLATFORM when the device has no streams; ERR_MEM_INVALID_ARGUMENT for what is no stream */
export function checkDeviceStream(streams: StreamOperations | undefined, stream: number, manager: string): void {
  if (streams === undefined) {
    throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { what: 'streams', platform: `the device of ${manager}` });
  }
  checkArgument(Number.isSafeInteger(stream) && stream >= 0, 'stream', stream, 'a stream of the device, or 0');
}
