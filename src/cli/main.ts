#!/usr/bin/env node
import { complain, EXIT_FAILED, packageVersion, VERSION_FLAGS } from './text.js';

// A reader that has seen enough (`stowage … | head`) closes the pipe: that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') return;
  complain(`the output cannot be written: ${error.message}`);
  process.exitCode = EXIT_FAILED;
});
const args = process.argv.slice(2);
if (args.length === 1 && VERSION_FLAGS.includes(args[0] as string)) {
  // What scripts ask first needs no parser of arguments.
  process.stdout.write(`${packageVersion()}\n`);
} else {
  const { runCli } = await import('./program.js');
  const exitCode = await runCli(args);
  process.exitCode ??= exitCode;
}
