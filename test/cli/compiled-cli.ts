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

/** Runs the compiled command. */
export function stowage(args: readonly string[], env: NodeJS.ProcessEnv = {}): Outcome {
  const { status, stdout, stderr } = spawnSync(process.execPath, [mainFile(), ...args], {
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '', ...env },
  });
  return { code: status, stdout, stderr };
}
