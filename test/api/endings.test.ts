import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { CallbackTable } from '../../adapters/ffi/callback-table.js';
import { CAllocatorHost } from '../../adapters/hosts/c-allocator/index.js';
import { OnnxRuntimeHost } from '../../adapters/hosts/onnxruntime/index.js';
import { SqliteHost } from '../../adapters/hosts/sqlite/index.js';
import { ScratchMemoryManager } from '../../managers/index.js';
import { RequestMemory } from '../../src/di/index.js';
import { FileLogSink, MemoryManagerDeviceInterface, publishDiagnostics, type Releasable, releasable } from '../../src/index.js';
import * as model from '../../src/model/index.js';
import { publishBudgets, publishMemoryStats } from '../../src/otel/index.js';
import { serveDashboard } from '../../src/report/index.js';
import * as shared from '../../src/shared/index.js';
import { FlightRecorder, recordTrace } from '../../src/trace/index.js';
import { budgetOfTest } from '../budget/budgets.js';
import { simulatedRuntime } from '../core/fakes.js';
import { exportedClasses } from '../fixtures/exported-classes.js';
import { safetensorsBytes } from '../fixtures/safetensors-bytes.js';
import { freshName } from '../shared/names.js';
import { bufferRegion, ID } from '../shared/regions.js';

const folder = mkdtempSync(join(tmpdir(), 'stowage-endings-'));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;
const fresh = () => join(folder, `${files++}`);
const runtime = simulatedRuntime({ streams: true }).runtime;
const modelFile = () => {
  const path = fresh();
  const header = { a: { dtype: 'F32', shape: [2], data_offsets: [0, 8] } };
  writeFileSync(path, safetensorsBytes(header, new Uint8Array(8)));
  return path;
};
const pages = () => shared.ScalablePageAllocator.shmInit(bufferRegion(65536), { id: ID });
const registrar = { registerHost: () => undefined, unregisterHost: () => undefined };

/** How everything that ends is made, by the name of its class. */
const MADE: Readonly<Record<string, () => Releasable | Promise<Releasable>>> = {
  DeviceStream: () => runtime.device.createStream(),
  DeviceEvent: () => runtime.device.createStream().record(),
  Allocation: () => runtime.allocate(100),
  SharedHandle: () => runtime.allocate(100).share(),
  FileLogSink: () => new FileLogSink(fresh()),
  MemoryRuntime: () => simulatedRuntime().runtime,
  Scope: () => runtime.scope(),
  RequestMemory: () => new RequestMemory(runtime),
  MemoryBudget: () => budgetOfTest({ limit: 4096 }),
  CAllocatorHost: () => new CAllocatorHost(),
  OnnxRuntimeHost: () => new OnnxRuntimeHost(),
  SqliteHost: () => new SqliteHost(),
  CallbackTable: () => new CallbackTable('a host'),
  TraceRecorder: () => recordTrace(runtime, fresh()),
  FlightRecorder: () => new FlightRecorder(fresh()),
  MallocAllocator: () => shared.MallocAllocator.shmInit(undefined, { id: ID }),
  ScalablePageAllocator: pages,
  ThreadLocalAllocator: () => shared.ThreadLocalAllocator.shmInit(bufferRegion(65536), { id: ID }),
  FileBackend: () => shared.FileBackend.create(fresh(), { id: 1, bytes: 4096 }),
  PosixShmBackend: () => shared.PosixShmBackend.create(freshName(), { id: 1, bytes: 4096 }),
  RegisteredShmBackend: () =>
    shared.RegisteredShmBackend.create('cuda-shm', freshName(), { id: 1, bytes: 4096, device: registrar }),
  ArrayBackend: () => shared.ArrayBackend.create(1, new SharedArrayBuffer(8192)),
  SharedLedger: () => shared.SharedLedger.create({ limitBytes: 65536 }, { name: 'a', priority: 0, minimumBytes: 0 }),
  MallocBackend: () => shared.MallocBackend.create(1, 4096),
  PosixMmapBackend: () => shared.PosixMmapBackend.create(1, 4096),
  SharedAllocation: () => shared.SharedAllocation.allocate(pages(), 100),
  BackendBuffer: () => new model.BackendBufferType(runtime).allocBuffer(100),
  MemoryContext: () => new model.MemoryContext({ memSize: 0, noAlloc: true }),
  GraphAllocator: () => new model.GraphAllocator(new model.BackendBufferType(runtime)),
  ModelLoader: () => model.ModelLoader.open(modelFile()),
  ModelSet: () => model.ModelSet.open(modelFile()),
  MappedFile: () => model.MappedFile.open(modelFile()),
  Tensor: () => new model.TensorPool(runtime).allocate('f32', [2]),
  SharedTensor: () => new model.TensorPool(runtime).allocate('f32', [2]).share(),
  TensorManager: () => new model.TensorManager(),
};
/** What functions and methods give that ends. */
const GIVEN: Readonly<Record<string, () => Releasable>> = {
  releasable: () => releasable(() => undefined),
  'MemoryBudget.add': () => budgetOfTest({ limit: 4096, watchV8: false }).add(new CAllocatorHost()),
  'MemoryBudget.watch': () => budgetOfTest({ limit: 4096, watchV8: false }).watch('cache', () => 0),
  'MemoryBudget.addSegment': () => budgetOfTest({ limit: 4096 }).addSegment({ url: 'shm:none', bytes: 1 }),
  'MemoryBudget.tenant': () => budgetOfTest({ limit: 4096 }).tenant('alice'),
  'MemoryBudget.reserve': () => budgetOfTest({ limit: 4096 }).reserve(1),
  'MemoryRuntime.use': () => runtime.use((deviceCount, table) => new ScratchMemoryManager(deviceCount, table)),
  publishDiagnostics: () => publishDiagnostics(runtime),
  publishMemoryStats: () => publishMemoryStats(runtime),
  publishBudgets: () => publishBudgets(),
  'ScratchMemoryManager.save': () => new ScratchMemoryManager(1, new MemoryManagerDeviceInterface()).save(),
};
/** Abstract classes, and those whose library not every machine has: tests of their own end these twice. */
const ELSEWHERE = [
  ...['EngineHost', 'NativeHost', 'PageAllocator', 'MemoryBackend', 'SegmentBackend', 'ShmSegmentBackend'],
  ...['ArrayFireHost', 'GgmlHost', 'GgmlContext', 'OpenClBuffer', 'OpenClDevice', 'OpenClMapping'],
];
/** Methods that sound like an ending and mean another thing, by the first class that has them. docs/handles.md says what. */
const OTHERS: Readonly<Record<string, readonly string[]>> = {
  // Gives a report; the others are parts, which their owners end.
  close: ['MemoryRuntime', 'ManagerSlot', 'DeviceHeap', 'SharedRegion'],
  // Shared memory: ends this process's use alone, or everybody's. A handle passes its block on, a host lets go of its engine.
  detach: ['EngineHost', 'MallocAllocator', 'PageAllocator', 'MemoryBackend'],
  destroy: ['MemoryBackend'],
  // Parts of a context.
  end: ['ContextGraph', 'ContextTensor'],
  // Flashlight's, which slots call.
  shutdown: ['DeviceMemoryManager', 'DecoratingMemoryManager'],
  // Frees tensors of a model that stays open.
  unload: ['ModelLoader'],
};

