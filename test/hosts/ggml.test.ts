import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { GgmlHost } from '../../adapters/hosts/ggml/index.js';
import { FailingMemoryManager, LimitingMemoryManager } from '../../managers/index.js';
import { KiB } from '../../src/core/index.js';
import { codeOf } from '../fixtures/code-of.js';
import { compiled, moduleUrl, runChild } from '../fixtures/compiled.js';
import { compiledLibrary } from '../fixtures/compiled-c.js';
import { exampleAsJavaScript } from '../fixtures/compiled-examples.js';
import { requireLibrary } from '../fixtures/requires.js';
import { computeGraph, Ggml, ggmlPath, graphReference, Llama, writeModel } from './ggml.js';
import { describeHost } from './host-suite.js';
import { cachingManager, exactManager, install } from './test-managers.js';

const needed = requireLibrary('ggml', [ggmlPath()]);
const TOKEN = 7;
const openHost = () =>
  GgmlHost.open({ library: ggmlPath(), createDefaultManager: cachingManager, createFallbackManager: exactManager });

let ggml: Ggml;
let llama: Llama;
let folder = '';
let model = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'stowage-ggml-'));
  if (needed.missing) return;
  ggml = new Ggml(ggmlPath());
  llama = new Llama(ggmlPath());
  model = join(folder, 'tiny.gguf');
  using host = openHost();
  writeModel(ggml, host, model);
});
afterAll(() => rmSync(folder, { recursive: true }));

describeHost('GgmlHost', {
  skip: needed.missing,
  open: () => {
    const host = openHost();
    return { host, work: (during) => computeGraph(ggml, host, during), whenRefused: 'fails', close: () => host.dispose() };
  },
  expected: graphReference,
});

describeHost('GgmlHost under llama.cpp', {
  skip: needed.missing,
  open: () => {
    const host = openHost();
    host.redirect();
    return {
      host,
      work: (during) => llama.decodeOne(model, TOKEN, { call: (native) => host.call(native), ...(during && { during }) }),
      whenRefused: 'fails',
      close: () => host.dispose(),
    };
  },
  expected: () => llama.decodeOne(model, TOKEN),
});

