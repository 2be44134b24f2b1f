import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { MemoryError } from '../core/errors.js';

/** A shell's code for a program that a signal ended is this and the signal's number. */
const SIGNALLED = 128;

/**
 * Runs a program with this process's input and outputs, to its end. Signals that ask this process to end go to it.
 *
 * @param words - the program and its arguments
 * @param env - set beside the environment of this process
 * @returns its exit code, as a shell gives it
 * @throws ERR_MEM_BAD_INPUT when it cannot be started, as a rejection
 */
export function runProgram(words: readonly string[], env: Readonly<Record<string, string>>): Promise<number> {
  const [file = '', ...args] = words;
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { stdio: 'inherit', env: { ...process.env, ...env } });
    const forward = (signal: NodeJS.Signals): void => void child.kill(signal);
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
    for (const signal of signals) process.on(signal, forward);
    const leave = (): void => {
      for (const signal of signals) process.off(signal, forward);
    };
    child.once('error', (error) => {
      leave();
      reject(new MemoryError('ERR_MEM_BAD_INPUT', { file, line: 0, reason: `it cannot be run: ${error.message}` }, error));
    });
    child.once('exit', (code, signal) => {
      leave();
      resolve(code ?? SIGNALLED + constants.signals[signal as NodeJS.Signals]);
    });
  });
}
