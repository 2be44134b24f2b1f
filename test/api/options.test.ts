import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { CudaDevice } from '../../adapters/devices/cuda.js';
import { HipDevice } from '../../adapters/devices/hip.js';
import { OpenClDevice } from '../../adapters/devices/opencl/index.js';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import { openLibrary } from '../../adapters/ffi/index.js';
import { ArrayFireHost } from '../../adapters/hosts/arrayfire/index.js';
import { CAllocatorHost } from '../../adapters/hosts/c-allocator/index.js';
import { GgmlHost } from '../../adapters/hosts/ggml/index.js';
import { OnnxRuntimeHost } from '../../adapters/hosts/onnxruntime/index.js';
import { SqliteHost } from '../../adapters/hosts/sqlite/index.js';
import * as managers from '../../managers/index.js';
import { RequestMemory, requestModule, stowageModule } from '../../src/di/index.js';
import * as explain from '../../src/explain/index.js';
import {
  checkOptionNames,
  devicePtr,
  FileLogSink,
  type ManagerFactory,
  MemoryError,
  MemoryManagerDeviceInterface,
  MemoryRuntime,
  type OptionNames,
} from '../../src/index.js';
import * as model from '../../src/model/index.js';
import { publishBudgets, publishMemoryStats } from '../../src/otel/index.js';
import * as report from '../../src/report/index.js';
import * as shared from '../../src/shared/index.js';
import * as trace from '../../src/trace/index.js';
import * as whatif from '../../src/whatif/index.js';
import { budgetOfTest } from '../budget/budgets.js';
import { simulatedRuntime } from '../core/fakes.js';
import { exportedValues } from '../fixtures/exported-classes.js';
import { safetensorsBytes } from '../fixtures/safetensors-bytes.js';
import { ID } from '../shared/regions.js';

const folder = mkdtempSync(join(tmpdir(), 'stowage-options-'));
afterAll(() => rmSync(folder, { recursive: true }));
const modelFile = join(folder, 'a.safetensors');
const header = { a: { dtype: 'F32', shape: [2], data_offsets: [0, 8] } };
writeFileSync(modelFile, safetensorsBytes(header, new Uint8Array(8)));

const { runtime } = simulatedRuntime();
const table = () => new MemoryManagerDeviceInterface();
const caching: ManagerFactory = (deviceCount, deviceInterface) => new managers.CachingMemoryManager(deviceCount, deviceInterface);
const inner = () => caching(1, table());
const lru = () => new managers.LruMemoryManager(1, table());
const events = {} as trace.TraceEvents;
const hparams = {} as model.ModelHparams;
const lifetimes = { bytes: [], from: [], until: [] };
const segment = { id: 1, bytes: 4096 };
const ptr = devicePtr(4096);

