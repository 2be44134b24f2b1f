import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { functionPointerType } from '../../adapters/ffi/c-types.js';
import { CallbackTable, callback, openLibrary } from '../../adapters/ffi/index.js';
import { koffi } from '../../adapters/ffi/koffi.js';
import { CAllocatorHost } from '../../adapters/hosts/c-allocator/index.js';
import type { EngineHost } from '../../adapters/hosts/engine-host.js';
import { GgmlHost } from '../../adapters/hosts/ggml/index.js';
import { OnnxRuntimeHost } from '../../adapters/hosts/onnxruntime/index.js';
import { SqliteHost } from '../../adapters/hosts/sqlite/index.js';
import { SQLITE_NAMES } from '../../adapters/hosts/sqlite/sqlite-library.js';
import '../../src/index.js';
import { MiB } from '../../src/core/units.js';
import { Ggml, ggmlPath, Llama, writeModel } from '../hosts/ggml.js';
import { networkModel } from '../hosts/onnx-model.js';
import { inputs, loadOrt, needed } from '../hosts/onnxruntime.js';
import { Database, SqliteLibrary } from '../hosts/sqlite.js';
import { cachingManager, install } from '../hosts/test-managers.js';
import { machineText } from './machine.js';

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

/**
 * Prints tables: what a callback costs; each engine with its own allocator and with ours, by turns in one process. Times are the least
 * of all rounds, in processor time: what other programs take meanwhile is not in it.
 */
export async function main(root: string): Promise<number> {
  console.log(`${machineText()}\n`);
  printCallbacks();
  console.log('| engine and work | its own allocator, CPU ms | CachingMemoryManager, CPU ms | ratio | allocations |');
  console.log('|---|---|---|---|---|');
  const from = join(root, 'test/hosts');
  const engines = [
    sqlite('text'),
    sqlite('prepared'),
    ...(needed.missing ? [] : [onnxRuntime(from, 512, 64), onnxRuntime(from, 64, 1), ...ggmlEngines(ggmlPath(from))]),
  ];
  for (const { name, byItself, hosted } of engines) {
    await byItself();
    await hosted();
    let [own, ours, allocations] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 0];
    const start = performance.now();
    for (let round = 0; round < ROUNDS || (performance.now() - start < SHORT_MS && round < MOST_ROUNDS); round++) {
      own = Math.min(own, (await byItself()).ms);
      const timed = await hosted();
      ours = Math.min(ours, timed.ms);
      ({ allocations } = timed);
    }
    console.log(`| ${name} | ${own.toFixed(2)} | ${ours.toFixed(2)} | ${(ours / own).toFixed(2)} | ${allocations} |`);
  }
  if (needed.missing) console.log(`\n${needed.title}; npm run test:hosts installs it`);
  return 0;
}

const PAIRS = 1000;
const CALLBACK_ROUNDS = 1000;
const LOOP = `
#include <stddef.h>
void loop(void *(*get)(size_t), void (*give)(void *), int pairs) {
  for (int i = 0; i < pairs; i++) give(get(64));
}`;

/** Prints what a callback takes that C makes in a loop: an empty one, and those of a host. In short rounds by turns. */
function printCallbacks(): void {
  const folder = mkdtempSync(join(tmpdir(), 'stowage-bench-'));
  const file = join(folder, 'loop.so');
  try {
    const flags = ['-O2', '-shared', '-fPIC', '-x', 'c', '-', '-o', file];
    const { status, stderr, error } = spawnSync(process.env['CC'] ?? 'cc', flags, { input: LOOP, encoding: 'utf8' });
    if (status !== 0) {
      console.log(`no table of callbacks: the loop in C was not compiled (${error?.message ?? stderr})\n`);
      return;
    }
    const loop = openLibrary([file]).func<(get: number, give: number, pairs: number) => void>('loop', 'void', [
      'uintptr_t',
      'uintptr_t',
      'int',
    ]);
    using table = new CallbackTable('bench');
    using plain = new CAllocatorHost();
    using withHeader = new CAllocatorHost({ sizeHeader: true });
    const empty = registerEmpty();
    const subjects = [
      { name: "koffi's empty callback", get: empty.get, give: empty.give },
      { name: 'an empty body of our CallbackTable', ...emptyBodies(table) },
      ...[plain, withHeader].map((host) => {
        install(host, cachingManager());
        // The segment stays.
        host.free(host.malloc(1));
        const { malloc, free } = host.functions;
        return {
          name: `CAllocatorHost${host === withHeader ? ' with size headers' : ''}: malloc, free`,
          get: malloc,
          give: free,
        };
      }),
    ].map((subject) => ({ ...subject, ns: Number.POSITIVE_INFINITY }));
    for (let round = 0; round < CALLBACK_ROUNDS; round++) {
      for (const subject of subjects) {
        const start = performance.now();
        table.call(() => loop(subject.get, subject.give, PAIRS));
        subject.ns = Math.min(subject.ns, ((performance.now() - start) * 1e6) / (2 * PAIRS));
      }
    }
    console.log('| C calls back | ns a callback | ratio |\n|---|---|---|');
    for (const { name, ns } of subjects) console.log(`| ${name} | ${ns.toFixed(0)} | ${(ns / subjects[0]!.ns).toFixed(2)} |`);
    console.log('');
    for (const pointer of empty.pointers) koffi().unregister(pointer);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Callbacks of koffi alone. */
function registerEmpty(): { get: number; give: number; pointers: bigint[] } {
  const get = koffi().register(() => ADDRESS, functionPointerType('uintptr_t', ['size_t']));
  const give = koffi().register(() => {}, functionPointerType('void', ['uintptr_t']));
  return { get: Number(get), give: Number(give), pointers: [get, give] };
}

/** What the empty callbacks give. */
const ADDRESS = 2 ** 46;

function emptyBodies(table: CallbackTable): Readonly<Record<'get' | 'give', number>> {
  return table.register('empty', () => ({
    get: callback({ result: 'uintptr_t', parameters: ['size_t'], onError: 0, body: () => ADDRESS }),
    give: callback({ result: 'void', parameters: ['uintptr_t'], onError: undefined, body: () => {} }),
  }));
}

/** The work of both: rows come by a statement's text, or by values that a prepared statement is given. */
function sqlite(how: 'text' | 'prepared'): Engine {
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
    name: `SQLite: 10,000 inserts by ${how === 'text' ? 'statement text' : 'a prepared statement'}, a grouped query`,
    byItself: async () => {
      // As it is under the host: SQLite's own count of its memory is off.
      openLibrary(SQLITE_NAMES).func<(...values: unknown[]) => number>('sqlite3_config', 'int', ['int', '...'])(9, 'int', 0);
      const timed = await time(work);
      library.shutdown();
      return timed;
    },
    hosted: async () => {
      using host = new SqliteHost();
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
