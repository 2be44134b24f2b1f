#!/usr/bin/env node
import '../defaults.js';
import { runCli } from './program.js';

// A reader that has seen enough (`stowage … | head`) closes the pipe: that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});
process.exitCode = await runCli(process.argv.slice(2));
