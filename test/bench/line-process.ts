import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';

/** Some peers take minutes for a trace. */
const ANSWER_TIMEOUT_MS = 300_000;

interface Waiting {
  readonly resolve: (line: string) => void;
  readonly reject: (error: Error) => void;
}

/** A process that answers one line of JSON for each line that it is sent, and idles in between. */
export class LineProcess {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: Interface;
  #waiting: Waiting | undefined;
  #complaint = '';
  #ended: Error | undefined;

  /** @param env - beside that of this process */
  constructor(file: string, args: readonly string[], env: { readonly [name: string]: string } = {}) {
    this.#child = spawn(file, args, { env: { ...process.env, ...env } });
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

  /** Sends a line and waits for the answer. @throws what the process names as its `error`, or why it has ended */
  async ask<T extends object>(command: string): Promise<T> {
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

  /** Ends the process. */
  stop(): void {
    this.#lines.close();
    this.#child.kill();
  }

  #end(reason: string): void {
    const [complaint = ''] = this.#complaint.trim().split('\n').slice(-1);
    this.#ended ??= new Error(complaint === '' ? reason : `${reason}: ${complaint}`);
    this.#waiting?.reject(this.#ended);
    this.#waiting = undefined;
  }
}
