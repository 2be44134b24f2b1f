import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openLibrary } from '../../adapters/ffi/index.js';
import type { EngineHost } from '../../adapters/hosts/engine-host.js';
import { GgmlHost } from '../../adapters/hosts/ggml/index.js';
import { OnnxRuntimeHost } from '../../adapters/hosts/onnxruntime/index.js';
import { SqliteHost, type SqliteHostOptions } from '../../adapters/hosts/sqlite/index.js';
import { SQLITE_NAMES } from '../../adapters/hosts/sqlite/sqlite-library.js';
import '../../src/index.js';
import { MiB } from '../../src/core/units.js';
import { Ggml, ggmlPath, Llama, writeModel } from '../hosts/ggml.js';
import { networkModel } from '../hosts/onnx-model.js';
import { inputs, loadOrt, needed } from '../hosts/onnxruntime.js';
import { Database, SqliteLibrary } from '../hosts/sqlite.js';
import { cachingManager, install } from '../hosts/test-managers.js';
import { type CallbackCost, measureCallbacks } from './callback-costs.js';

/** What an engine's work takes with an allocator. */
interface Timed {
  /** Processor time of all threads. */
  readonly ms: number;
  /** Allocations that the manager served; 0 for the engine's own allocator. */
  readonly allocations: number;
}

/** The same work of an engine with its own allocator, and with a CachingMemoryManager under it; each has done it once before. */
interface Engine {
  readonly name: string;
  readonly byItself: () => Promise<Timed>;
  readonly hosted: () => Promise<Timed>;
}

/** At least so many rounds; up to so many more while an engine has taken less than some seconds. */
const ROUNDS = 15;
const MOST_ROUNDS = 200;
const SHORT_MS = 4000;

/** What a call of C takes, and what an engine's work takes with its own allocator and with a CachingMemoryManager. */
export interface HostFigures {
  /** The first one is koffi's empty callback. Empty where there is no compiler. */
  readonly callbacks: readonly CallbackCost[];
  readonly engines: readonly EngineCost[];
  /** What is not here, and how to get it. */
  readonly missing: readonly string[];
}

interface EngineCost {
  readonly engine: string;
  readonly ownMs: number;
  readonly oursMs: number;
  readonly allocations: number;
}

/**
 * Measures what a callback costs, and each engine with its own allocator and with ours, by turns in one process. Times are the least
 * of all rounds, in processor time: what other programs take meanwhile is not in it.
 *
 * @param root - of the repository
 */
export async function measureHosts(root: string): Promise<HostFigures> {
  const callbacks = measureCallbacks();
  const from = join(root, 'test/hosts');
  const engines = [
    sqlite('text'),
    sqlite('prepared'),
    sqlite('text', { nativeSlabs: false }),
    ...(needed.missing ? [] : [onnxRuntime(from, 512, 64), onnxRuntime(from, 64, 1), ...ggmlEngines(ggmlPath(from))]),
  ];
  const costs: EngineCost[] = [];
  for (const { name, byItself, hosted } of engines) {
    await byItself();
    await hosted();
    let [ownMs, oursMs, allocations] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 0];
    const start = performance.now();
    for (let round = 0; round < ROUNDS || (performance.now() - start < SHORT_MS && round < MOST_ROUNDS); round++) {
      ownMs = Math.min(ownMs, (await byItself()).ms);
      const timed = await hosted();
      oursMs = Math.min(oursMs, timed.ms);
      ({ allocations } = timed);
    }
    costs.push({ engine: name, ownMs, oursMs, allocations });
  }
  const missing = [
    ...(callbacks.length === 0 ? ['a C compiler, for the costs of callbacks'] : []),
    ...(needed.missing ? [`${needed.title}; npm run test:hosts installs it`] : []),
  ];
  return { callbacks, engines: costs, missing };
}

