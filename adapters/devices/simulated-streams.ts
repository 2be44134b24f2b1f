import { checkArgument } from '../../src/core/errors.js';
import { StreamEvents } from './stream-events.js';

/** A place in a stream: the end of its first `position` items. */
interface Mark {
  readonly stream: SimulatedStream;
  readonly position: number;
}

/** What a stream does next: a piece of work, or a wait for a mark of another stream. */
type Item = { readonly work: (() => void) | undefined } | Mark;

/** What a stream has to do, by its place in the stream. */
class SimulatedStream {
  readonly #items = new Map<number, Item>();
  submitted = 0;
  done = 0;

  get next(): Item | undefined {
    return this.#items.get(this.done);
  }

  push(item: Item): void {
    this.#items.set(this.submitted++, item);
  }

  pass(): void {
    this.#items.delete(this.done++);
  }
}

/**
 * Streams whose work is done only when a test says so: `submit` enqueues, `advance` does.
 * Work of one stream is done in order; a wait holds its stream up until the event is done.
 * Each device has a default stream; the others are every device's.
 */
export class SimulatedStreams extends StreamEvents<SimulatedStream, Mark> {
  readonly #activeDevice: () => number;
  /** Default streams are below 0. */
  readonly #streams = new Map<number, SimulatedStream>();

  /** @defaultValue activeDevice is always 0 */
  constructor(activeDevice: () => number = () => 0) {
    super();
    this.#activeDevice = activeDevice;
  }

  /** The id of a stream that was not used before. */
  create(): number {
    const id = Math.max(0, ...this.#streams.keys()) + 1;
    this.find(id);
    return id;
  }

  /** How much a stream has yet to do: pieces of work, and waits that it has not passed. @throws ERR_MEM_INVALID_ARGUMENT */
  pending(stream: number): number {
    const state = this.find(stream);
    return state.submitted - state.done;
  }

  /** Enqueues a piece of work; `work` runs when it is done. @throws ERR_MEM_INVALID_ARGUMENT */
  submit(stream: number, work?: () => void): void {
    this.find(stream).push({ work });
  }

  /**
   * Does the next pieces of work of a stream, until an event that is not done holds it up. Waits that are over count
   * as nothing.
   *
   * @param count - at most how many
   * @defaultValue count is 1
   * @returns how many were done
   * @throws ERR_MEM_INVALID_ARGUMENT, and what a piece of work throws: it counts as done
   */
  advance(stream: number, count = 1): number {
    const isCount = count === Number.POSITIVE_INFINITY || (Number.isSafeInteger(count) && count >= 0);
    checkArgument(isCount, 'count', count, 'a non-negative integer');
    const state = this.find(stream);
    let worked = 0;
    while (worked < count && this.#passWaits(state)) {
      perform(state);
      worked++;
    }
    this.#passWaits(state);
    return worked;
  }

  /** Does all work of all streams, in an order that every wait allows. */
  advanceAll(): void {
    for (const stream of this.#streams.values()) finish(stream);
  }

  /** Does all work that a device may have: of its default stream, of those that are every device's, and what these wait for. */
  advanceDevice(device: number): void {
    const own = this.defaultStream(device);
    for (const [id, stream] of this.#streams) if (id > 0 || id === own) finish(stream);
  }

  override defaultStream(device: number): number {
    const id = -1 - device;
    if (!this.#streams.has(id)) this.#streams.set(id, new SimulatedStream());
    return id;
  }

  /** A stream by its number, which need not have been made; 0 is the default one of the active device. */
  override find(id: number): SimulatedStream {
    const number = id === 0 ? this.defaultStream(this.#activeDevice()) : id;
    let stream = this.#streams.get(number);
    if (stream === undefined) {
      checkArgument(Number.isSafeInteger(id) && id >= 0, 'stream', id, 'a non-negative integer');
      stream = new SimulatedStream();
      this.#streams.set(id, stream);
    }
    return stream;
  }

  protected override recordEvent(stream: SimulatedStream): Mark {
    return { stream, position: stream.submitted };
  }

  protected override isDone(event: Mark): boolean {
    return reach(event, false);
  }

  protected override waitFor(stream: SimulatedStream, event: Mark): void {
    stream.push(event);
  }

  /** Does what the event stands for, in its stream and in those that it waits for, and no more. */
  protected override finish(event: Mark): void {
    reach(event, true);
  }

  protected override destroyEvent(): void {}

  /** Passes waits that are over. @returns whether a piece of work comes next */
  #passWaits(stream: SimulatedStream): boolean {
    for (let item = stream.next; item !== undefined; item = stream.next) {
      if (!('position' in item)) return true;
      if (!reach(item, false)) return false;
      stream.pass();
    }
    return false;
  }
}

/**
 * Brings a stream to a mark, and first those streams that it waits for.
 * It terminates: a wait is enqueued after its mark, so that no two waits wait for each other.
 *
 * @param work - whether to do work, or only to pass waits that are over
 * @returns whether the mark is reached
 */
function reach(target: Mark, work: boolean): boolean {
  const path = [target];
  for (let mark = path.at(-1); mark !== undefined; mark = path.at(-1)) {
    const item = mark.stream.next;
    if (mark.stream.done >= mark.position || item === undefined) path.pop();
    else if ('position' in item) {
      if (item.stream.done >= item.position) mark.stream.pass();
      else path.push(item);
    } else if (work) perform(mark.stream);
    else return false;
  }
  return true;
}

function finish(stream: SimulatedStream): void {
  reach({ stream, position: stream.submitted }, true);
}

function perform(stream: SimulatedStream): void {
  const item = stream.next;
  // Passed first: work that throws is not done again, and work may submit more.
  stream.pass();
  if (item !== undefined && !('position' in item)) item.work?.();
}
