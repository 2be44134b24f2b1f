/** Of an engine or a card that a machine may not have: its absence is found at the first use, and said by a MemoryError. */
const orAbsent = (source) => ({
  source: `${source.replace('RUN', 'try {').replace('END', "} catch (error) { if (error.code !== 'ERR_MEM_DEVICE_ABSENT') throw error; }")}
    console.log('used');`,
  output: 'used',
});

const device = (name, path) => `
  import { ${name} } from 'stowage/adapters/${path}';
  RUN const device = new ${name}();
  const ptr = device.nativeAlloc(4096);
  if (!(ptr > 0)) throw new Error('no memory');
  device.nativeFree(ptr); END`;

/** Each host gets memory of the default manager. */
const host = (name, path, make) => `
  import { ${name} } from 'stowage/${path}';
  RUN const host = ${make};
  const manager = host.createDefaultManager();
  if (manager.constructor.name !== 'CachingMemoryManager') throw new Error('no default manager');
  host.dispose(); END`;

/** What a program's own package brings, or is no JavaScript: not for a bundle. */
export const EXTERNAL = ['inversify', 'reflect-metadata', '@huggingface/gguf', '@opentelemetry/api', 'koffi'];

/**
 * Programs that import one entry point alone and use it, and what they print. By the key in package.json's exports.
 *
 * @type {Readonly<Record<string, { readonly source: string, readonly output: string }>>}
 */
