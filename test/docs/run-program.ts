import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { LIMIT_MS } from '../config/limits.js';

const END = '\u001e';
/** Shows where a piece of a page ends in what the program prints. A worker, which loads it as well, does not. */
const PRELOADED = `import { isMainThread } from 'node:worker_threads';
if (isMainThread) globalThis.pieceEnds = () => process.stdout.write('${END}');
`;

/** How a program ended. */
export interface Ended {
  readonly status: number | null;
  /** What it printed, up to the end of each piece. */
  readonly printed: readonly string[];
  readonly stderr: string;
}

let running = 0;
const waiting: (() => void)[] = [];

/** Waits until fewer than two others run: so many processors has a small machine. */
async function begin(): Promise<void> {
  if (running === 2) await new Promise<void>((resolve) => waiting.push(resolve));
  else running++;
}

function end(): void {
  const next = waiting.shift();
  if (next === undefined) running--;
  else next();
}

/**
 * Runs a program, as a file in a folder of its own, which is its working folder.
 *
 * @param prepare - puts into the folder what the program reads, and gives variables of its environment
 */
export async function runProgram(
  path: string,
  code: string,
  prepare: (folder: string) => NodeJS.ProcessEnv = () => ({}),
): Promise<Ended> {
  await begin();
  try {
    const folder = dirname(path);
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    const preloaded = join(folder, '.piece-ends.mjs');
    writeFileSync(preloaded, PRELOADED);
    writeFileSync(path, code);
    const env = prepare(folder);
    const child = spawn(process.execPath, ['--import', preloaded, basename(path)], {
      cwd: folder,
      env: { ...process.env, NODE_OPTIONS: '', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: LIMIT_MS,
    });
    const [stdout, stderr, [status]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
    return { status, printed: stdout.split(END), stderr };
  } finally {
    end();
  }
}
