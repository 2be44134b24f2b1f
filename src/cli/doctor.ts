import { statfsSync } from 'node:fs';
import type { Command } from 'commander';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { CudaDevice, type GpuDevice } from '../../adapters/devices/cuda.js';
import { HipDevice } from '../../adapters/devices/hip.js';
import { OpenClDevice } from '../../adapters/devices/opencl/index.js';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import type { Device } from '../core/device.js';
import { MemoryError } from '../core/errors.js';
import { formatBytes, KiB, MiB } from '../core/units.js';
import { count, jsonText, layOut, machine, packageVersion } from './text.js';
import '../defaults.js';
import { openLibrary } from '../../adapters/ffi/library.js';
import { ArrayFireHost } from '../../adapters/hosts/arrayfire/index.js';
import { CAllocatorHost } from '../../adapters/hosts/c-allocator/index.js';
import { GgmlHost } from '../../adapters/hosts/ggml/index.js';
import { OnnxRuntimeHost } from '../../adapters/hosts/onnxruntime/index.js';
import { SqliteHost } from '../../adapters/hosts/sqlite/index.js';
import { type MemoryLimit, memoryLimit } from '../../adapters/os/memory-limits.js';
import { DEFAULT_BUDGET_LIMIT, MemoryBudget } from '../budget/memory-budget.js';
import { CONF_VARIABLE } from '../conf/conf-variable.js';
import { describeConfFromEnvironment } from '../conf/configured-runtime.js';
import { MemoryRuntime } from '../runtime/memory-runtime.js';
import { PosixShmBackend } from '../shared/backends/named-backends.js';
import { SHM_FOLDER } from '../shared/backends/segment-store.js';
import { listSegments } from '../shared/segment-list.js';

/** A device or host that may or may not work on this machine; of the kind `budget`, what limits memory here, of `setting`, what the environment sets. */
export interface Check {
  readonly kind: 'device' | 'host' | 'budget' | 'setting';
  readonly name: string;
  /** Uses it. @returns a description @throws an error that says why it does not work here */
  readonly run: () => string;
}

/** The result of a check. */
export type Finding = Pick<Check, 'kind' | 'name'> & Readonly<Record<'works', boolean> & Record<'detail', string>>;

/** Adds what `stowage doctor` takes. */
export function addDoctorCommand(command: Command): void {
  command
    .option('--json', 'print JSON instead of a table')
    .addHelpText(
      'after',
      '\nJSON: { "version": 1, "stowage", "node", "platform",\n' +
        '  "findings": [{ kind, name, works, detail }] }; kind is device, host, budget or setting.\n' +
        'What does not work here is a finding, not a failure: the exit code is 0.',
    )
    .action((flags: { json?: true }) => {
      const findings = examine(CHECKS);
      const versions = { stowage: packageVersion(), node: process.version, platform: `${process.platform}-${process.arch}` };
      process.stdout.write(flags.json ? jsonText({ ...versions, findings }) : text(findings));
    });
}

function text(findings: readonly Finding[]): string {
  const columns = ['kind', 'name', 'works', 'detail'].map((heading) => ({ heading, align: 'left' as const }));
  const rows = findings.map(({ kind, name, works, detail }) => [kind, name, works ? 'yes' : 'no', detail]);
  return `${[machine(), '', ...layOut(columns, rows, process.stdout)].join('\n')}\n`;
}

