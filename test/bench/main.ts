import '../../src/defaults.js';
import { join } from 'node:path';
import { runBench } from './command.js';

/** Runs the compiled benchmark of a repository. @returns the exit code */
export function main(root: string, args: readonly string[]): Promise<number> {
  return runBench(args, {
    root,
    peers: join(root, 'test/bench/peers'),
    cache: join(root, 'node_modules/.cache/stowage-bench-peers'),
    compiled: import.meta.dirname,
  });
}
