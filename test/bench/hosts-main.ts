import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openLibrary } from '../../adapters/ffi/index.js';
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
import { median } from './statistics.js';

/** What an engine's work takes with an allocator. */
interface Timed {
  readonly ms: number;
  /** Allocations that the manager served; 0 for the engine's own allocator. */
  readonly allocations: number;
}

/** The same work of an engine with its own allocator, and with a CachingMemoryManager under it. */
interface Engine {
  readonly name: string;
  readonly byItself: () => Promise<Timed>;
  readonly hosted: () => Promise<Timed>;
}

const ROUNDS = 15;

/** Prints a table: each engine with its own allocator and with ours, by turns in one process. */
export async function main(root: string): Promise<number> {
  console.log(`${machineText()}\n`);
  console.log('| engine and work | its own allocator, ms | CachingMemoryManager, ms | ratio | allocations |');
  console.log('|---|---|---|---|---|');
  const from = join(root, 'test/hosts');
  const engines = [
    sqlite(),
    ...(needed.missing ? [] : [onnxRuntime(from, 512, 64), onnxRuntime(from, 64, 1), ...ggmlEngines(ggmlPath(from))]),
  ];
  for (const { name, byItself, hosted } of engines) {
    await byItself();
    await hosted();
    const rounds: { readonly own: Timed; readonly ours: Timed }[] = [];
    for (let round = 0; round < ROUNDS; round++) rounds.push({ own: await byItself(), ours: await hosted() });
    const own = median(rounds.map((round) => round.own.ms));
    const ours = median(rounds.map((round) => round.ours.ms));
    const ratio = median(rounds.map((round) => round.ours.ms / round.own.ms));
    const { allocations } = rounds[0]!.ours;
    console.log(`| ${name} | ${own.toFixed(2)} | ${ours.toFixed(2)} | ${ratio.toFixed(2)} | ${allocations} |`);
  }
  if (needed.missing) console.log(`\n${needed.title}; npm run test:hosts installs it`);
  return 0;
}

function sqlite(): Engine {
  const library = new SqliteLibrary(openLibrary(SQLITE_NAMES));
  const work = () => {
    const database = new Database(library, ':memory:');
    database.run('CREATE TABLE t(a INTEGER, b TEXT); CREATE INDEX i ON t(b); BEGIN');
    for (let i = 0; i < 10_000; i++) database.run(`INSERT INTO t VALUES (${i}, 'text ${(i * 7919) % 10_000}')`);
    database.run('COMMIT');
    database.rows('SELECT b, sum(a) FROM t GROUP BY substr(b, 1, 7) ORDER BY 2');
    database.close();
  };
  return {
    name: 'SQLite: 10,000 inserts, a grouped query',
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
  const start = performance.now();
  await work();
  return { ms: performance.now() - start, allocations: (host?.stats()?.blocks.total ?? 0) - before };
}