/** Every device and host of this package, each used as far as no model or file is needed, and what a budget would have. */
export const CHECKS: readonly Check[] = [
  {
    kind: 'device',
    name: 'cpu',
    run: () => {
      using runtime = new MemoryRuntime(new CpuDevice());
      using block = runtime.allocate(MiB, { zero: true });
      const bytes = block.view(Uint8Array);
      bytes[MiB - 1] = 42;
      checkHolds(bytes[0] === 0 && bytes[MiB - 1] === 42, 'bytes read == written');
      return `${formatBytes(runtime.device.getMaxMemorySize(0))} in reach`;
    },
  },
  {
    kind: 'device',
    name: 'cpu, pinned',
    run: () => {
      using runtime = new MemoryRuntime(new CpuDevice());
      let refusal: string | undefined;
      runtime.events.on('pin-failed', (event) => {
        refusal = event.reason;
      });
      runtime.allocate(MiB, { pinned: true }).dispose();
      if (refusal === undefined) return 'pages can be locked';
      throw new MemoryError('ERR_MEM_DEVICE_ABSENT', {
        device: 'page-locked memory',
        reason: `${refusal}; unpinned memory is used instead (see ulimit -l)`,
      });
    },
  },
  { kind: 'device', name: 'cpu, virtual', run: () => useVirtual(new CpuDevice()) },
  { kind: 'device', name: 'cuda', run: () => useGpu(new CudaDevice()) },
  { kind: 'device', name: 'hip', run: () => useGpu(new HipDevice()) },
  {
    kind: 'device',
    name: 'opencl',
    run: () => {
      using device = new OpenClDevice();
      const found: string[] = [];
      for (let id = 0; id < device.deviceCount; id++) {
        device.activate(id);
        const ptr = device.nativeAlloc(MiB);
        try {
          device.fill(ptr, 42, MiB);
          using mapping = device.map(ptr, MiB, 'read');
          checkHolds(mapping.view()[MiB - 1] === 42, 'bytes read == filled');
        } finally {
          device.nativeFree(ptr);
        }
        const { name, platformName, capacityBytes } = device.facts(id);
        found.push(`${name} (${platformName}), ${formatBytes(capacityBytes)}`);
      }
      return found.join('; ');
    },
  },
  {
    kind: 'device',
    name: 'simulated',
    run: () => {
      using runtime = new MemoryRuntime(new SimulatedDevice({ virtual: true, streams: true }));
      runtime.allocate(MiB).dispose();
      return 'addresses without memory';
    },
  },
  {
    kind: 'device',
    name: 'shared memory',
    run: () => {
      using created = PosixShmBackend.create(`doctor-${process.pid}`, { id: 0, bytes: 64 * KiB });
      using attached = PosixShmBackend.attach(created.url);
      Atomics.store(created.region.int32, 0, 42);
      checkHolds(Atomics.load(attached.region.int32, 0) === 42, 'words read == written');
      if (SHM_FOLDER === undefined) return 'segments can be shared';
      const { bavail, bsize } = statfsSync(SHM_FOLDER);
      const stale = listSegments().filter(({ abandoned }) => abandoned).length;
      return `${formatBytes(bavail * bsize)} free in ${SHM_FOLDER}${stale === 0 ? '' : `; ${stale} stale: stowage shm rm --stale`}`;
    },
  },
  {
    kind: 'host',
    name: 'c-allocator',
    run: () => {
      using host = new CAllocatorHost();
      const { malloc } = host.functions;
      const ptr = host.call(() => host.malloc(64));
      checkGot(malloc !== 0 && ptr !== 0, 'malloc');
      host.call(() => host.free(ptr));
      return 'callbacks for C libraries can be registered';
    },
  },
  {
    kind: 'host',
    name: 'onnxruntime',
    run: () => {
      using host = new OnnxRuntimeHost();
      host.attach();
      return `ONNX Runtime ${host.library?.version} of onnxruntime-node takes an allocator`;
    },
  },
  {
    kind: 'host',
    name: 'sqlite',
    run: () => {
      using host = new SqliteHost();
      host.attach();
      const { version, path } = host.library!;
      const library = openLibrary([path], { device: 'SQLite' });
      const malloc = library.func<(bytes: number) => number>('sqlite3_malloc', 'uintptr_t', ['int']);
      const free = library.func<(ptr: number) => void>('sqlite3_free', 'void', ['uintptr_t']);
      const ptr = host.call(() => malloc(64));
      checkGot(ptr !== 0 && host.slot.liveBlocks > 0, 'sqlite3_malloc');
      host.call(() => free(ptr));
      return `SQLite ${version} (${path}) allocates from its manager`;
    },
  },
  {
    kind: 'host',
    name: 'ggml',
    run: () => {
      using host = GgmlHost.open();
      using context = host.createContext(MiB);
      return `${host.library.path} makes contexts in memory of its manager (${formatBytes(context.usedBytes)} used)`;
    },
  },
  {
    kind: 'host',
    name: 'arrayfire',
    run: () => {
      using host = ArrayFireHost.open();
      const ptr = host.slot.alloc(MiB, true);
      host.slot.unlock(ptr, true);
      return `ArrayFire ${host.version} with ${count(host.deviceCount, 'device')} takes a memory manager`;
    },
  },
  { kind: 'budget', name: 'memory limit', run: () => limitText(memoryLimit()) },
  {
    kind: 'budget',
    name: 'default budget',
    run: () => {
      using budget = new MemoryBudget();
      return `${formatBytes(budget.limitBytes)}: new MemoryBudget() takes ${DEFAULT_BUDGET_LIMIT} of the memory limit`;
    },
  },
  {
    kind: 'setting',
    name: CONF_VARIABLE,
    run: () => describeConfFromEnvironment() ?? 'not set: the default runtime has a CachingMemoryManager and no limit',
  },
];

/** Runs checks one after the other. */
export function examine(checks: readonly Check[]): Finding[] {
  return checks.map(({ kind, name, run }) => {
    try {
      return { kind, name, works: true, detail: run() };
    } catch (error) {
      return { kind, name, works: false, detail: error instanceof Error ? error.message : String(error) };
    }
  });
}

/** Says how much memory this process may use, and where that is written. */
export function limitText({ bytes, file }: MemoryLimit): string {
  if (file === undefined) return `${formatBytes(bytes)}: no limit of a container, the machine's memory`;
  return `${formatBytes(bytes)}: the container's limit, in ${file}`;
}

function useVirtual({ virtual }: Device): string {
  if (virtual === undefined) {
    throw new MemoryError('ERR_MEM_UNSUPPORTED_PLATFORM', { what: 'virtual memory', platform: process.platform });
  }
  const bytes = 16 * virtual.granularityBytes;
  const range = virtual.reserve(bytes);
  try {
    checkGot(virtual.commit(range, virtual.granularityBytes), 'commit', 'no memory');
    virtual.decommit(range, virtual.granularityBytes);
  } finally {
    virtual.release(range, bytes);
  }
  return `pages of ${formatBytes(virtual.granularityBytes)}`;
}

function useGpu(device: GpuDevice): string {
  const cards = Array.from(
    { length: device.deviceCount },
    (_, id) => `${device.deviceName(id)}, ${formatBytes(device.memoryInfo(id).totalBytes)}`,
  );
  using runtime = new MemoryRuntime(device);
  using block = runtime.allocate(MiB);
  using pinned = runtime.allocate(MiB, { pinned: true });
  device.fill(block.ptr, 42, MiB);
  device.copy(pinned.ptr, block.ptr, MiB);
  checkHolds(pinned.view(Uint8Array)[MiB - 1] === 42, 'bytes read == written');
  return cards.join('; ');
}

function checkHolds(holds: boolean, invariant: string): void {
  if (!holds) throw new MemoryError('ERR_MEM_INVARIANT', { invariant });
}

function checkGot(got: boolean, functionName: string, statusName = 'null'): void {
  if (!got) throw new MemoryError('ERR_MEM_NATIVE', { functionName, status: 0, statusName });
}
