import { resolve } from 'node:path';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { MemoryBudget } from '../budget/memory-budget.js';
import { sitesOfVariable } from '../core/allocation-site.js';
import type { Releasable } from '../core/disposable.js';
import { badArgument } from '../core/errors.js';
import { atExit } from '../core/exit-hook.js';
import type { ManagerFactory } from '../core/memory-host.js';
import { claimEnvironment, environmentFile } from '../runtime/environment-file.js';
import { FileLogSink } from '../runtime/file-log-sink.js';
import { MemoryRuntime } from '../runtime/memory-runtime.js';
import { SITES_VARIABLE, TRACE_VARIABLE } from '../trace/recording/record-from-environment.js';
import { TraceRecorder } from '../trace/recording/trace-recorder.js';
import { ConfExitReport } from './conf-exit-report.js';
import { CONF_VARIABLE } from './conf-variable.js';
import { describeConf } from './describe-conf.js';
import { managerFactory } from './manager-factory.js';
import { parseConf, type StowageConf } from './parse-conf.js';

/** Set by the process that writes the files itself, so that its children and threads use names of their own. */
const OWNER_VARIABLE = 'STOWAGE_CONF_OWNER';

/** The folder in which the program started, when it was configured by then: it may change its folder before its first use. */
let startFolder: string | undefined;
/** What is in force. A runtime that follows one that was closed gets the same. */
let inForce: AppliedConf | undefined;

/** Notes the folder that paths of `STOWAGE_CONF` are relative to, and whose its files are. Does nothing without the variable. */
export function prepareConf(): void {
  if (confText() === undefined) return;
  startFolder = process.cwd();
  claimEnvironment(OWNER_VARIABLE);
}

/**
 * Makes the runtime that the process shares, as `STOWAGE_CONF` says, which is read the first time. Without it, a runtime over CPU
 * memory and no more.
 *
 * @throws ERR_MEM_INVALID_ARGUMENT with the place in the variable, ERR_MEM_BAD_INPUT for a file that cannot be written; nothing stays
 *   open then, and the next call tries again
 */
export function configuredRuntime(): MemoryRuntime {
  const text = confText();
  if (inForce === undefined && text === undefined) return new MemoryRuntime(new CpuDevice());
  inForce ??= AppliedConf.of(checkedConf(text!));
  return inForce.createRuntime();
}

/**
 * Describes what `STOWAGE_CONF` says; undefined when it is not set. Opens nothing.
 *
 * @throws ERR_MEM_INVALID_ARGUMENT as {@link configuredRuntime}
 */
export function describeConfFromEnvironment(): string | undefined {
  const text = confText();
  if (text === undefined) return undefined;
  const conf = checkedConf(text);
  managerFactory(conf);
  return describeConf(conf);
}

function confText(): string | undefined {
  const text = process.env[CONF_VARIABLE];
  return text === undefined || text.trim() === '' ? undefined : text;
}

function checkedConf(text: string): StowageConf {
  const conf = parseConf(text);
  if (conf.trace === undefined || (process.env[TRACE_VARIABLE] ?? '') === '') return conf;
  throw badArgument(
    CONF_VARIABLE,
    `trace:${conf.trace}`,
    `without trace while ${TRACE_VARIABLE} is set: a runtime is recorded once`,
  );
}

/** A configuration whose files are open. */
class AppliedConf {
  readonly #create: ManagerFactory;
  readonly #log: FileLogSink | undefined;
  readonly #recorder: TraceRecorder | undefined;
  readonly #budget: MemoryBudget | undefined;
  readonly #report: ConfExitReport;
  readonly #reportAtExit: boolean | undefined;
  #membership: Releasable | undefined;

  static of(conf: StowageConf): AppliedConf {
    const opened: Releasable[] = [];
    try {
      return new AppliedConf(conf, opened);
    } catch (error) {
      for (const one of opened.reverse()) one.dispose();
      throw error;
    }
  }

  private constructor(conf: StowageConf, opened: Releasable[]) {
    const { log, trace, limit, reportAtExit } = conf;
    const keep = <T extends Releasable>(one: T): T => {
      opened.push(one);
      return one;
    };
    this.#create = managerFactory(conf);
    if (log !== undefined) {
      const { path, exclusive } = fileOf(log);
      this.#log = keep(new FileLogSink(path, { exclusive }));
    }
    if (trace !== undefined) {
      const { path, exclusive } = fileOf(trace);
      this.#recorder = keep(new TraceRecorder(path, { exclusive, sites: sitesOfVariable(SITES_VARIABLE) }));
    }
    const silence = reportAtExit === false ? { exitReport: false as const } : {};
    if (limit !== undefined) {
      this.#budget = keep(new MemoryBudget({ limit, name: CONF_VARIABLE, watchV8: false, ...silence }));
    }
    this.#reportAtExit = reportAtExit;
    this.#report = new ConfExitReport(describeConf(conf));
    // Before the runtime, which has closed by the time of those that come after it.
    if (reportAtExit === true) atExit(this.#report);
  }

  createRuntime(): MemoryRuntime {
    const runtime = new MemoryRuntime(new CpuDevice(), {
      exitReport: this.#reportAtExit === false ? false : this.#report,
      createDefaultManager: (deviceCount, table) => {
        const manager = this.#create(deviceCount, table);
        manager.setLogStream(this.#log);
        manager.setLoggingEnabled(this.#log !== undefined);
        return manager;
      },
    });
    this.#report.runtime = runtime;
    this.#recorder?.add(runtime);
    this.#membership?.dispose();
    this.#membership = this.#budget?.add(runtime, { name: 'default runtime' });
    return runtime;
  }
}

/** What a file of the configuration is called in this process. */
function fileOf(path: string): { readonly path: string; readonly exclusive: boolean } {
  return environmentFile(resolve(startFolder ?? process.cwd(), path), OWNER_VARIABLE);
}
