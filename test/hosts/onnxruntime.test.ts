import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { findOnnxRuntime, OnnxRuntimeHost } from '../../adapters/hosts/onnxruntime/index.js';
import { libcNames } from '../../adapters/os/libc.js';
import { DecoratingMemoryManager } from '../../managers/decorators/decorating-memory-manager.js';
import { FailingMemoryManager, LimitingMemoryManager } from '../../managers/index.js';
import type { DevicePtr, FallbackEvent, MemoryManagerAdapter } from '../../src/core/index.js';
import '../../src/index.js';
import { codeOf } from '../fixtures/code-of.js';
import { compiled, moduleUrl, runChild } from '../fixtures/compiled.js';
import { describeHost } from './host-suite.js';
import { networkModel, tanhModel } from './onnx-model.js';
import { bytesOf, inputs, loadOrt, needed, type Ort, type OrtTensor } from './onnxruntime.js';
import { cachingManager, ExhaustedManager, exactManager, install } from './test-managers.js';

const FROM = import.meta.url;
const SHAPE = { inputs: 64, hidden: 256, layers: 3 };
const BATCH = 8;

/** An output's bytes as text, since `toEqual` compares bytes one by one. */
const textOf = (output: OrtTensor): string => bytesOf(output).toString('base64');

/** Runs the network twice in one session; what it holds in between are its weights. */
async function work(ort: Ort, options?: object, during?: () => void): Promise<string[]> {
  const session = await ort.InferenceSession.create(networkModel(SHAPE), options);
  const results: string[] = [];
  for (const batch of [BATCH, 3]) {
    const { y } = await session.run({ x: inputs(ort, batch, SHAPE.inputs) });
    results.push(textOf(y!));
    if (batch === BATCH) during?.();
  }
  await session.release();
  return results;
}

describeHost(`OnnxRuntimeHost under ${needed.title}`, {
  skip: needed.missing,
  expected: () => work(loadOrt()),
  open: () => {
    const host = new OnnxRuntimeHost({ from: FROM });
    host.attach();
    return {
      host,
      whenRefused: 'falls back',
      work: (during) => work(loadOrt(), host.sessionOptions(), during),
      close: () => host.dispose(),
    };
  },
});

/** Keeps what each block of a given size held when it was freed. */
class WitnessManager extends DecoratingMemoryManager {
  readonly contents: Buffer[] = [];
  readonly #read: (ptr: DevicePtr, bytes: number) => Uint8Array;
  readonly #bytes: number;

  constructor(inner: MemoryManagerAdapter, bytes: number, read: (ptr: DevicePtr, bytes: number) => Uint8Array) {
    super(inner);
    this.#read = read;
    this.#bytes = bytes;
  }

