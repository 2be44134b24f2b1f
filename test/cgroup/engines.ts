import { CpuDevice } from '../../adapters/devices/cpu.js';
import { openLibrary } from '../../adapters/ffi/library.js';
import { GgmlHost } from '../../adapters/hosts/ggml/index.js';
import { OnnxRuntimeHost } from '../../adapters/hosts/onnxruntime/index.js';
import { SqliteHost } from '../../adapters/hosts/sqlite/index.js';
import type { MemoryBudget } from '../../src/budget/index.js';
import type { MemoryHost } from '../../src/core/memory-host.js';
import { MiB } from '../../src/core/units.js';
import { MemoryRuntime } from '../../src/runtime/index.js';
import { Ggml, ggmlPath } from '../hosts/ggml.js';
import { loadOrt, needed } from '../hosts/onnxruntime.js';
import { SqliteLibrary } from '../hosts/sqlite.js';
import { BuffersDemand } from './buffers-demand.js';
import type { Demand } from './demand.js';
import { GgmlDemand } from './ggml-demand.js';
import { OnnxDemand } from './onnx-demand.js';
import { SqliteDemand } from './sqlite-demand.js';

/** Who wants memory, and through which host it comes: each host has a caching manager of its own. */
export interface Engine {
  readonly demand: Demand;
  readonly host: MemoryHost & { dispose(): void };
}

/** What each member keeps when others need memory. */
const MINIMUM_BYTES = 8 * MiB;
/** What is lost with the least harm gives way first. */
const PRIORITIES = { buffers: 0, ggml: 1, sqlite: 2, onnxruntime: 3 };

/** Loads three engines and opens a runtime. @param budget - what they all join */
export async function openEngines(random: () => number, budget: MemoryBudget | undefined): Promise<Engine[]> {
  const runtime = new MemoryRuntime(new CpuDevice(), { exitReport: false });
  const ggmlHost = GgmlHost.open({ library: ggmlPath() });
  const sqliteHost = new SqliteHost();
  const onnxHost = new OnnxRuntimeHost({ library: needed.library.path });
  const hosts = { buffers: runtime, ggml: ggmlHost, sqlite: sqliteHost, onnxruntime: onnxHost };
  for (const [name, host] of Object.entries(hosts)) {
    budget?.add(host, { name, priority: PRIORITIES[name as keyof typeof hosts], minimumBytes: MINIMUM_BYTES });
  }
  sqliteHost.attach();
  const ort = loadOrt();
  onnxHost.attach();
  const sqlite = new SqliteLibrary(openLibrary([sqliteHost.library!.path]));
  return [
    { host: runtime, demand: new BuffersDemand(runtime, random) },
    { host: ggmlHost, demand: new GgmlDemand(new Ggml(ggmlPath()), ggmlHost, random) },
    { host: sqliteHost, demand: new SqliteDemand(sqlite, (native) => sqliteHost.call(native), random) },
    { host: onnxHost, demand: await OnnxDemand.open(ort, onnxHost) },
  ];
}