/** Options of every type, to a compiler: these are wrong. */
type Wrong = never;
const POLICIES = [
  managers.ArenaMemoryManager,
  managers.BuddyMemoryManager,
  managers.CachingMemoryManager,
  managers.DefaultMemoryManager,
  managers.LruMemoryManager,
  managers.PoolMemoryManager,
  managers.PyTorchMemoryManager,
  managers.ScratchMemoryManager,
  managers.SlabMemoryManager,
  managers.TlsfMemoryManager,
];
const DECORATORS = [
  managers.FailingMemoryManager,
  managers.GuardedMemoryManager,
  managers.LimitingMemoryManager,
  managers.StatisticsMemoryManager,
  managers.TrackingMemoryManager,
];
/** How everything is called that takes options, by its name. Each looks at their names before anything else. */
const TAKERS: Readonly<Record<string, (options: Wrong) => unknown>> = {
  ...Object.fromEntries(POLICIES.map((type) => [type.name, (options: Wrong) => new type(1, table(), options)])),
  ...Object.fromEntries(DECORATORS.map((type) => [type.name, (options: Wrong) => new type(inner(), options)])),
  SharedMemoryManager: (options) => new shared.SharedMemoryManager(1, table(), options),
  'LruMemoryManager.allocateBatch': (options) => lru().allocateBatch([], options),
  'LruMemoryManager.insertPtr': (options) => lru().insertPtr(ptr, { size: 1, align: 1 }, options),
  'Allocation.copyFrom': (options) => runtime.allocate(8).copyFrom(new Uint8Array(8), options),
  'Allocation.copyTo': (options) => runtime.allocate(8).copyTo(new Uint8Array(8), options),
  CpuDevice: (options) => new CpuDevice(options),
  CudaDevice: (options) => new CudaDevice(options),
  HipDevice: (options) => new HipDevice(options),
  OpenClDevice: (options) => new OpenClDevice(options),
  SimulatedDevice: (options) => new SimulatedDevice(options),
  CAllocatorHost: (options) => new CAllocatorHost(options),
  OnnxRuntimeHost: (options) => new OnnxRuntimeHost(options),
  SqliteHost: (options) => new SqliteHost(options),
  'ArrayFireHost.open': (options) => ArrayFireHost.open(options),
  'GgmlHost.open': (options) => GgmlHost.open(options),
  MemoryRuntime: (options) => new MemoryRuntime(new SimulatedDevice(), options),
  MemoryBudget: (options) => budgetOfTest(options),
  'MemoryBudget.add': (options) => budgetOfTest({ limit: 4096 }).add(runtime, options),
  'MemoryBudget.tenant': (options) => budgetOfTest({ limit: 4096 }).tenant('alice', options),
  'MemoryBudget.reserveAsync': (options) => budgetOfTest({ limit: 4096 }).reserveAsync(1, options),
  'MemoryRuntime.scope': (options) => runtime.scope(options),
  'MemoryRuntime.scoped': (options) => runtime.scoped(() => undefined, options),
  'MemoryRuntime.allocate': (options) => runtime.allocate(1, options),
  'MemoryRuntime.allocateAsync': (options) => runtime.allocateAsync(1, options),
  FileLogSink: (options) => new FileLogSink(join(folder, 'log'), options),
  openLibrary: (options) => openLibrary([], options),
  stowageModule: (options) => stowageModule(options),
  requestModule: (options) => requestModule(options),
  'RequestMemory.allocate': (options) => new RequestMemory(runtime).allocate(1, options),
  RequestMemory: (options) => new RequestMemory(runtime, options),
  publishMemoryStats: (options) => publishMemoryStats(runtime, options),
  publishBudgets: (options) => publishBudgets(options),
  'MemoryRegistry.createBackend': (options) => new shared.MemoryRegistry().createBackend('malloc', 1, 4096, undefined, options),
  'MemoryRegistry.attachBackend': (options) => new shared.MemoryRegistry().attachBackend('shm:none', options),
  'MemoryRegistry.createAllocator': (options) => new shared.MemoryRegistry().createAllocator('malloc', 1, ID, options),
  'FileBackend.create': (options) => shared.FileBackend.create(join(folder, 'region'), withFacts(options, segment)),
  'FileBackend.attach': (options) => shared.FileBackend.attach(join(folder, 'region'), options),
  'PosixShmBackend.create': (options) => shared.PosixShmBackend.create('none', withFacts(options, segment)),
  'PosixShmBackend.attach': (options) => shared.PosixShmBackend.attach('none', options),
  BackendBufferType: (options) => new model.BackendBufferType(runtime, options),
  'ContextGraph.add': (options) => {
    const context = new model.MemoryContext({ memSize: 0, noAlloc: true });
    context.newGraph(1).add(context.newTensor('f32', [1]), options);
  },
  MemoryContext: (options) => new model.MemoryContext(options),
  GraphAllocator: (options) => new model.GraphAllocator(new model.BackendBufferType(runtime), options),
  planGraph: (options) => model.planGraph([], options),
  placeLifetimes: (options) => model.placeLifetimes(lifetimes, options),
  'ModelLoader.open': (options) => model.ModelLoader.open(modelFile, options),
  'ModelLoader.load': (options) => withLoader((loader) => loader.load(options)),
  'ModelSet.open': (options) => model.ModelSet.open(modelFile, options),
  'MappedFile.open': (options) => model.MappedFile.open(modelFile, options),
  estimateModelMemory: (options) => model.estimateModelMemory(hparams, options),
  TensorPool: (options) => new model.TensorPool(runtime, options),
  'TensorPool.allocate': (options) => new model.TensorPool(runtime).allocate('f32', [1], options),
  buildReport: (options) => report.buildReport(events, [], options),
  buildWhatIf: (options) => report.buildWhatIf(events, [], options),
  observeRun: (options) => report.observeRun(events, options),
  explainMemory: (options) => explain.explainMemory(options),
  trimMemory: (options) => explain.trimMemory(options),
  whatIf: (options) => whatif.whatIf(events, [], options),
  searchSettings: (options) => whatif.searchSettings(events, options),
  serveDashboard: (options) => report.serveDashboard(runtime, options),
  recordTrace: (options) => trace.recordTrace(runtime, join(folder, 'trace'), options),
  TraceRecorder: (options) => new trace.TraceRecorder(join(folder, 'trace'), options),
  recordFlight: (options) => trace.recordFlight(runtime, join(folder, 'flight'), options),
  FlightRecorder: (options) => new trace.FlightRecorder(join(folder, 'flight'), options),
  replayTrace: (options) => trace.replayTrace(events, runtime, options),
  loadTrace: (options) => trace.loadTrace('none', options),
  readTrace: (options) => trace.readTrace('none', options),
  TraceStream: (options) => new trace.TraceStream('none', options),
  summariseTrace: (options) => trace.summariseTrace('none', options),
  diffTraces: (options) => trace.diffTraces('none', 'none', options),
  convertTrace: (options) =>
    trace.convertTrace('none', { write: () => undefined }, trace.TRACE_WRITERS.values().next().value!, options),
};
/** What takes options and does not look at their names. */
const OTHERS = [
  // Bases: the classes that programs make objects of check.
  ...['DecoratingMemoryManager', 'BlockMemoryManager', 'RegionMemoryManager', 'NativeHost', 'EngineHost'],
  ...['MemoryHost', 'PageAllocator', 'PageAllocator.shmDeserialize'],
  // Parts, which the library makes.
  ...['BumpRegion', 'CHeap', 'DeviceHeap.createFreeBlocks', 'FreeBlocks'],
  // Made by their `open`.
  ...['ArrayFireHost', 'GgmlHost'],
  // Made by runtime.scope and scoped, and by RequestMemory.
  ...['Scope.enter', 'Scope.run', 'Scope.apart'],
  // Fits a model by estimateModelMemory, and loads by ModelLoader.load.
  ...['fitToMemory', 'ModelLoader.loadTensor'],
  // Facts, a host's own options, and ONNX Runtime's.
  ...['DeviceMemoryManager.outOfMemory', 'findOnnxRuntime', 'OnnxRuntimeHost.sessionOptions'],
  // Need a library or a device that not every machine has.
  ...['GgmlHost.createContext', 'OpenClBuffer.copyTo', 'RegisteredShmBackend.create', 'RegisteredShmBackend.attach'],
];