/** The work of both: rows come by a statement's text, or by values that a prepared statement is given. */
function sqlite(how: 'text' | 'prepared', options: SqliteHostOptions = {}): Engine {
  const library = new SqliteLibrary(openLibrary(SQLITE_NAMES));
  const textOf = (i: number) => `text ${(i * 7919) % 10_000}`;
  const work = () => {
    const database = new Database(library, ':memory:');
    database.run('CREATE TABLE t(a INTEGER, b TEXT); CREATE INDEX i ON t(b); BEGIN');
    if (how === 'text') for (let i = 0; i < 10_000; i++) database.run(`INSERT INTO t VALUES (${i}, '${textOf(i)}')`);
    else database.insert('INSERT INTO t VALUES (?, ?)', 10_000, textOf);
    database.run('COMMIT');
    database.rows('SELECT b, sum(a) FROM t GROUP BY substr(b, 1, 7) ORDER BY 2');
    database.close();
  };
  return {
    name: [
      `SQLite: 10,000 inserts by ${how === 'text' ? 'statement text' : 'a prepared statement'}, a grouped query`,
      ...(options.nativeSlabs === false ? ['a callback for each block'] : []),
    ].join('; '),
    byItself: async () => {
      // As it is under the host: SQLite's own count of its memory is off.
      openLibrary(SQLITE_NAMES).func<(...values: unknown[]) => number>('sqlite3_config', 'int', ['int', '...'])(9, 'int', 0);
      const timed = await time(work);
      library.shutdown();
      return timed;
    },
    hosted: async () => {
      using host = new SqliteHost(options);
      host.attach();
      install(host, cachingManager());
      await work();
      return await time(work, host);
    },
  };
}

function onnxRuntime(from: string, hidden: number, batch: number): Engine {
  const ort = loadOrt();
  const model = networkModel({ inputs: 64, hidden, layers: 4 });
  const x = inputs(ort, batch, 64);
  const runs = 50;
  const measure = async (options: object, host?: EngineHost) => {
    const session = await ort.InferenceSession.create(model, { intraOpNumThreads: 1, ...options });
    await session.run({ x });
    const timed = await time(async () => {
      for (let run = 0; run < runs; run++) await session.run({ x });
    }, host);
    await session.release();
    return timed;
  };
  return {
    name: `ONNX Runtime: ${runs} runs of 4 layers of ${hidden}, batch ${batch}`,
    byItself: () => measure({}),
    hosted: async () => {
      using host = new OnnxRuntimeHost({ from });
      host.attach();
      install(host, cachingManager());
      return await measure(host.sessionOptions(), host);
    },
  };
}

/** Buffers by themselves, and a whole run of llama.cpp. */
function ggmlEngines(library: string): Engine[] {
  const ggml = new Ggml(library);
  const llama = new Llama(library);
  const model = join(tmpdir(), `stowage-bench-${process.pid}.gguf`);
  {
    using host = GgmlHost.open({ library });
    writeModel(ggml, host, model);
  }
  process.once('exit', () => rmSync(model, { force: true }));
  const type = ggml.f('ggml_backend_cpu_buffer_type');
  const buffers = (bytes: number) => () => {
    for (let i = 0; i < 1000; i++) ggml.f('ggml_backend_buffer_free', ggml.f('ggml_backend_buft_alloc_buffer', type, bytes));
  };
  const engine = (name: string, work: () => unknown): Engine => ({
    name,
    byItself: () => time(work),
    hosted: async () => {
      using host = GgmlHost.open({ library });
      host.redirect();
      install(host, cachingManager());
      host.call(work);
      return await time(() => host.call(work), host);
    },
  });
  return [
    engine('ggml: 1,000 buffers of 1,000 bytes', buffers(1000)),
    engine('ggml: 1,000 buffers of 64 MiB', buffers(64 * MiB)),
    engine("llama.cpp: the tests' model loaded, a token decoded", () => llama.decodeOne(model, 7)),
  ];
}

async function time(work: () => unknown, host?: EngineHost): Promise<Timed> {
  const before = host?.stats()?.blocks.total ?? 0;
  const start = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(start);
  return { ms: (user + system) / 1000, allocations: (host?.stats()?.blocks.total ?? 0) - before };
}
