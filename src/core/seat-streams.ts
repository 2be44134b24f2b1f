import type { StreamOperations } from './device-interface.js';
import { waitForStream } from './device-stream.js';
import { MemoryError } from './errors.js';

/**
 * A device's streams as a manager in a slot gets them. Those that may work on its memory are noted: the slot waits for them
 * before it gives back what the manager left behind.
 */
export class SeatStreams implements StreamOperations {
  readonly #operations: StreamOperations;
  /** Those to wait for, default streams by their own numbers. */
  readonly #used = new Set<number>();

  constructor(operations: StreamOperations) {
    this.#operations = operations;
  }

  /** Notes that memory came from a device: its default stream may work on it without being named. */
  noteDevice(device: number): void {
    this.#used.add(this.#operations.defaultStream(device));
  }

  /** Waits for the work so far on every stream that was noted. @throws what the device throws; the rest is waited for the next time */
  finish(): void {
    for (const stream of this.#used) {
      try {
        waitForStream(this.#operations, stream);
      } catch (error) {
        // A stream that was closed: its work was done by then.
        if (!MemoryError.is(error, 'ERR_MEM_INVALID_ARGUMENT')) throw error;
      }
      this.#used.delete(stream);
    }
  }

  defaultStream(device: number): number {
    return this.#operations.defaultStream(device);
  }

  /** A manager records a stream when the stream is first named to it. */
  record(stream: number): number {
    if (stream !== 0) this.#used.add(stream);
    return this.#operations.record(stream);
  }

  query(event: number): boolean {
    return this.#operations.query(event);
  }

  wait(stream: number, event: number): void {
    this.#operations.wait(stream, event);
  }

  synchronize(event: number): void {
    this.#operations.synchronize(event);
  }

  isCaptured(event: number): boolean {
    return this.#operations.isCaptured?.(event) ?? false;
  }

  destroy(event: number): void {
    this.#operations.destroy(event);
  }
}