describe('options', async () => {
  test('are looked at wherever they are taken', async () => {
    const found = (await exportedValues()).flatMap(({ name, value }) => takersIn(name, value));
    const known = [...Object.keys(TAKERS), ...OTHERS];
    expect(found.filter((name) => !known.includes(name))).toEqual([]);
    expect(known.filter((name) => !found.includes(name))).toEqual([]);
  });

  describe.each(Object.entries(TAKERS))('of %s', (_, take) => {
    test('with a name that nobody reads are refused, with the nearest one', async () => {
      const { name, value, expected } = await refusal(() => take({ zzz: 1 } as never));
      expect([name, value]).toEqual([expect.stringMatching(/^an option of /), '"zzz"']);
      const names = /^one of ([\w, ]+)$/.exec(expected)![1]!.split(', ');
      for (const known of names) {
        const misspelt = known.length > 2 ? known.slice(0, 2) + known.slice(3) : `${known}s`;
        expect(await refusal(() => take({ [misspelt]: 1 } as never))).toEqual({
          name,
          value: `"${misspelt}"`,
          expected: `${expected}: did you mean "${known}"?`,
        });
      }
    });

    test.each([[null], [[]], [1000], ['maxBuffers'], [true], [[1000]]])('that are no object are refused: %j', async (options) => {
      expect(await refusal(() => take(options as never))).toMatchObject({
        name: expect.stringMatching(/^the options argument of /),
        value: String(options),
        expected: expect.stringMatching(/^an object with any of /),
      });
    });
  });

  test('that a subclass passes on are not refused, and it can check its own', () => {
    interface NamedOptions extends managers.DefaultMemoryManagerOptions {
      readonly label?: string;
    }
    const NAMES: OptionNames<NamedOptions> = { label: true, maxBuffers: true, debug: true, logStream: true };
    class Named extends managers.DefaultMemoryManager {
      readonly label: string | undefined;

      constructor(deviceCount: number, deviceInterface: MemoryManagerDeviceInterface, options: NamedOptions = {}) {
        checkOptionNames('Named', options, NAMES);
        super(deviceCount, deviceInterface, options);
        this.label = options.label;
      }
    }
    expect(new Named(1, table(), { label: 'a', maxBuffers: 5 }).label).toBe('a');
    const misspelt: object = { lable: 'a' };
    expect(() => new Named(1, table(), misspelt)).toThrow(
      'an option of Named is "lable", but must be one of label, maxBuffers, debug, logStream: did you mean "label"?',
    );
  });

  test.each([
    ['maxBufers', 'maxBuffers'],
    ['maxbuffers', 'maxBuffers'],
    ['MAX_BUFFERS', 'maxBuffers'],
    ['max', 'maxBuffers'],
    ['dbug', 'debug'],
    ['buffers', 'maxBuffers'],
    ['colour', undefined],
    ['toString', undefined],
  ])('guesses what %j was meant to be: %j', async (misspelt, meant) => {
    const { expected } = await refusal(() => TAKERS['DefaultMemoryManager']!({ [misspelt]: 1 } as never));
    expect(/did you mean "(\w+)"/.exec(expected)?.[1]).toBe(meant);
  });
});

