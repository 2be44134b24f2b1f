import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { attempt } from '../core/attempt.js';
import { explainMemory } from './explain-memory.js';
import type { GiveBackStep, MemoryExplanation } from './memory-explanation.js';
import { trimMemory } from './trim-memory.js';

/** The folder to write explanations into. */
export const EXPLAIN_VARIABLE = 'STOWAGE_EXPLAIN';
/** Milliseconds from one explanation to the next; there is one at the end alone without it. */
export const EXPLAIN_EVERY_VARIABLE = 'STOWAGE_EXPLAIN_EVERY';
/** 1 tries to give memory back at the end, and says what came of it. */
export const EXPLAIN_TRIM_VARIABLE = 'STOWAGE_EXPLAIN_TRIM';
const KEY = Symbol.for('stowage.explain');
const SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];
const LEAST_EVERY_MS = 100;

/**
 * Has this process explain itself into the folder that `STOWAGE_EXPLAIN` names, as `<pid>.json`: at its end, also by a signal that may be
 * caught, and now and then if asked. `stowage explain -- node app.js` has Node call it before the program, in children too. Threads do
 * not: their memory is the process's.
 *
 * Does nothing without the variable, or when another copy of this package does it already.
 */
export function explainFromEnvironment(): void {
  const folder = process.env[EXPLAIN_VARIABLE];
  const holder = globalThis as { [KEY]?: true };
  const { isMainThread } = process.getBuiltinModule('node:worker_threads');
  if (folder === undefined || folder === '' || holder[KEY] === true || !isMainThread) return;
  holder[KEY] = true;
  const everyMs = Number(process.env[EXPLAIN_EVERY_VARIABLE]);
  if (everyMs >= LEAST_EVERY_MS) setInterval(() => attempt(() => write(folder, explainMemory())), everyMs).unref();
  const tries = process.env[EXPLAIN_TRIM_VARIABLE] === '1';
  let isDone = false;
  const finish = () => {
    if (isDone) return;
    isDone = true;
    attempt(() => write(folder, tries ? withTrim(explainMemory()) : explainMemory()));
  };
  process.prependListener('exit', finish);
  for (const signal of SIGNALS) {
    const explainAndEnd = () => {
      // Another listener goes on, or ends the program: with an exit.
      if (process.listenerCount(signal) > 1) return;
      finish();
      // Not before: the same signal again, as one to a group of processes comes, would end the process while it explains.
      process.off(signal, explainAndEnd);
      process.kill(process.pid, signal);
    };
    process.on(signal, explainAndEnd);
  }
}

/** Nobody reads half a file: it gets its name when it is whole. */
function write(folder: string, explanation: MemoryExplanation): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const file = join(folder, `${process.pid}.json`);
  const part = `${file}.part`;
  // Others can guess this name: a file or a link that they put there is never written through.
  rmSync(part, { force: true });
  writeFileSync(part, JSON.stringify(explanation), { mode: 0o600, flag: 'wx' });
  renameSync(part, file);
}

function withTrim(explanation: MemoryExplanation): MemoryExplanation {
  const giveBack = trimMemory().steps.map(({ step, bytes, skipped }): GiveBackStep => {
    return skipped === undefined ? { step, bytes, how: 'tried' } : { step, bytes: null, how: 'unknown' };
  });
  return { ...explanation, giveBack };
}
