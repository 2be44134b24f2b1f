import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { complain } from './text.js';

/** A shell adds this to a signal's number. */
const EXIT_SIGNAL = 128;
/** The exit code of a shell for a command that it cannot find or start. */
const EXIT_NO_COMMAND = 127;
const FORWARDED: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGHUP', 'SIGINT'];

/** Runs a program on this terminal, and forwards signals to it. @returns its exit code, as a shell gives it */
export async function runProgram([file = '', ...args]: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const child = spawn(file, args, { stdio: 'inherit', env });
  // The terminal sends an interrupt to both; this process stays for the summary.
  const forward = (signal: NodeJS.Signals) => {
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
  };
  for (const signal of FORWARDED) process.on(signal, forward);
  try {
    return await new Promise<number>((ended) => {
      child.once('error', (error) => {
        complain(`${file}: the program cannot be run: ${error.message}`);
        ended(EXIT_NO_COMMAND);
      });
      child.once('exit', (code, signal) => ended(code ?? EXIT_SIGNAL + (signal === null ? 0 : constants.signals[signal])));
    });
  } finally {
    for (const signal of FORWARDED) process.off(signal, forward);
  }
}