export const ENTRY_PROGRAMS = {
  '.': {
    source: `
      import { MemoryManagerInstaller } from 'stowage';
      MemoryManagerInstaller.installDefaultMemoryManager();
      const manager = MemoryManagerInstaller.currentlyInstalledMemoryManager();
      const ptr = manager.allocBytes(100, true);
      console.log(manager.constructor.name, manager.allocated(ptr) >= 100);
      manager.unlock(ptr, true);
      MemoryManagerInstaller.unsetMemoryManager();`,
    output: 'CachingMemoryManager true',
  },
  './explain': {
    source: `
      import { explainMemory, trimMemory } from 'stowage/explain';
      const view = process.platform === 'linux' ? explainMemory().view : 'inside';
      console.log(view, trimMemory({ v8: false }).steps.length);`,
    output: 'inside 3',
  },
  './managers': {
    source: `
      import { ArenaMemoryManager, LimitingMemoryManager, TlsfMemoryManager } from 'stowage/managers';
      const table = { nativeAlloc: () => 4096, nativeFree: () => undefined, getActiveDeviceId: () => 0, getMaxMemorySize: () => 2 ** 30 };
      const manager = new LimitingMemoryManager(new TlsfMemoryManager(1, table), { limitBytes: 100 });
      manager.initialize();
      try { manager.allocBytes(101, true); } catch (error) { console.log(error.code, ArenaMemoryManager.name); }`,
    output: 'ERR_MEM_OUT_OF_MEMORY ArenaMemoryManager',
  },
  './adapters/cpu': orAbsent(device('CpuDevice', 'cpu')),
  './adapters/cuda': orAbsent(device('CudaDevice', 'cuda')),
  './adapters/hip': orAbsent(device('HipDevice', 'hip')),
  './adapters/simulated': orAbsent(device('SimulatedDevice', 'simulated')),
  './adapters/opencl': orAbsent(device('OpenClDevice', 'opencl')),
  './adapters/arrayfire': orAbsent(host('ArrayFireHost', 'adapters/arrayfire', 'ArrayFireHost.open()')),
  './adapters/ggml': orAbsent(host('GgmlHost', 'adapters/ggml', 'GgmlHost.open()')),
  './adapters/onnxruntime': orAbsent(host('OnnxRuntimeHost', 'adapters/onnxruntime', 'new OnnxRuntimeHost()')),
  './adapters/sqlite': orAbsent(host('SqliteHost', 'adapters/sqlite', 'new SqliteHost()')),
  './adapters/c-allocator': {
    source: `
      import { CAllocatorHost } from 'stowage/adapters/c-allocator';
      const host = new CAllocatorHost();
      const ptr = host.malloc(100);
      console.log(ptr > 0, host.functions.malloc > 0, host.slot.active.constructor.name, host.lastError);
      host.free(ptr);
      host.dispose();`,
    output: 'true true CachingMemoryManager undefined',
  },
  './ffi': orAbsent(host('EngineHost', 'ffi', "new (class MyHost extends EngineHost {})('MyHost')")),
  './trace': {
    source: `
      import { parseTrace, recordTrace, replayTrace } from 'stowage/trace';
      const events = parseTrace('#alloctrace v1 small\\na 0 1000\\nf 0\\n', 'small.trace');
      console.log(events.length, events.peakLiveBytes, typeof recordTrace, typeof replayTrace);`,
    output: '2 1000 function function',
  },
  './report': {
    source: `
      import { buildReport, observeRecording, renderPage } from 'stowage/report';
      const live = { data: { title: 'mine', mode: 'live' }, payload: '' };
      const page = renderPage(live);
      console.log(page.includes('new EventSource'), page.includes('uPlot'), page.includes('<title>mine'), page.includes('<!--scripts-->'));`,
    output: 'true true true false',
  },
  './whatif': {
    source: `
      import { parseTrace } from 'stowage/trace';
      import { CARDS, whatIf } from 'stowage/whatif';
      const events = parseTrace('#alloctrace v1 small\\na 0 1000\\na 1 3000000\\nf 0\\n', 'small.trace');
      const [result] = whatIf(events, [{ conf: 'max_split_size_mb:128' }], { limits: [{ bytes: 2 ** 20 }] }).results;
      console.log(result.fits, result.failure.event, CARDS.size > 15);`,
    output: 'false 0 true',
  },
  './model': {
    source: `
      import { MemoryContext, fitToMemory } from 'stowage/model';
      const context = new MemoryContext({ memSize: 0, noAlloc: true });
      context.newTensor('f32', [4, 4], 'input');
      console.log(context.usage().tensors, context.usage().bytes);`,
    output: '1 64',
  },
  './shared': {
    source: `
      import { SharedAllocation, memoryRegistry } from 'stowage/shared';
      memoryRegistry().createBackend('malloc', 0, 2 ** 22);
      const block = SharedAllocation.allocate(memoryRegistry().createAllocator('scalable-page', 0, { major: 1, minor: 0 }), 64);
      block.view(Float64Array)[0] = 42;
      console.log(block.view(Float64Array)[0]);
      block.dispose();
      memoryRegistry().destroyBackend(0);`,
    output: '42',
  },
  './budget': {
    source: `
      import { MemoryBudget } from 'stowage/budget';
      const budget = new MemoryBudget({ limit: 1000 });
      const job = budget.reserve(600);
      try { budget.reserve(500); } catch (error) { console.log(error.code, error.facts.budget.missingBytes, budget.usedBytes); }
      job.dispose();
      budget.dispose(); // otherwise a line at exit tells of the refusal`,
    output: 'ERR_MEM_OUT_OF_MEMORY 100 600',
  },
  './di': {
    source: `
      import 'reflect-metadata';
      import { Container } from 'inversify';
      import { StowageTokens, stowageModule } from 'stowage/di';
      const container = new Container();
      container.load(stowageModule());
      const host = container.get(StowageTokens.host);
      const block = host.allocate(100, { pinned: true });
      console.log(host.slot.active.constructor.name, block.bytes);
      block.dispose();
      container.unbindAll();`,
    output: 'CachingMemoryManager 100',
  },
  './otel': {
    source: `
      import { publishMemoryStats } from 'stowage/otel';
      const gone = [];
      const instrument = () => ({});
      const meter = {
        createObservableGauge: instrument, createObservableCounter: instrument,
        addBatchObservableCallback: () => gone.push('added'), removeBatchObservableCallback: () => gone.push('removed'),
      };
      publishMemoryStats({}, { meter }).dispose();
      console.log(gone.join(' '));`,
    output: 'added removed',
  },
};
