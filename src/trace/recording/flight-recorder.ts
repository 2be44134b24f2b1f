import { accessSync, closeSync, constants, lstatSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { siteFrames } from '../../core/allocation-site.js';
import '../../core/disposable.js';
import { attempt } from '../../core/attempt.js';
import { checkHost } from '../../core/check-given.js';
import type { Releasable } from '../../core/disposable.js';
import { badArgument, checkArgument, checkUsable, MemoryError } from '../../core/errors.js';
import { CHUNK_EVENTS } from '../../core/event-ring.js';
import type { MemoryHost } from '../../core/memory-host.js';
import { checkOptionNames, type OptionNames } from '../../core/option-names.js';
import { processState } from '../../core/process-state.js';
import { KiB, MiB } from '../../core/units.js';
import { cannotWrite } from '../../runtime/file-log-sink.js';
import { checkUnwritten, noteReplacedFile } from '../../runtime/written-files.js';
import { writeFlight } from './flight-writer.js';
import { programName } from './program-name.js';
import { SlotFlight } from './slot-flight.js';

const DEFAULT_RING_BYTES = 4 * MiB;
const LEAST_RING_BYTES = 16 * KiB;
const MOST_RING_BYTES = 1024 * MiB;
const DEFAULT_SAMPLE_BYTES = 512 * KiB;
/** Between two files that the recorder writes by itself: a program may be refused again and again. */
const PAUSE_MS = 1000;
const OWNER_ONLY = 0o600;

/** How a flight recorder works. */
export interface FlightOptions {
  /** Bytes of the ring of each slot: 16 an event. @defaultValue 4 MiB, which hold 262,144 events */
  readonly ringBytes?: number | undefined;
  /** Bytes between two allocations whose site and tag are taken, on average. @defaultValue 512 KiB */
  readonly sampleBytes?: number | undefined;
  /** Whether sites are taken; a number says how many of the program's frames. @defaultValue true, which takes 8 */
  readonly sites?: boolean | number | undefined;
  /** A signal that has the file written, such as `SIGUSR2`. The program does not end by it any more. @defaultValue none */
  readonly signal?: NodeJS.Signals | undefined;
  /** The name of the recorded program. @defaultValue the name of the process's main script */
  readonly name?: string | undefined;
}

const OPTIONS: OptionNames<FlightOptions> = { ringBytes: true, sampleBytes: true, sites: true, signal: true, name: true };

declare module '../../core/process-state.js' {
  interface ProcessState {
    /** The flight recorders that are on. */
    flightRecorders?: Set<FlightRecorder>;
  }
}

/**
 * Keeps the last events of hosts in memory, and writes them into a file, as a recording, when something goes wrong: an allocation is
 * refused (out of memory, or by a budget), an error ends the process, or a signal comes. Each file takes the place of the one before.
 */
export class FlightRecorder {
  /** The file, as an absolute path. */
  readonly path: string;
  readonly #name: string;
  readonly #terms: { readonly ringBytes: number; readonly sampleBytes: number; readonly frames: number };
  readonly #signal: NodeJS.Signals | undefined;
  readonly #flights: SlotFlight[] = [];
  #hosts = 0;
  #disposed = false;
  #writtenMs = Number.NEGATIVE_INFINITY;
  #written = 0;
  readonly #noted: Releasable;

  /**
   * @throws ERR_MEM_BAD_INPUT when the file cannot be made, or a log or another recording here writes it; ERR_MEM_INVALID_ARGUMENT for
   *   bad options
   */
  constructor(path: string, options: FlightOptions = {}) {
    checkOptionNames('recordFlight', options, OPTIONS);
    const { ringBytes = DEFAULT_RING_BYTES, sampleBytes = DEFAULT_SAMPLE_BYTES, sites = true, signal } = options;
    const isRing = Number.isSafeInteger(ringBytes) && ringBytes >= LEAST_RING_BYTES && ringBytes <= MOST_RING_BYTES;
    checkArgument(isRing, 'ringBytes', ringBytes, 'an integer from 16 KiB to 1 GiB');
    checkArgument(Number.isSafeInteger(sampleBytes) && sampleBytes > 0, 'sampleBytes', sampleBytes, 'a positive integer');
    checkArgument(typeof path === 'string' && path !== '', 'path', JSON.stringify(path), 'the name of a file');
    // The program may change its folder before something happens.
    this.path = resolve(path);
    this.#name = programName(options.name);
    this.#terms = { ringBytes, sampleBytes, frames: siteFrames(sites) };
    this.#signal = signal;
    checkReplaceable(this.path);
    checkUnwritten(this.path);
    if (signal !== undefined) listenTo(signal, this.#onSignal);
    this.#noted = noteReplacedFile(this.path);
    process.on('uncaughtExceptionMonitor', this.#onFatal);
    processState().refusalListeners.add(this.#onRefusal);
    recorders().add(this);
  }

  /** How many files were written. */
  get written(): number {
    return this.#written;
  }

  /**
   * Keeps the events of both slots of a host from now on.
   *
   * @throws ERR_MEM_DISPOSED after dispose, ERR_MEM_INVALID_ARGUMENT when the host has a flight recorder
   */
  add(host: MemoryHost): void {
    checkHost(host);
    checkUsable(!this.#disposed, 'flight recorder');
    checkArgument(!host.slot.hasRing, 'host', host.constructor.name, 'a host without a flight recorder');
    const number = ++this.#hosts;
    const name = number === 1 ? '' : `host ${number}`;
    const terms = { ...this.#terms, refused: () => this.#writeAlone('out of memory') };
    const pinned = name === '' ? 'pinned' : `${name}, pinned`;
    for (const [slot, space] of [
      [host.slot, name],
      [host.pinnedSlot, pinned],
    ] as const) {
      const flight = new SlotFlight(host, slot, space, terms);
      flight.begin();
      this.#flights.push(flight);
    }
  }

  /** Whether it keeps the events of a host. */
  covers(host: MemoryHost): boolean {
    return this.#flights.some((flight) => flight.host === host);
  }

  /**
   * Writes what is in memory now into the file, or another one, for its owner alone (mode 0600). The file is made beside its place and
   * moved there as a whole; what is there, be it a link, is replaced.
   *
   * @param reason - stands in the file
   * @throws ERR_MEM_BAD_INPUT when the file cannot be made, or another recording or a log here writes it; ERR_MEM_TRACE_WRITE when it cannot
   *   be written to its end
   */
  write(path: string = this.path, reason = 'asked for'): void {
    if (resolve(path) !== this.path) checkUnwritten(path);
    // A program whose recorder writes nothing does not load node:crypto.
    const part = join(dirname(path), `.stowage-${process.getBuiltinModule('node:crypto').randomBytes(8).toString('hex')}.part`);
    let file: number;
    try {
      // Exclusive: never an existing file, and never through a link.
      file = openSync(part, 'wx', OWNER_ONLY);
    } catch (error) {
      throw cannotWrite(path, error);
    }
    try {
      try {
        this.#encode(reason, (bytes) => {
          for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done, bytes.length - done);
        });
      } finally {
        closeSync(file);
      }
      renameSync(part, path);
    } catch (error) {
      rmSync(part, { force: true });
      throw new MemoryError('ERR_MEM_TRACE_WRITE', { file: path }, error);
    }
    this.#written++;
  }

  /** What {@link write} would write. */
  snapshot(reason = 'asked for'): Uint8Array {
    const chunks: Uint8Array[] = [];
    this.#encode(reason, (bytes) => chunks.push(bytes.slice()));
    return Buffer.concat(chunks);
  }

  /** Ends it, without a file. Does nothing the second time. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    recorders().delete(this);
    this.#noted.dispose();
    process.off('uncaughtExceptionMonitor', this.#onFatal);
    processState().refusalListeners.delete(this.#onRefusal);
    if (this.#signal !== undefined) process.off(this.#signal, this.#onSignal);
    for (const flight of this.#flights) flight.end();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Also of refusals that no slot sees, as those of a tenant. */
  readonly #onRefusal = (): void => this.#writeAlone('refusal by a budget');

  readonly #onFatal = (error: unknown): void => {
    const what = error instanceof Error ? error.message : String(error);
    attempt(() => this.write(this.path, `fatal error: ${what.slice(0, 200)}`));
  };

  readonly #onSignal = (): void => attempt(() => this.write(this.path, `signal ${this.#signal}`));

  /** Writes, unless that was done a moment ago. What goes wrong becomes a process warning: the program has enough of its own. */
  #writeAlone(reason: string): void {
    const now = performance.now();
    if (now - this.#writtenMs < PAUSE_MS) return;
    this.#writtenMs = now;
    attempt(() => this.write(this.path, reason));
  }

  #encode(reason: string, out: (bytes: Uint8Array) => void): void {
    const { sampleBytes } = this.#terms;
    const startedAt = new Date().toISOString();
    const flight = { reason, sampleBytes };
    writeFlight(this.#flights, { name: this.#name, startedAt, pid: process.pid, clockEvents: CHUNK_EVENTS, flight }, out);
  }
}

/**
 * Keeps the last events of a host in memory from now on, cheap enough to leave on, and writes them when something goes wrong:
 * `using flight = recordFlight(runtime, 'app.flight.stowtrace')`. See docs/recording.md.
 *
 * @param file - what is written opens like any recording
 * @throws as {@link FlightRecorder}'s constructor and {@link FlightRecorder.add}
 */
export function recordFlight(host: MemoryHost, file: string, options: FlightOptions = {}): FlightRecorder {
  const recorder = new FlightRecorder(file, options);
  try {
    recorder.add(host);
  } catch (error) {
    recorder.dispose();
    throw error;
  }
  return recorder;
}

/** Refuses at once what could not be written when it is needed. @throws ERR_MEM_BAD_INPUT */
function checkReplaceable(path: string): void {
  try {
    const { W_OK, X_OK } = constants;
    accessSync(`${dirname(path)}/.`, W_OK | X_OK);
    if (lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true)
      throw Object.assign(new Error('a folder'), { code: 'EISDIR' });
  } catch (error) {
    throw cannotWrite(path, error);
  }
}

/** The flight recorder of a host. */
export function flightOf(host: MemoryHost): FlightRecorder | undefined {
  return [...recorders()].find((recorder) => recorder.covers(host));
}

function recorders(): Set<FlightRecorder> {
  return (processState().flightRecorders ??= new Set());
}

/** @throws ERR_MEM_INVALID_ARGUMENT for what is no signal that can be listened to */
function listenTo(signal: NodeJS.Signals, listener: () => void): void {
  const expected = 'a signal that can be listened to, such as SIGUSR2';
  checkArgument(Object.hasOwn(process.getBuiltinModule('node:os').constants.signals, signal), 'signal', String(signal), expected);
  try {
    process.on(signal, listener);
  } catch (error) {
    process.off(signal, listener);
    throw badArgument('signal', String(signal), expected, error);
  }
}
