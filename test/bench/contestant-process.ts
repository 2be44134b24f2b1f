import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';
import type { Contestant } from './contestants.js';
import type { ColdFacts, WarmFacts } from './subject.js';

/** Some peers take minutes for a trace. */
const ANSWER_TIMEOUT_MS = 300_000;

interface Waiting {
  readonly resolve: (line: string) => void;
  readonly reject: (error: Error) => void;
}

/** A contestant at work on one trace: a process that answers one line of JSON for each command, and idles in between. */
export class ContestantProcess {
  readonly contestant: Contestant;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: Interface;
  #waiting: Waiting | undefined;
  #complaint = '';
  #ended: Error | undefined;

  /** @param main - the file of contestant-main */
  constructor(contestant: Contestant, eventFile: string, main: string) {
    this.contestant = contestant;
    const { native, javaScript } = contestant;
    this.#child =
      native === undefined
        ? spawn(process.execPath, [main, JSON.stringify(javaScript), eventFile])
        : spawn(native.file, [eventFile, ...native.args], { env: { ...process.env, ...native.env } });
    this.#lines = createInterface({ input: this.#child.stdout });
    this.#lines.on('line', (line) => {
      const waiting = this.#waiting;
      this.#waiting = undefined;
      waiting?.resolve(line);
    });
    this.#child.stderr.on('data', (chunk: Buffer) => {
      this.#complaint = `${this.#complaint}${chunk.toString()}`.slice(-2000);
    });
    // A pipe that broke shows as the end of the process, too.
    this.#child.stdin.on('error', () => undefined);
    this.#child.on('error', (error) => this.#end(error.message));
    this.#child.on('close', (code, signal) => this.#end(`it ended with ${signal ?? `status ${code}`}`));
  }

  cold(): Promise<ColdFacts> {
    return this.#ask<ColdFacts>('cold');
  }

  warmUp(): Promise<object> {
    return this.#ask<object>('warm');
  }

  /** Replays `repeats` times. @returns the median time of an event in ns */
  async round(repeats: number): Promise<number> {
    return (await this.#ask<{ nsPerEvent: number }>(`round ${repeats}`)).nsPerEvent;
  }

  /**
   * Replays once; the events from number `first` on are timed in `count` parts of equal length.
   *
   * @returns the median time of an event in ns
   */
  async parts(first: number, count: number): Promise<number> {
    return (await this.#ask<{ nsPerEvent: number }>(`parts ${first} ${count}`)).nsPerEvent;
  }

  /** Tells whether the trace completes on a device of that capacity; null where nothing has a capacity. */
  async fits(capacityBytes: number): Promise<boolean | null> {
    return (await this.#ask<{ fits: boolean | null }>(`fits ${capacityBytes}`)).fits;
  }

  after(): Promise<WarmFacts> {
    return this.#ask<WarmFacts>('after');
  }

  /** Ends the process. */
  stop(): void {
    this.#lines.close();
    this.#child.kill();
  }

  async #ask<T extends object>(command: string): Promise<T> {
    if (this.#ended !== undefined) throw this.#ended;
    let timer: NodeJS.Timeout | undefined;
    const line = await new Promise<string>((resolve, reject) => {
      this.#waiting = { resolve, reject };
      timer = setTimeout(() => {
        this.#end(`no answer to '${command}' within ${ANSWER_TIMEOUT_MS / 1000} s`);
        this.stop();
      }, ANSWER_TIMEOUT_MS);
      this.#child.stdin.write(`${command}\n`);
    }).finally(() => clearTimeout(timer));
    const answer = JSON.parse(line) as T & { error?: string };
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer;
  }

  #end(reason: string): void {
    const [complaint = ''] = this.#complaint.trim().split('\n').slice(-1);
    this.#ended ??= new Error(complaint === '' ? reason : `${reason}: ${complaint}`);
    this.#waiting?.reject(this.#ended);
    this.#waiting = undefined;
  }
}