function withFacts(options: unknown, facts: object): Wrong {
  const isObject = typeof options === 'object' && options !== null && !Array.isArray(options);
  return (isObject ? { ...facts, ...options } : options) as Wrong;
}

async function withLoader(work: (loader: model.ModelLoader) => Promise<unknown>): Promise<unknown> {
  using loader = await model.ModelLoader.open(modelFile);
  return await work(loader);
}

/** The facts of the error that a call is refused with. */
async function refusal(call: () => unknown): Promise<MemoryError<'ERR_MEM_INVALID_ARGUMENT'>['facts']> {
  try {
    await call();
  } catch (error) {
    if (MemoryError.is(error, 'ERR_MEM_INVALID_ARGUMENT')) return error.facts;
    throw error;
  }
  throw new Error('it was not refused');
}

/** Constructors, methods and functions whose last parameter is called `options` or `settings`, or is taken apart and {} by default, by class and name. */
function takersIn(name: string, value: unknown): string[] {
  const source = typeof value === 'function' ? Function.prototype.toString.call(value) : '';
  const takers = source.matchAll(
    /^(?:(?:async )?function\*? \w+|\s*(?:static )?(?:async )?\*?(?<method>\w+))\((?:[^;]*, )?(?:(?:options|settings)(?: = [^,)]+)?|\{[^}]*\} = \{\})\) \{$/gm,
  );
  return [...takers].map(({ groups }) =>
    groups!['method'] === undefined || groups!['method'] === 'constructor' ? name : `${name}.${groups!['method']}`,
  );
}