  override unlock(ptr: DevicePtr, userUnlock: boolean): void {
    if (this.allocated(ptr) >= this.#bytes) this.contents.push(Buffer.from(this.#read(ptr, this.#bytes)));
    super.unlock(ptr, userUnlock);
  }
}

describe.skipIf(needed.missing)(`OnnxRuntimeHost under ${needed.title}`, () => {
  let ort: Ort;
  let host: OnnxRuntimeHost;
  let expected: string[];

  beforeAll(async () => {
    ort = loadOrt();
    expected = await work(ort);
  });

  beforeEach(() => {
    host = new OnnxRuntimeHost({ from: FROM });
    host.attach();
  });

  afterEach(() => {
    host.dispose();
    expect(host.slot.nativeFrees).toBe(host.slot.nativeAllocs);
    expect(host.device.liveBytes).toBe(0);
  });

  describe('attach', () => {
    test('finds the library of onnxruntime-node from a module or a folder, and names it', () => {
      expect(host.library).toMatchObject({ version: expect.stringMatching(/^1\.\d+\.\d+$/), path: needed.library.path });
      expect(findOnnxRuntime({ from: import.meta.dirname })).toBe(needed.library.path);
      expect(findOnnxRuntime({ library: needed.library.path })).toBe(needed.library.path);
    });

    test('tells where the package is not installed, has no library for this platform, or the file is missing', () => {
      const folder = mkdtempSync(join(tmpdir(), 'stowage-ort-'));
      const reasonOf = (location: object): string => {
        try {
          return findOnnxRuntime(location);
        } catch (error) {
          return (error as Error).message;
        }
      };
      expect(reasonOf({ from: folder })).toBe(`ONNX Runtime is absent: onnxruntime-node is not installed for ${folder}`);
      mkdirSync(join(folder, 'node_modules/onnxruntime-node/bin/napi-v6'), { recursive: true });
      writeFileSync(join(folder, 'node_modules/onnxruntime-node/package.json'), '{"name":"onnxruntime-node"}');
      expect(reasonOf({ from: pathToFileURL(join(folder, 'app.mjs')).href })).toMatch(/has no library for \w+-\w+$/);
      expect(reasonOf({ library: join(folder, 'libonnxruntime.so.1') })).toContain('ENOENT');
      rmSync(folder, { recursive: true });
    });

    test('refuses a library that is another one', () => {
      using other = new OnnxRuntimeHost({ library: libraryFile(libcNames()[0]!) });
      expect(() => other.attach()).toThrow(
        expect.objectContaining({ code: 'ERR_MEM_DEVICE_ABSENT', message: expect.stringContaining('OrtGetApiBase') }),
      );
    });

    test('is refused while another host is attached, which goes on', async () => {
      using other = new OnnxRuntimeHost({ from: FROM });
      expect(codeOf(() => other.attach())).toBe('ERR_MEM_ENGINE_IN_USE');
      expect(await work(ort, other.sessionOptions())).toEqual(expected);
      expect(host.stats()?.blocks.total).toBeGreaterThan(0);
      expect(other.stats()).toBeUndefined();
    });

    test('does nothing the second time, and throws after dispose', () => {
      host.attach();
      host.dispose();
      expect(codeOf(() => host.attach())).toBe('ERR_MEM_DISPOSED');
    });
  });

  describe('sessionOptions', () => {
    test('adds to the options of a session', () => {
      expect(host.sessionOptions({ intraOpNumThreads: 2, extra: { session: { a: '1' }, b: 2 } })).toEqual({
        intraOpNumThreads: 2,
        extra: { session: { a: '1', use_env_allocators: '1' }, b: 2 },
      });
    });

    test('refuses the parallel mode, whose threads would wait for ever', () => {
      expect(codeOf(() => host.sessionOptions({ executionMode: 'parallel' }))).toBe('ERR_MEM_INVALID_ARGUMENT');
    });

    test('leaves sessions without them alone', async () => {
      expect(await work(ort)).toEqual(expected);
      expect(host.stats()).toBeUndefined();
    });

    test.each([
      { intraOpNumThreads: 2 },
      { enableMemPattern: false },
      { enableCpuMemArena: false },
      { graphOptimizationLevel: 'disabled' },
    ])('works with %j', async (options) => {
      const manager = install(host, cachingManager());
      const results = await work(ort, host.sessionOptions(options));
      expect(results).toEqual(await work(ort, options));
      expect(manager.stats(0)?.blocks).toMatchObject({ current: 0 });
      expect(manager.stats(0)?.blocks.total).toBeGreaterThan(6);
    });
  });

  test('has intermediate tensors in the memory of its manager, bit by bit', async () => {
    // With one layer nothing is computed in the memory of the layer's result later.
    const shape = { ...SHAPE, layers: 1 };
    const x = inputs(ort, BATCH, shape.inputs);
    const plain = await ort.InferenceSession.create(networkModel({ ...shape, showFirstLayer: true }));
    const { y, tanh0 } = await plain.run({ x });
    await plain.release();
    const bytes = BATCH * shape.hidden * Float32Array.BYTES_PER_ELEMENT;
    const witness = install(host, new WitnessManager(exactManager(), bytes, (ptr, length) => host.device.view(ptr, length)));
    const session = await ort.InferenceSession.create(networkModel(shape), host.sessionOptions());
    expect(Object.keys(await session.run({ x }))).toEqual(['y']);
    await session.release();
    const held = (expectedBytes: Buffer) => witness.contents.filter((content) => content.equals(expectedBytes)).length;
    expect([held(bytesOf(tanh0!)), held(bytesOf(y!))]).toEqual([1, 1]);
  });

  test('swaps managers between two runs and while a session is open; each drains until the session is released', async () => {
    const managers = [install(host, cachingManager())];
    const session = await ort.InferenceSession.create(networkModel(SHAPE), host.sessionOptions());
    const run = async () => textOf((await session.run({ x: inputs(ort, BATCH, SHAPE.inputs) }))['y']!);
    for (let swap = 0; swap < 3; swap++) {
      managers.push(install(host, cachingManager()));
      expect(await run()).toEqual(expected[0]);
    }
    expect(managers.map(({ lifecycle }) => lifecycle.state)).toEqual(['draining', 'stopped', 'stopped', 'active']);
    expect(managers.map((manager) => manager.stats(0)!.blocks.total > 0)).toEqual([true, true, true, true]);
    await session.release();
    expect(managers[0]!.lifecycle.state).toBe('stopped');
  });

  test('serves an empty batch', async () => {
    const session = await ort.InferenceSession.create(networkModel(SHAPE), host.sessionOptions());
    const { y } = await session.run({ x: inputs(ort, 0, SHAPE.inputs) });
    expect(y!.dims).toEqual([0, SHAPE.hidden]);
    await session.release();
    expect(host.slot.liveBlocks).toBe(0);
  });

  describe('without memory', () => {
    test('goes on in fallback memory, and tells of each block by an event', async () => {
      const limiting = install(host, new LimitingMemoryManager(cachingManager(), { limitBytes: 100_000 }));
      const events: FallbackEvent[] = [];
      host.events.on('fallback', (event) => events.push(event));
      let held = 0;
      const results = await work(ort, host.sessionOptions(), () => {
        held = host.fallback.liveBytes;
      });
      expect(results).toEqual(expected);
      expect(events.length).toBe(host.fallback.allocs);
      expect(events[0]).toMatchObject({
        slot: 'ordinary',
        error: { code: 'ERR_MEM_OUT_OF_MEMORY', facts: { quota: expect.stringContaining('limited to 100000 bytes') } },
      });
      expect(held).toBeGreaterThan(SHAPE.hidden * SHAPE.hidden * 4);
      expect(limiting.usedBytes).toBe(0);
      expect([host.fallback.liveBlocks, host.fallback.liveBytes]).toEqual([0, 0]);
    });

    test('warns once where nobody listens', async () => {
      const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
      install(host, new LimitingMemoryManager(cachingManager(), { limitBytes: 0 }));
      expect(await work(ort, host.sessionOptions())).toEqual(expected);
      expect(warn.mock.calls.map(([warning]) => String(warning))).toEqual([
        expect.stringMatching(
          /^ONNX Runtime cannot be refused memory and got \d+ bytes.* past its manager \(.*limited to 0 bytes/,
        ),
      ]);
      warn.mockRestore();
    });

    test('comes to the same with every n-th allocation refused, for any reason', async () => {
      host.events.on('fallback', () => {});
      for (const every of [1, 2, 3, 5, 7]) {
        const failing = install(host, new FailingMemoryManager(exactManager(), { every }));
        expect(await work(ort, host.sessionOptions())).toEqual(expected);
        expect(failing.failures).toBeGreaterThan(0);
        expect(host.slot.liveBlocks + host.fallback.liveBlocks).toBe(0);
      }
    });

    test('asks oom listeners first, and survives one that throws', async () => {
      const manager = install(host, new ExhaustedManager(exactManager()));
      manager.from = 2;
      const errors: unknown[] = [];
      host.events.on('fallback', ({ error }) => {
        errors.push(error);
        // A listener of this event may fail, too.
        throw new TypeError('fallback listener');
      });
      const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
      host.events.once('oom', () => {
        throw new RangeError('oom listener');
      });
      host.events.on('oom', () => {
        manager.from = Number.POSITIVE_INFINITY;
      });
      expect(await work(ort, host.sessionOptions())).toEqual(expected);
      expect(errors).toEqual([new RangeError('oom listener')]);
      expect(warn.mock.calls.map(([warning]) => String(warning))).toEqual(['TypeError: fallback listener']);
      warn.mockRestore();
    });
  });

  describe('dispose', () => {
    test('is refused while a session holds weights', async () => {
      const session = await ort.InferenceSession.create(networkModel(SHAPE), host.sessionOptions());
      expect(codeOf(() => host.dispose())).toBe('ERR_MEM_DEVICE_BUSY');
      await session.release();
    });

    test('leaves later sessions to ONNX Runtime, and the next host can attach', async () => {
      const options = host.sessionOptions();
      host.dispose();
      expect(await work(ort, options)).toEqual(expected);
      expect(host.stats()).toBeUndefined();
      using next = new OnnxRuntimeHost({ from: FROM });
      next.attach();
      expect(await work(ort, options)).toEqual(expected);
      expect(next.stats()?.blocks.total).toBeGreaterThan(0);
    });

    test('leaves a session that outlives the host usable, with a warning, and gives it to the next host', async () => {
      const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
      const session = await ort.InferenceSession.create(tanhModel(16), host.sessionOptions());
      const run = async () => (await session.run({ x: inputs(ort, 2, 16) }))['y']!.data;
      const values = await run();
      expect(host.stats()?.blocks.total).toBeGreaterThan(0);
      host.dispose();
      expect(await run()).toEqual(values);
      expect(await run()).toEqual(values);
      expect(warn.mock.calls.map(([warning]) => String(warning))).toEqual([
        expect.stringContaining('outlived its OnnxRuntimeHost'),
      ]);
      using next = new OnnxRuntimeHost({ from: FROM });
      next.attach();
      expect(await run()).toEqual(values);
      expect(next.stats()?.blocks.total).toBeGreaterThan(0);
      await session.release();
      warn.mockRestore();
    });
  });

  test('serves a session of a worker from its own thread', async () => {
    const manager = install(host, cachingManager());
    const source = `
      const { parentPort, workerData } = require('node:worker_threads');
      const ort = require(workerData.ort);
      (async () => {
        const session = await ort.InferenceSession.create(workerData.model, workerData.options);
        const { y } = await session.run({ x: new ort.Tensor('float32', workerData.x, workerData.dims) });
        parentPort.postMessage(new Float32Array(y.data));
        await session.release();
      })();
    `;
    const x = inputs(ort, BATCH, SHAPE.inputs);
    const worker = new Worker(source, {
      eval: true,
      workerData: {
        ort: join(import.meta.dirname, 'node_modules/onnxruntime-node'),
        model: networkModel(SHAPE),
        options: host.sessionOptions(),
        x: x.data,
        dims: x.dims,
      },
    });
    const exited = new Promise((resolve) => worker.once('exit', resolve));
    const answer = await new Promise<Float32Array>((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
    expect(Buffer.from(answer.buffer).toString('base64')).toBe(expected[0]);
    expect(await exited).toBe(0);
    expect(manager.stats(0)?.blocks).toMatchObject({ current: 0 });
    expect(manager.stats(0)?.blocks.total).toBeGreaterThan(3);
  });
});

/** The file behind a name that the loader knows. */
function libraryFile(name: string): string {
  const { sharedObjects } = process.report.getReport() as unknown as { sharedObjects: string[] };
  return sharedObjects.find((path) => path.endsWith(`/${name}`)) ?? name;
}

describe.skipIf(needed.missing)(`OnnxRuntimeHost at exit under ${needed.title}`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'stowage-ort-exit-'));
  beforeAll(() => {
    compiled();
    writeFileSync(join(folder, 'model.onnx'), networkModel(SHAPE));
  }, 120_000);
  afterAll(() => rmSync(folder, { recursive: true }));

  test.each(['', 'process.exit(0);', "throw new Error('the end');"])(
    'ends in peace with a session open, a run behind it and the host attached: %s',
    (end) => {
      const { status, signal, stdout } = runChild(`
        import { createRequire } from 'node:module';
        import { writeSync } from 'node:fs';
        import '${moduleUrl('src/index.js')}';
        import { OnnxRuntimeHost } from '${moduleUrl('adapters/hosts/onnxruntime/index.js')}';
        const host = new OnnxRuntimeHost({ from: '${FROM}' });
        host.attach();
        const ort = createRequire('${FROM}')('onnxruntime-node');
        const session = await ort.InferenceSession.create('${join(folder, 'model.onnx')}', host.sessionOptions());
        host.slot.active.setLogStream({ write: (chunk) => writeSync(1, chunk) });
        host.slot.active.setLoggingEnabled(true);
        await session.run({ x: new ort.Tensor('float32', new Float32Array(64), [1, 64]) });
        ${end}
      `);
      expect([signal, status]).toEqual([null, end.startsWith('throw') ? 1 : 0]);
      expect(stdout).toMatch(/^alloc \d+ 0 \d+ \n/);
    },
  );

  test('aborts with a message when the device has nothing left either', () => {
    const { signal, stderr } = runChild(`
      import { createRequire } from 'node:module';
      import '${moduleUrl('src/index.js')}';
      import { OnnxRuntimeHost } from '${moduleUrl('adapters/hosts/onnxruntime/index.js')}';
      const host = new OnnxRuntimeHost({ from: '${FROM}' });
      host.device.nativeAlloc = () => 0;
      host.attach();
      const ort = createRequire('${FROM}')('onnxruntime-node');
      await ort.InferenceSession.create('${join(folder, 'model.onnx')}', host.sessionOptions());
    `);
    expect(signal).toBe('SIGABRT');
    expect(stderr).toMatch(/^stowage: ONNX Runtime asks for \d+ bytes.* that the device does not have, and cannot be told so\n/);
  });
});
