#!/usr/bin/env node
import { EXIT_FAILED, runCli } from './program.js';
import { complain } from './text.js';

// A reader that has seen enough (`stowage … | head`) closes the pipe: that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') return;
  complain(`the output cannot be written: ${error.message}`);
  process.exitCode = EXIT_FAILED;
});
const exitCode = await runCli(process.argv.slice(2));
process.exitCode ??= exitCode;