describe('what ends', async () => {
  const classes = await exportedClasses();

  test.each(classes)('$name has dispose and Symbol.dispose, or neither', ({ name, type }) => {
    const { prototype } = type;
    // An abstract method is in no prototype.
    expect('dispose' in prototype || name === 'NativeHost').toBe(Symbol.dispose in prototype);
    expect([name in MADE, ELSEWHERE.includes(name)].filter(Boolean)).toHaveLength(Symbol.dispose in prototype ? 1 : 0);
  });

  test('ends by dispose alone: other words have another meaning', () => {
    const words = /^(close|destroy|detach|end|free|release|shutdown|stop|unload)$/;
    const found: Record<string, Set<string>> = {};
    for (const { name, type } of classes) {
      for (const word of methodsOf(type.prototype)) {
        const isInherited = classes.some((base) => word in base.type.prototype && type.prototype instanceof base.type);
        if (words.test(word) && !isInherited) (found[word] ??= new Set()).add(name);
      }
    }
    expect(found).toEqual(Object.fromEntries(Object.entries(OTHERS).map(([word, names]) => [word, new Set(names)])));
  });

  test.each(Object.entries({ ...MADE, ...GIVEN }))('%s does nothing when it is disposed of again', async (_, make) => {
    const one = await make();
    one.dispose();
    one.dispose();
    one[Symbol.dispose]();
  });

  test('a dashboard ends by dispose, too, as a promise', async () => {
    const dashboard = await serveDashboard(runtime);
    await dashboard.dispose();
    await dashboard.dispose();
    await dashboard[Symbol.asyncDispose]();
  });

  test('what could not end can be disposed of again', () => {
    let calls = 0;
    const one = releasable(() => {
      if (++calls === 1) throw new Error('busy');
    });
    expect(() => one.dispose()).toThrow('busy');
    one.dispose();
    one.dispose();
    expect(calls).toBe(2);
  });
});

/** The names of methods that take no arguments. */
function methodsOf(prototype: object): Set<string> {
  const names = new Set<string>();
  for (let one = prototype; one !== Object.prototype; one = Object.getPrototypeOf(one)) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(one))) {
      if (typeof value === 'function' && value.length === 0) names.add(name);
    }
  }
  return names;
}
