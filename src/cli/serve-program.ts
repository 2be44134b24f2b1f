import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import '../core/disposable.js';
import { MemoryError } from '../core/errors.js';
import { serveEnded } from '../report/live/ended-dashboard.js';
import type { LiveState } from '../report/live/live-data.js';
import { checkPortFree } from '../report/live/local-server.js';
import { STATE_PATH } from '../report/live/serve-dashboard.js';
import {
  SERVE_SITES_VARIABLE,
  SERVE_STATE_VARIABLE,
  SERVE_VARIABLE,
  type ServedProgram,
} from '../report/live/serve-from-environment.js';
import { type ProgramEnd, runProgram } from './run-program.js';
import { complain } from './text.js';

const LOOK_MS = 200;
const LEAST_PAUSE_MS = 1000;
/** The program is asked for a tenth of the time at most. */
const PAUSE_PER_ANSWER = 9;

/** How a program is served. */
export interface ServeOptions {
  readonly port: number;
  /** As the environment has it: 0, 1, or a number of frames. */
  readonly sites: string;
  /** Whether the page stays after the program has ended, until an interrupt. */
  readonly stay: boolean;
}

/**
 * Runs a program with its page served, and serves the last state of the page afterwards.
 *
 * @returns the exit code of the program
 * @throws ERR_MEM_INVALID_ARGUMENT for a port that is taken, as a rejection; nothing was run
 */
export async function serveProgram(words: readonly string[], { port, sites, stay }: ServeOptions): Promise<number> {
  if (port !== 0) await checkPortFree(port);
  const folder = mkdtempSync(join(tmpdir(), 'stowage-serve-'));
  const file = join(folder, 'state.json');
  try {
    const settings = { [SERVE_VARIABLE]: String(port), [SERVE_SITES_VARIABLE]: sites, [SERVE_STATE_VARIABLE]: file };
    using keeper = new StateKeeper(file);
    if (stay) void keeper.follow();
    const end = await runProgram(words, { ...process.env, ...settings });
    if (!end.hasRun) return end.exitCode;
    const served = readServed(file);
    const last = served?.last ?? keeper.last;
    if (served === undefined) complain('the program made no runtime of stowage: there was nothing to show');
    else if (served.url === undefined) {
      complain('the program ended before its page could be served: stowage record keeps what a short program does');
    } else if (stay && last !== undefined) await showLast(last, new URL(served.url), end);
    return end.exitCode;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Keeps the last known state of a served program: a program that is killed does not tell its last one. */
class StateKeeper {
  last: LiveState | undefined;
  readonly #ended = new AbortController();

  constructor(readonly file: string) {}

  [Symbol.dispose](): void {
    this.#ended.abort();
  }

  async follow(): Promise<void> {
    const { signal } = this.#ended;
    try {
      while (!existsSync(this.file) || readServed(this.file)?.url === undefined) await sleep(LOOK_MS, undefined, { signal });
      const { url = '' } = readServed(this.file) as ServedProgram;
      for (;;) {
        const start = performance.now();
        const answer = await fetch(new URL(STATE_PATH, url), { signal });
        if (answer.ok) this.last = (await answer.json()) as LiveState;
        const pauseMs = Math.max(LEAST_PAUSE_MS, (performance.now() - start) * PAUSE_PER_ANSWER);
        await sleep(pauseMs, undefined, { signal });
      }
    } catch {
      // The program has ended, or its page has: what was kept is the last that is known.
    }
  }
}

function readServed(file: string): ServedProgram | undefined {
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as ServedProgram) : undefined;
}

/** Serves the last state until an interrupt. */
async function showLast(last: LiveState, url: URL, { exitCode, signal }: ProgramEnd): Promise<void> {
  const how = signal === undefined ? `with exit code ${exitCode}` : `by ${signal}`;
  try {
    await using dashboard = await serveEnded(last, Number(url.port), `the program has ended ${how}`);
    complain(`the program has ended ${how}; its page stays at ${dashboard.url} until Ctrl-C`);
    await new Promise<void>((resolve) => {
      for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => resolve());
    });
  } catch (error) {
    if (!MemoryError.is(error)) throw error;
    complain(`the page of the program cannot be served any more: ${error.message}`);
  }
}
