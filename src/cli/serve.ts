import type { Command } from 'commander';
import type { ManagerFactory } from '../core/memory-host.js';
import { serveWithSites } from '../report/live/serve-dashboard.js';
import { SERVE_SITES_VARIABLE, SERVE_VARIABLE } from '../report/live/serve-from-environment.js';
import { MemoryRuntime } from '../runtime/memory-runtime.js';
import '../defaults.js';
import { installManager } from '../trace/replay.js';
import { ReplayBlocks, type ReplayWatcher } from '../trace/replay-blocks.js';
import type { TraceEvents } from '../trace/trace-events.js';
import { loadTrace } from '../trace/trace-reader.js';
import { byName, type Flags, parseNumber, sitesSetting } from './arguments.js';
import { MANAGERS, simulatedDevice } from './choices.js';
import { inputPath } from './output-file.js';
import { serveProgram } from './serve-program.js';

const SLICE_MS = 25;
const MS_PER_SECOND = 1000;

type ServeFlags = Flags<'port' | 'manager' | 'rate', 'trace', never> & {
  readonly sites?: true | string;
  readonly stay?: boolean;
};

/** Adds what `stowage serve` takes. @param done - told at the end with which code to exit */
export function addServeCommand(command: Command, done: (exitCode: number) => void): void {
  command
    .argument('[program...]', 'the program and its arguments, behind --')
    .option('-p, --port <n>', 'where to serve, on 127.0.0.1; 0 takes any port', '0')
    .option('-s, --sites [frames]', 'show where memory is allocated, as flame graphs: slower, some tens of µs an allocation')
    .option('--stay', 'after the program has ended the page stays until Ctrl-C (default: on a terminal)')
    .option('--no-stay', 'end with the program')
    .option('--trace <file>', 'instead of a program, replay this trace over and over')
    .option('-m, --manager <name>', `with --trace: the manager, ${[...MANAGERS.keys()].join(', ')}`, 'caching')
    .option('--rate <n>', 'with --trace: events a second', '5000')
    .addHelpText(
      'after',
      `\nThe page's address is printed on standard error as soon as the program makes its first runtime.\n` +
        `The program needs no change: it is told by ${SERVE_VARIABLE}=<port> in its environment,\n` +
        `and ${SERVE_SITES_VARIABLE}=1 for sites.\n` +
        'With --trace the sites are those of the trace.\n' +
        `/metrics of the page's server is for Prometheus.\n` +
        '\nExamples:\n  stowage serve --port 8080 -- node app.js\n  stowage serve --trace app.trace.gz --manager pool',
    );
  command.action(async (words: string[], flags: ServeFlags) => {
    const port = parseNumber('--port', flags.port, { form: /^\d{1,5}$/, from: 0, to: 65_535 }, 'an integer from 0 to 65535');
    if (flags.trace !== undefined) {
      if (words.length > 0) command.error('--trace does not go with a program');
      if (flags.stay !== undefined) command.error('--stay and --no-stay go with a program');
      if (flags.sites !== undefined) command.error('--sites goes with a program: those of a trace are shown anyway');
      const rate = parseNumber(
        '--rate',
        flags.rate,
        { form: /^\d+$/, from: 1, to: Number.POSITIVE_INFINITY },
        'a positive integer',
      );
      await serveTrace(flags.trace, byName('--manager', flags.manager, MANAGERS), port, rate);
      return;
    }
    for (const option of ['manager', 'rate']) {
      if (command.getOptionValueSource(option) === 'cli') command.error(`--${option} goes with --trace alone`);
    }
    if (words.length === 0) command.error('no program is given: stowage serve -- node app.js');
    const stay = flags.stay ?? process.stdin.isTTY === true;
    done(await serveProgram(words, { port, sites: sitesSetting(flags.sites), stay }));
  });
}

/** Replays a trace again and again, with the dashboard open, until the process is interrupted. */
async function serveTrace(path: string, create: ManagerFactory, port: number, rate: number): Promise<void> {
  const events = await loadTrace(inputPath(path));
  using runtime = new MemoryRuntime(simulatedDevice(undefined));
  installManager(runtime, create);
  const sites = new ReplaySites(events);
  const source = events.sites === undefined ? undefined : () => sites.next();
  await using dashboard = await serveWithSites(runtime, { port, title: events.name }, source);
  process.stderr.write(`stowage: the dashboard is at ${dashboard.url}; end it with Ctrl-C\n`);
  let blocks = new ReplayBlocks(events, runtime.slot, sites);
  await new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      blocks.run(Math.min(events.length, blocks.event + Math.ceil((rate * SLICE_MS) / MS_PER_SECOND)));
      if (blocks.event < events.length) return;
      blocks.freeAll();
      sites.restart();
      blocks = new ReplayBlocks(events, runtime.slot, sites);
    }, SLICE_MS);
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => {
        clearInterval(timer);
        resolve();
      });
    }
  });
  blocks.freeAll();
}

/** Gives the sites of a trace that is being replayed: the slot tells of an allocation before the replay does. */
class ReplaySites implements ReplayWatcher {
  #event = 0;

  constructor(readonly events: TraceEvents) {}

  /** The site of the allocation that is being made. */
  next(): string {
    while (this.#event < this.events.length && !this.events.isAlloc(this.#event)) this.#event++;
    return this.events.siteOf(this.#event);
  }

  allocated(event: number): void {
    this.#event = event + 1;
  }

  /** The trace is replayed from its beginning. */
  restart(): void {
    this.#event = 0;
  }
}