describe.skipIf(needed.missing)(`GgmlHost on ${needed.title}`, () => {
  let host: GgmlHost;

  beforeEach(() => {
    host = openHost();
  });

  afterEach(() => {
    host.dispose();
    expect(host.slot.nativeFrees).toBe(host.slot.nativeAllocs);
    expect(host.device.liveBytes).toBe(0);
  });

  const call = <T>(native: () => T): T => host.call(native);

  describe('open', () => {
    test('refuses a library that is not there, and one that is not ggml', () => {
      expect(codeOf(() => GgmlHost.open({ library: '/nowhere/libggml-base.so' }))).toBe('ERR_MEM_DEVICE_ABSENT');
      expect(codeOf(() => GgmlHost.open({ library: compiledLibrary('arrayfire') }))).toBe('ERR_MEM_DEVICE_ABSENT');
    });

    test("finds node-llama-cpp's in the node_modules of the program's folder", () => {
      const before = process.cwd();
      process.chdir(import.meta.dirname);
      try {
        using found = GgmlHost.open();
        expect(found.library.path).toBe(ggmlPath());
      } finally {
        process.chdir(before);
      }
    });
  });

  describe('bufferType', () => {
    test('is as that of ggml for the CPU, but for its buffers', () => {
      const [ours, theirs] = [host.bufferType, ggml.f('ggml_backend_cpu_buffer_type')];
      expect(ours).not.toBe(theirs);
      expect(host.bufferType).toBe(ours);
      for (const fact of ['name', 'get_alignment', 'get_max_size', 'is_host']) {
        expect(ggml.f(`ggml_backend_buft_${fact}`, ours)).toBe(ggml.f(`ggml_backend_buft_${fact}`, theirs));
      }
    });

    test('gives buffers in memory of the manager', () => {
      install(host, exactManager());
      const buffer = call(() => ggml.f('ggml_backend_buft_alloc_buffer', host.bufferType, 1000));
      const base = ggml.f('ggml_backend_buffer_get_base', buffer);
      expect(host.slot.allocated(base as never)).toBe(1000);
      expect(ggml.f('ggml_backend_buffer_get_size', buffer)).toBe(1000);
      expect(ggml.f('ggml_backend_buffer_get_type', buffer)).toBe(host.bufferType);
      expect(host.liveBuffers).toBe(1);
      expect(codeOf(() => host.dispose())).toBe('ERR_MEM_DEVICE_BUSY');
      call(() => ggml.f('ggml_backend_buffer_free', buffer));
      expect([host.liveBuffers, host.slot.liveBlocks]).toEqual([0, 0]);
    });

    test('gives NULL without memory, tells why, and works on', () => {
      install(host, new LimitingMemoryManager(exactManager(), { limitBytes: 64 * KiB }));
      for (const bytes of [65 * KiB, 2 ** 50]) {
        expect(call(() => ggml.f('ggml_backend_buft_alloc_buffer', host.bufferType, bytes))).toBe(0);
        expect(host.lastError).toMatchObject({ code: 'ERR_MEM_OUT_OF_MEMORY', facts: { requestedBytes: bytes } });
      }
      expect(host.liveBuffers).toBe(0);
      install(host, cachingManager());
      expect(computeGraph(ggml, host)).toEqual(graphReference());
      expect(host.lastError).toBeUndefined();
    });

    test('throws what a listener threw after ggml has returned', () => {
      install(host, new LimitingMemoryManager(exactManager(), { limitBytes: KiB }));
      const thrown = new Error('from a listener');
      host.events.once('oom', () => {
        throw thrown;
      });
      expect(() => call(() => ggml.f('ggml_backend_buft_alloc_buffer', host.bufferType, 2 * KiB))).toThrow(thrown);
    });
  });

  describe('createContext', () => {
    test('holds tensors in memory of the manager', () => {
      const context = host.createContext(8 * KiB);
      const before = context.usedBytes;
      const tensor = ggml.vector(context.address, 100);
      expect(context.usedBytes - before).toBeGreaterThanOrEqual(400);
      ggml.write(tensor, new Float32Array(100).fill(3));
      expect(ggml.read(tensor, 100)[99]).toBe(3);
      expect(codeOf(() => host.dispose())).toBe('ERR_MEM_DEVICE_BUSY');
      context[Symbol.dispose]();
      context[Symbol.dispose]();
      expect(codeOf(() => context.usedBytes)).toBe('ERR_MEM_DISPOSED');
      expect(host.slot.liveBlocks).toBe(0);
    });

    test('throws at a limit', () => {
      install(host, new LimitingMemoryManager(exactManager(), { limitBytes: KiB }));
      expect(codeOf(() => host.createContext(2 * KiB))).toBe('ERR_MEM_OUT_OF_MEMORY');
    });
  });

  describe('redirect', () => {
    const alloc = () => call(() => ggml.f('ggml_backend_buft_alloc_buffer', ggml.f('ggml_backend_cpu_buffer_type'), 1000));
    const free = (buffer: number) => call(() => ggml.f('ggml_backend_buffer_free', buffer));

    test('serves every CPU buffer from now on, until it is taken back', () => {
      const before = alloc();
      expect(host.liveBuffers).toBe(0);
      host.redirect();
      host.redirect();
      const during = alloc();
      expect([host.liveBuffers, host.redirected]).toEqual([1, true]);
      host.restore();
      const after = alloc();
      expect([host.liveBuffers, host.redirected]).toEqual([1, false]);
      for (const buffer of [during, before, after]) free(buffer);
      expect(host.liveBuffers).toBe(0);
    });

    test('serves one host at a time', () => {
      host.redirect();
      using other = openHost();
      expect(codeOf(() => other.redirect())).toBe('ERR_MEM_ENGINE_IN_USE');
      host.restore();
      other.redirect();
      free(alloc());
      expect(other.stats()?.blocks.total).toBe(1);
    });

    test('is taken back by dispose', () => {
      host.redirect();
      host.dispose();
      const buffer = ggml.f('ggml_backend_buft_alloc_buffer', ggml.f('ggml_backend_cpu_buffer_type'), 1000);
      expect(ggml.f('ggml_backend_buffer_get_base', buffer)).toBeGreaterThan(0);
      ggml.f('ggml_backend_buffer_free', buffer);
    });

    test('llama.cpp comes to the same, or fails and keeps nothing, for every n that every n-th buffer is refused at', () => {
      const wanted = llama.decodeOne(model, TOKEN);
      host.redirect();
      let failures = 0;
      for (let nth = 1; ; nth++) {
        const failing = install(host, new FailingMemoryManager(exactManager(), { every: nth }));
        let logits: unknown;
        let reason: string | undefined;
        try {
          const noting = <T>(native: () => T): T => {
            const result = call(native);
            reason ??= host.lastError?.code;
            return result;
          };
          logits = llama.decodeOne(model, TOKEN, { call: noting });
        } catch (error) {
          expect(String(error)).toMatch(/llama_(model_load|init|decode)/);
          expect(reason).toBe('ERR_MEM_OUT_OF_MEMORY');
        }
        expect(host.slot.liveBlocks).toBe(0);
        failures += failing.failures;
        if (failing.failures > 0) continue;
        expect(logits).toEqual(wanted);
        break;
      }
      // The weights, the cache, the outputs and the compute buffer.
      expect(failures).toBeGreaterThanOrEqual(4);
    });
  });

  test('leaves ggml nothing to call after the end of the process', () => {
    const result = runChild(`
      import ${JSON.stringify(moduleUrl('src/index.js'))};
      const { GgmlHost } = await import(${JSON.stringify(moduleUrl('adapters/hosts/ggml/index.js'))});
      const host = GgmlHost.open({ library: ${JSON.stringify(ggmlPath())} });
      host.redirect();
      const type = host.library.func('ggml_backend_cpu_buffer_type', 'uintptr_t', []);
      const alloc = host.library.func('ggml_backend_buft_alloc_buffer', 'uintptr_t', ['uintptr_t', 'size_t']);
      const free = host.library.func('ggml_backend_buffer_free', 'void', ['uintptr_t']);
      const buffer = host.call(() => alloc(type(), 1000));
      const end = host.endWithProcess.bind(host);
      host.endWithProcess = () => {
        end();
        // As a destructor would that runs after Node: neither comes back to JavaScript.
        free(buffer);
        free(alloc(type(), 1000));
        console.log(host.liveBuffers);
      };`);
    expect(result).toMatchObject({ status: 0, signal: null, stderr: '', stdout: '1\n' });
  });

  test('the example runs', () => {
    const copy = join(compiled(), 'ggml-example.mjs');
    writeFileSync(copy, exampleAsJavaScript('ggml.mts'));
    const { status, stdout, stderr } = spawnSync(process.execPath, [copy, ggmlPath()], { encoding: 'utf8' });
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(
      /^1000 numbers in \d+ bytes of ggml\n1 buffer in a CachingMemoryManager\nrefused: ERR_MEM_OUT_OF_MEMORY\n$/,
    );
  });
});
