import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
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
