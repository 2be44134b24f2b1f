import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { complain } from './text.js';

/** A shell adds this to a signal's number. */
const EXIT_SIGNAL = 128;
/** The exit code of a shell for a command that it cannot find or start. */
const EXIT_NO_COMMAND = 127;
const FORWARDED: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGHUP', 'SIGINT'];

/** How a program ended. */
export interface ProgramEnd {
  /** As a shell gives it. */
  readonly exitCode: number;
  /** False when it could not be started, which was said. */
  readonly hasRun: boolean;
  /** The signal that ended it, or that it was sent before it ended by itself; undefined for none. */
  readonly signal?: NodeJS.Signals;
}

/** Runs a program on this terminal, and forwards signals to it. */
export async function runProgram([file = '', ...args]: readonly string[], env: NodeJS.ProcessEnv): Promise<ProgramEnd> {
  const child = spawn(file, args, { stdio: 'inherit', env });
  // The terminal sends an interrupt to both; this process stays for the summary.
  let sent: NodeJS.Signals | undefined;
  const forward = (signal: NodeJS.Signals) => {
    sent = signal;
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
  };
  for (const signal of FORWARDED) process.on(signal, forward);
  try {
    return await new Promise<ProgramEnd>((ended) => {
      child.once('error', (error) => {
        const { code } = error as NodeJS.ErrnoException;
        complain(`${file}: the program cannot be run: ${code === 'ENOENT' ? 'it is not found' : error.message}`);
        ended({ exitCode: EXIT_NO_COMMAND, hasRun: false });
      });
      child.once('exit', (code, signal) => {
        const exitCode = code ?? EXIT_SIGNAL + (signal === null ? 0 : constants.signals[signal]);
        const by = signal ?? sent ?? FORWARDED.find((name) => code === EXIT_SIGNAL + constants.signals[name]);
        ended({ exitCode, hasRun: true, ...(by === undefined ? {} : { signal: by }) });
      });
    });
  } finally {
    for (const signal of FORWARDED) process.off(signal, forward);
  }
}
