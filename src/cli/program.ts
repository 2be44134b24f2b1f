import { Command, CommanderError } from 'commander';
import { MemoryError, type MemoryErrorCode } from '../core/errors.js';
import { complain, EXIT_BAD_INPUT, EXIT_FAILED, EXIT_OK, packageVersion, VERSION_FLAGS } from './text.js';

/** Told at the end of a run whether it failed, or the exit code of the program that was run. */
type Done = (failed: boolean | number) => void;

/** A command: its name, its description, and the module with the rest, which is loaded when the command is named. */
type CommandEntry = readonly [name: string, description: string, load: () => Promise<(command: Command, done: Done) => void>];

const COMMANDS: readonly CommandEntry[] = [
  [
    'replay',
    'Replay a trace of any format, plain or gzipped, and print what each manager made of it.',
    async () => (await import('./replay.js')).addReplayCommand,
  ],
  [
    'tune',
    'Search managers and their settings for the least memory or time that a trace needs, on the simulated device.',
    async () => (await import('./tune.js')).addTuneCommand,
  ],
  [
    'whatif',
    'Ask a memory snapshot of PyTorch whether it fits on a smaller card, where it fails, and which PYTORCH_ALLOC_CONF helps.',
    async () => (await import('./whatif.js')).addWhatIfCommand,
  ],
  [
    'serve',
    'Run a program that uses this library, and serve a page that shows its memory as it changes.',
    async () => (await import('./serve.js')).addServeCommand,
  ],
  [
    'record',
    'Run a program and record what its memory managers do. It needs no change; children that use stowage write files of their own.',
    async () => (await import('./record.js')).addRecordCommand,
  ],
  [
    'explain',
    "Show what a process's memory is made of: that of a running one by its number, or of a program that is run, and its children.",
    async () => (await import('./explain.js')).addExplainCommand,
  ],
  [
    'convert',
    'Write a trace of any format in another one. The format of the input is told from its content, plain or gzipped.',
    async () => (await import('./convert.js')).addConvertCommand,
  ],
  [
    'diff',
    'Compare two recordings, snapshots or logs of a program, and name the sites and tags whose memory grew.',
    async () => (await import('./diff.js')).addDiffCommand,
  ],
  [
    'model',
    'Show what a model file (GGUF, safetensors) takes by type and layer, and how it fits into memory.',
    async () => (await import('./model.js')).addModelCommand,
  ],
  [
    'shm',
    'Shared memory segments of this library: show them, remove stale ones.',
    async () => (await import('./shm.js')).addShmCommand,
  ],
  [
    'error',
    'Say what an error code means, which facts the error carries, and what to do now.',
    async () => (await import('./error.js')).addErrorCommand,
  ],
  [
    'doctor',
    'Use every device and host once, and say which work on this machine and why the others do not.',
    async () => (await import('./doctor.js')).addDoctorCommand,
  ],
];

const BAD_INPUT_CODES: readonly MemoryErrorCode[] = ['ERR_MEM_BAD_INPUT', 'ERR_MEM_INVALID_ARGUMENT'];

/**
 * Runs the `stowage` command. An error goes to stderr in one line, `stowage: …`.
 *
 * @param args - the arguments behind the command's name
 * @returns the exit code
 */
export async function runCli(args: readonly string[]): Promise<number> {
  let exitCode = EXIT_OK;
  const done: Done = (failed) => {
    exitCode = typeof failed === 'number' ? failed : failed ? EXIT_FAILED : EXIT_OK;
  };
  try {
    // The command that is run, or whose help is printed: `replay x`, `help replay`.
    const words = args.filter((word) => !word.startsWith('-'));
    const program = await createProgram(words[0] === 'help' ? words[1] : words[0], done);
    if (args.length === 0) program.error('no command is given: see stowage --help');
    await program.parseAsync(unknownCommand(program, words) ?? args, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_OK : EXIT_BAD_INPUT;
    // Any other error is a defect of this program: Node prints its stack.
    if (!MemoryError.is(error)) throw error;
    complain(error.message);
    return BAD_INPUT_CODES.includes(error.code) ? EXIT_BAD_INPUT : EXIT_FAILED;
  }
}

/** Makes the program. Only the named command is loaded; of the others it has the names and descriptions. */
async function createProgram(named: string | undefined, done: Done): Promise<Command> {
  const program = new Command('stowage')
    .description('Memory managers for native memory: what a program allocates, and what each manager makes of it.')
    .version(packageVersion(), VERSION_FLAGS.join(', '), 'print the version')
    .helpOption('-h, --help', 'print this help')
    .exitOverride()
    .configureOutput({
      outputError: (text) => complain(text.replace(/^error: /, '').replace(/\(Did you mean/, '(did you mean')),
    })
    .addHelpText('after', '\nExit codes: 0 done, 1 the run failed (such as out of memory), 2 bad input or arguments.');
  for (const [name, description, load] of COMMANDS) {
    const command = program.command(name).description(description);
    if (name === named) (await load())(command, done);
  }
  return program;
}

/**
 * The words that name commands, up to the first that is none: for it the parser would print the help of its parent.
 *
 * @returns undefined when each of them is one
 */
function unknownCommand(program: Command, words: readonly string[]): string[] | undefined {
  const named: string[] = [];
  let command: Command | undefined = program;
  for (const word of words) {
    if (command.commands.length === 0) return undefined;
    if (word === 'help') continue;
    named.push(word);
    command = command.commands.find((one) => one.name() === word);
    if (command === undefined) return named;
  }
  return undefined;
}
