import { Command, CommanderError } from 'commander';
import { MemoryError, type MemoryErrorCode } from '../core/errors.js';
import { complain } from './complain.js';
import { addConvertCommand } from './convert-command.js';
import { addDoctorCommand } from './doctor-command.js';
import { addModelCommand } from './model-command.js';
import { addRecordCommand } from './record-command.js';
import { addReplayCommand } from './replay-command.js';
import { addServeCommand } from './serve-command.js';
import { addShmCommand } from './shm-command.js';
import { addTuneCommand } from './tune/tune-command.js';
import { packageVersion } from './version.js';

/** Everything went well. */
export const EXIT_OK = 0;
/** The run failed: out of memory, a block's bytes changed, the log could not be written to its end. */
export const EXIT_FAILED = 1;
/** A file or an argument is bad; nothing was done. */
export const EXIT_BAD_INPUT = 2;

const BAD_INPUT_CODES: readonly MemoryErrorCode[] = ['ERR_MEM_BAD_INPUT', 'ERR_MEM_INVALID_ARGUMENT'];

/**
 * Runs the `stowage` command. What is wrong goes to stderr in one line, `stowage: …`.
 *
 * @param args - the arguments behind the command's name
 * @returns the exit code
 */
export async function runCli(args: readonly string[]): Promise<number> {
  let exitCode = EXIT_OK;
  const program = createProgram((failed) => {
    exitCode = typeof failed === 'number' ? failed : failed ? EXIT_FAILED : EXIT_OK;
  });
  try {
    if (args.length === 0) program.error('no command is given: see stowage --help');
    await program.parseAsync(args, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_OK : EXIT_BAD_INPUT;
    // Anything else is a defect of this program: Node shows where.
    if (!MemoryError.is(error)) throw error;
    complain(error.message);
    return BAD_INPUT_CODES.includes(error.code) ? EXIT_BAD_INPUT : EXIT_FAILED;
  }
}

/** @param done - told at the end of a run whether it failed, or the exit code of the program that was run */
function createProgram(done: (failed: boolean | number) => void): Command {
  const program = new Command('stowage')
    .description(
      'Memory managers for native memory: record, convert and replay allocation traces, compare, tune, watch live, and see what works here.',
    )
    .version(packageVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .exitOverride()
    .configureOutput({
      outputError: (text) => complain(text.replace(/^error: /, '').replace(/\(Did you mean/, '(did you mean')),
    })
    .addHelpText('after', '\nExit codes: 0 done, 1 the run failed (such as out of memory), 2 bad input or arguments.');
  addReplayCommand(program, done);
  addTuneCommand(program, done);
  addServeCommand(program, done);
  addRecordCommand(program, done);
  addConvertCommand(program);
  addModelCommand(program);
  addShmCommand(program, done);
  addDoctorCommand(program);
  return program;
}
