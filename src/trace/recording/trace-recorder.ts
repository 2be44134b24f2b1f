import { siteFrames } from '../../core/allocation-site.js';
import { checkOptionNames, type OptionNames } from '../../core/option-names.js';
import '../../core/disposable.js';
import { warn } from '../../core/attempt.js';
import { checkHost } from '../../core/check-given.js';
import { MemoryError } from '../../core/errors.js';
import { atExit, forgetAtExit } from '../../core/exit-hook.js';
import type { ManagerSlot } from '../../core/manager-slot.js';
import type { MemoryHost } from '../../core/memory-host.js';
import { FileLogSink } from '../../runtime/file-log-sink.js';
import { StowageEncoder } from '../formats/stowage-encoder.js';
import { programName } from './program-name.js';
import { CLOCK_EVENTS, RecordingContext, SlotRecorder } from './slot-recorder.js';

/** The longest time that events stay in a block that is not full, while the event loop runs or the program allocates. */
const FLUSH_MS = 1000;

/** How to record. */
export interface RecordOptions {
  /**
   * Whether the stack of each allocation is recorded; a number says how many of the program's frames.
   * @defaultValue false; true records 8
   */
  readonly sites?: boolean | number;
  /** Whether to refuse a path that exists, even as a link. @defaultValue false */
  readonly exclusive?: boolean;
  /** The name of the recorded program. @defaultValue the name of the process's main script */
  readonly name?: string;
}

const OPTIONS: OptionNames<RecordOptions> = { sites: true, exclusive: true, name: true };

/**
 * Writes what happens in the slots of hosts into a file, as this library's binary trace.
 *
 * Events are buffered into blocks of 64 KiB; a block is written when it is full, after a second, at dispose and at exit.
 * A write that fails (a full disk) ends the recording with a process warning; allocations go on.
 */
export class TraceRecorder {
  readonly #encoder: StowageEncoder;
  readonly #context: RecordingContext;
  readonly #slots: (readonly [slot: ManagerSlot, recorder: SlotRecorder])[] = [];
  #timer: NodeJS.Timeout | undefined;
  #file: FileLogSink | undefined;
  #disposed = false;
  #flushedMs = performance.now();
  #hosts = 0;

  /**
   * Creates the file, for its owner alone (mode 0600), or empties the one that is there.
   *
   * @throws ERR_MEM_BAD_INPUT when the path cannot be written, or is written here already, ERR_MEM_INVALID_ARGUMENT for bad options
   */
  constructor(
    readonly path: string,
    options: RecordOptions = {},
  ) {
    checkOptionNames('recordTrace', options, OPTIONS);
    const frames = siteFrames(options.sites);
    const name = programName(options.name);
    this.#file = new FileLogSink(path, { exclusive: options.exclusive ?? false });
    const header = {
      name,
      startedAt: new Date().toISOString(),
      pid: process.pid,
      clockEvents: CLOCK_EVENTS,
    };
    this.#encoder = new StowageEncoder(header, (bytes) => this.#write(bytes));
    this.#context = new RecordingContext(this.#encoder, frames, (nowMs) => {
      if (nowMs - this.#flushedMs >= FLUSH_MS) this.#flush();
    });
    // A full disk may have ended the recording already.
    if (this.#file === undefined) return;
    this.#timer = setInterval(() => this.#flush(), FLUSH_MS).unref();
    // The last native frees of the hosts belong to the recording.
    atExit(this, 'watcher');
  }

  /** Events that were written. */
  get events(): number {
    return this.#encoder.events;
  }

  /** Records both slots of a host from now on. Does nothing when a write has failed. @throws ERR_MEM_DISPOSED after dispose */
  add(host: MemoryHost): void {
    checkHost(host);
    if (this.#disposed) throw new MemoryError('ERR_MEM_DISPOSED', { what: 'trace recorder' });
    if (this.#file === undefined) return;
    const number = ++this.#hosts;
    const name = number === 1 ? '' : `host ${number}`;
    this.#watch(host.slot, name);
    this.#watch(host.pinnedSlot, name === '' ? 'pinned' : `${name}, pinned`);
  }

  /** Writes the buffered events, marks the recording as complete, and closes the file. Does nothing the second time. */
  dispose(): void {
    this.#disposed = true;
    if (this.#file === undefined) return;
    this.#encoder.end();
    this.#stop();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** @internal */
  endWithProcess(): void {
    this.dispose();
  }

  #flush(): void {
    this.#flushedMs = performance.now();
    // The next event may come after a pause.
    this.#context.untilClock = 0;
    this.#encoder.flush();
  }

  #watch(slot: ManagerSlot, space: string): void {
    const recorder = new SlotRecorder(this.#context, this.#slots.length + 1, space);
    slot.observe(recorder);
    this.#slots.push([slot, recorder]);
    const manager = slot.active?.getHandle();
    if (manager !== undefined) recorder.swap(manager);
  }

  #write(bytes: Uint8Array): void {
    try {
      this.#file?.write(bytes);
    } catch (error) {
      // The call that is being recorded has succeeded: a full disk must not turn it into a failure.
      this.#stop();
      warn(new MemoryError('ERR_MEM_TRACE_WRITE', { file: this.path }, error));
    }
  }

  #stop(): void {
    const file = this.#file;
    this.#file = undefined;
    clearInterval(this.#timer);
    forgetAtExit(this);
    for (const [slot, recorder] of this.#slots) slot.unobserve(recorder);
    file?.dispose();
  }
}

/**
 * Records what happens in both slots of a host from now on: `using recorder = recordTrace(runtime, 'app.stowtrace')`.
 * The recording ends with the recorder, or with the process.
 *
 * @param file - created, or emptied; `stowage replay`, `convert` and `report` read it
 * @throws ERR_MEM_BAD_INPUT when the file cannot be written, or is written here already, ERR_MEM_INVALID_ARGUMENT for bad options
 */
export function recordTrace(host: MemoryHost, file: string, options: RecordOptions = {}): TraceRecorder {
  // Before a file is emptied.
  checkHost(host);
  const recorder = new TraceRecorder(file, options);
  recorder.add(host);
  return recorder;
}
