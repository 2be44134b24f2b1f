import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { vi } from 'vitest';
import * as inTurns from '../../src/cli/in-turns.js';
import { runCli } from '../../src/cli/program.js';
import { compiled } from '../fixtures/compiled.js';

/** What a command wrote, and its exit code. */
export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The file of the compiled command. */
export function mainFile(): string {
  return join(compiled(), 'dist', 'src', 'cli', 'main.js');
}

/** Runs the compiled command. @param cwd - this process's working folder when left out */
export function stowage(args: readonly string[], env: NodeJS.ProcessEnv = {}, cwd?: string): Outcome {
  const { status, stdout, stderr } = spawnSync(process.execPath, [mainFile(), ...args], {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '', ...env },
  });
  return { code: status, stdout, stderr };
}

const { timeReplays } = inTurns;

/** Has a command in a process of its own measure replays in the fewest rounds: at each look at the clock a minute has passed. */
export const HURRIED: NodeJS.ProcessEnv = {
  NODE_OPTIONS: '--import=data:text/javascript,performance.now=((ms)=>()=>(ms+=60000))(0)',
};

/**
 * Runs the command in this process: for what is about no signal, no pipe and no environment, where a process of its own takes
 * ten times as long, and fifty times for what is refused. What `main.ts` adds is tried by the tests that use {@link stowage}.
 */
export async function stowageHere(args: readonly string[], cwd = process.cwd()): Promise<Outcome> {
  const written = { stdout: '', stderr: '' };
  const spies = (['stdout', 'stderr'] as const).map((name) =>
    vi.spyOn(process[name], 'write').mockImplementation((chunk) => {
      written[name] += String(chunk);
      return true;
    }),
  );
  // Replays are measured in the fewest rounds, as long ones are: half a second of rounds is a matter of `in-turns.test.ts`.
  let minutes = 0;
  const measured = vi
    .spyOn(inTurns, 'timeReplays')
    .mockImplementation((events, replays, onProgress) => timeReplays(events, replays, onProgress, () => 60_000 * minutes++));
  // Node writes warnings to stderr, those of other files of this process, too.
  const listeners = process.listeners('warning');
  process.removeAllListeners('warning');
  const before = process.cwd();
  process.chdir(cwd);
  try {
    return { code: await runCli(args), ...written };
  } finally {
    process.chdir(before);
    for (const spy of [...spies, measured]) spy.mockRestore();
    for (const listener of listeners) process.on('warning', listener);
  }
}
