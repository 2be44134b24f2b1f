import {
  closeSync,
  copyFileSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { pageBytes } from '../../adapters/os/mapping.js';
import { CachingMemoryManager, LimitingMemoryManager } from '../../managers/index.js';
import { type Device, KiB, MemoryManagerDeviceInterface, MemoryRuntime, MiB } from '../../src/index.js';
import { type LoadProgress, ModelLoader } from '../../src/model/loader/model-loader.js';
import { layerOf } from '../../src/model/tensors/memory-usage.js';
import { installed } from '../core/fakes.js';
import { codeOf } from '../fixtures/code-of.js';
import { moduleUrl, runChild } from '../fixtures/compiled.js';
import { type GgufTensor, ggufBytes } from '../fixtures/gguf-bytes.js';
import { GpuFixture } from '../fixtures/gpu-fixture.js';
import { safetensorsBytes } from '../fixtures/safetensors-bytes.js';

const folder = mkdtempSync(join(tmpdir(), 'stowage-loader-'));
afterAll(() => rmSync(folder, { recursive: true }));
const PAGE = pageBytes();
const cuda = new GpuFixture('cuda');

/** In the order of the file, which is not that of the layers. */
const SIZES: readonly (readonly [name: string, floats: number])[] = [
  ['output_norm.weight', 8],
  ['blk.1.ffn_up.weight', 3 * PAGE],
  ['blk.0.attn_q.weight', 2 * PAGE],
  ['blk.0.attn_norm.weight', 16],
  ['token_embd.weight', 5 * (MiB / 4)],
  ['output.weight', 64],
];
const ORDER = [
  'token_embd.weight',
  'blk.0.attn_q.weight',
  'blk.0.attn_norm.weight',
  'blk.1.ffn_up.weight',
  'output_norm.weight',
  'output.weight',
];
const data = Buffer.alloc(
  SIZES.reduce((sum, [, floats]) => sum + 4 * floats, 0),
  0,
).map((_, i) => (i * 31 + (i >> 12)) & 0xff);
let offset = 0;
const tensors: GgufTensor[] = SIZES.map(([name, floats]) => {
  const tensor = { name, ne: [floats], type: 0, offset };
  offset += 4 * floats;
  return tensor;
});
const bytes = ggufBytes({ metadata: [['general.architecture', { type: 8, value: 'llama' }]], tensors, data });
let files = 0;

function modelFile(): string {
  const path = join(folder, `model-${files++}.gguf`);
  writeFileSync(path, bytes);
  return path;
}

function dataOf(name: string): Buffer {
  const { offset, ne } = tensors.find((tensor) => tensor.name === name)!;
  return data.subarray(Number(offset), Number(offset) + 4 * Number(ne[0])) as Buffer;
}

function runtimeOver(device: Device): MemoryRuntime {
  return new MemoryRuntime(device, { exitReport: false });
}

/** Whether something of a file is mapped. */
function isMapped(path: string): boolean {
  return readFileSync('/proc/self/maps', 'utf8').includes(path);
}

describe('ModelLoader', () => {
  describe('tensor', () => {
    test('shows the file without a copy', async () => {
      const path = modelFile();
      using loader = await ModelLoader.open(path);
      const tensor = loader.tensor('blk.0.attn_q.weight');
      expect(tensor.shape).toEqual([2 * PAGE]);
      expect(Buffer.compare(tensor.view(Uint8Array), dataOf('blk.0.attn_q.weight'))).toBe(0);
      expect(tensor.ptr).toBe(loader.file.base + loader.model.tensors.find(({ name }) => name === tensor.name)!.offset);
      // What is written into the file is seen: it is the same memory.
      const fd = openSync(path, 'r+');
      writeSync(fd, Buffer.of(200), 0, 1, tensor.ptr - loader.file.base);
      closeSync(fd);
      expect(tensor.view(Uint8Array)[0]).toBe(200);
    });

    test('can be sliced, copied and shown as floats, and cannot be written', async () => {
      using loader = await ModelLoader.open(modelFile());
      const tensor = loader.tensor('blk.0.attn_norm.weight');
      const floats = new Float32Array(Uint8Array.from(dataOf('blk.0.attn_norm.weight')).buffer);
      expect(tensor.view(Float32Array)).toEqual(floats);
      expect(tensor.slice(0, 3, 5).toArray()).toEqual(floats.slice(3, 5));
      expect(tensor.reshape([4, 4]).transpose().toFloat32()[1]).toBe(floats[4]);
      expect(codeOf(() => tensor.write(new Float32Array(16)))).toBe('ERR_MEM_UNSUPPORTED_PLATFORM');
      expect(codeOf(() => tensor.view(Int8Array))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(() => loader.tensor('nothing')).toThrow(/tensor is "nothing", but must be the name of a tensor in the file/);
    });

    test('copies what a safetensors file does not align', async () => {
      const path = join(folder, 'odd.safetensors');
      const header = {
        a: { dtype: 'U8', shape: [1], data_offsets: [0, 1] },
        b: { dtype: 'F32', shape: [2], data_offsets: [1, 9] },
      };
      const floats = Buffer.from(Float32Array.of(1.5, -2).buffer);
      let text = JSON.stringify(header);
      text = text.padEnd(Math.ceil(text.length / 8) * 8);
      writeFileSync(path, safetensorsBytes(text, Buffer.concat([Buffer.of(7), floats])));
      using loader = await ModelLoader.open(path);
      const b = loader.tensor('b');
      expect(codeOf(() => b.view(Float32Array))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(b.toArray()).toEqual(Float32Array.of(1.5, -2));
    });

    test('throws after dispose, and when the file was truncated', async () => {
      const path = modelFile();
      const loader = await ModelLoader.open(path);
      const [first, last] = [loader.tensor('output_norm.weight'), loader.tensor('output.weight')];
      truncateSync(path, bytes.length - 1);
      expect(codeOf(() => last.view(Float32Array))).toBe('ERR_MEM_BAD_INPUT');
      expect(codeOf(() => last.toArray())).toBe('ERR_MEM_BAD_INPUT');
      expect(first.view(Float32Array).length).toBe(8);
      loader.dispose();
      loader.dispose();
      for (const call of [
        () => first.view(Float32Array),
        () => loader.tensor('output.weight'),
        () => loader.file,
        () => loader.unload(),
      ]) {
        expect(codeOf(call)).toBe('ERR_MEM_DISPOSED');
      }
      expect(first.shape).toEqual([8]);
    });
  });

  describe.each<[string, () => Device]>([
    ['CpuDevice', () => new CpuDevice()],
    ['CudaDevice (a stand-in for the driver)', () => cuda.fresh()],
  ])('load to %s', (_, makeDevice) => {
    test('copies every tensor, layer by layer, and leaves no staging memory', async () => {
      using loader = await ModelLoader.open(modelFile());
      using runtime = runtimeOver(makeDevice());
      const progress: LoadProgress[] = [];
      using loaded = await loader.load({ runtime, onProgress: (one) => progress.push(one) });
      expect(loaded.names).toEqual(ORDER);
      for (const [name, tensor] of loaded) expect(Buffer.compare(tensor.toBytes(), dataOf(name)), name).toBe(0);
      expect([...new Set(progress.map(({ layer }) => layer))]).toEqual(['input', 0, 1, 'output']);
      expect(progress.map(({ tensor }) => tensor).filter((name, i, all) => name !== all[i - 1])).toEqual(ORDER);
      expect(progress.at(-1)).toMatchObject({ doneBytes: data.length, totalBytes: data.length });
      expect(progress.filter(({ tensor }) => tensor === 'token_embd.weight').map(({ doneBytes }) => doneBytes)).toEqual([
        4 * MiB,
        5 * MiB,
      ]);
      expect(runtime.slot.liveBlocks).toBe(SIZES.length);
      expect(runtime.pinnedSlot.liveBlocks).toBe(0);
    });

    test.each([
      ['before it begins', 0],
      ['after the first part', 1],
      ['in a later layer', 4],
    ])('throws the reason and frees all when it is aborted %s', async (__, after) => {
      using loader = await ModelLoader.open(modelFile());
      using runtime = runtimeOver(makeDevice());
      const controller = new AbortController();
      const reason = new Error('not any more');
      if (after === 0) controller.abort(reason);
      let parts = 0;
      const onProgress = () => {
        if (++parts === after) controller.abort(reason);
      };
      await expect(loader.load({ runtime, signal: controller.signal, onProgress })).rejects.toBe(reason);
      expect(parts).toBe(after);
      expect([runtime.slot.liveBlocks, runtime.pinnedSlot.liveBlocks]).toEqual([0, 0]);
    });

    test('frees all when the device is full, the file is truncated, or the listener throws', async () => {
      const path = modelFile();
      using loader = await ModelLoader.open(path);
      using runtime = runtimeOver(makeDevice());
      const limited = (limitBytes: number) => {
        const caching = new CachingMemoryManager(runtime.deviceCount, new MemoryManagerDeviceInterface());
        installed(new LimitingMemoryManager(caching, { limitBytes }), runtime);
      };
      limited(5 * MiB + 4 * KiB);
      await expect(loader.load({ runtime })).rejects.toMatchObject({ code: 'ERR_MEM_OUT_OF_MEMORY' });
      expect(runtime.slot.liveBlocks).toBe(0);
      limited(64 * MiB);
      const onProgress = () => {
        throw new Error('listener');
      };
      await expect(loader.load({ runtime, onProgress })).rejects.toThrow('listener');
      truncateSync(path, bytes.length - 4);
      await expect(loader.load({ runtime })).rejects.toMatchObject({ code: 'ERR_MEM_BAD_INPUT' });
      expect([runtime.slot.liveBlocks, runtime.pinnedSlot.liveBlocks]).toEqual([0, 0]);
    });

    test('copies one tensor, or those that a filter chooses', async () => {
      using loader = await ModelLoader.open(modelFile());
      using runtime = runtimeOver(makeDevice());
      using one = await loader.loadTensor('output.weight', { runtime });
      expect(Buffer.compare(one.toBytes(), dataOf('output.weight'))).toBe(0);
      using some = await loader.load({ runtime, filter: ({ bytes }, layer) => layer === 0 && bytes > 1000 });
      expect(some.names).toEqual(['blk.0.attn_q.weight']);
      await expect(loader.loadTensor('nothing', { runtime })).rejects.toMatchObject({ code: 'ERR_MEM_INVALID_ARGUMENT' });
    });
  });

  describe('unload', () => {
    test('unmaps what is not needed, pages between such neighbours included', async () => {
      using loader = await ModelLoader.open(modelFile());
      const kept = loader.tensor('token_embd.weight');
      const gone = loader.tensor('blk.0.attn_q.weight');
      const first = loader.unload('blk.1.ffn_up.weight');
      const second = loader.unload('blk.0.attn_q.weight', 'blk.0.attn_norm.weight');
      const total = 4 * (3 * PAGE + 2 * PAGE);
      expect([first % PAGE, second % PAGE]).toEqual([0, 0]);
      expect(first + second).toBeGreaterThan(total - 2 * PAGE);
      expect(loader.unload('blk.0.attn_q.weight')).toBe(0);
      expect(codeOf(() => gone.view(Uint8Array))).toBe('ERR_MEM_DISPOSED');
      expect(codeOf(() => loader.tensor('blk.1.ffn_up.weight'))).toBe('ERR_MEM_DISPOSED');
      expect(Buffer.compare(kept.view(Uint8Array), dataOf('token_embd.weight'))).toBe(0);
      expect(Buffer.compare(loader.tensor('output_norm.weight').view(Uint8Array), dataOf('output_norm.weight'))).toBe(0);
      expect(loader.names).toEqual(['output_norm.weight', 'token_embd.weight', 'output.weight']);
      expect(loader.usage().tensors).toBe(3);
      expect(codeOf(() => loader.unload('token_embd.weight', 'nothing'))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(loader.names).toContain('token_embd.weight');
    });

    test('is counted between two loaders of one file', async () => {
      const path = modelFile();
      const [first, second] = await Promise.all([ModelLoader.open(path), ModelLoader.open(path)]);
      expect([first.sharedBy, first.file === second.file]).toEqual([2, true]);
      expect(first.unload('blk.1.ffn_up.weight')).toBe(0);
      expect(Buffer.compare(second.tensor('blk.1.ffn_up.weight').view(Uint8Array), dataOf('blk.1.ffn_up.weight'))).toBe(0);
      expect(codeOf(() => first.tensor('blk.1.ffn_up.weight'))).toBe('ERR_MEM_DISPOSED');
      expect(second.unload('blk.1.ffn_up.weight')).toBeGreaterThan(0);
      // Who comes now needs all of it, which this mapping has no more.
      const third = await ModelLoader.open(path);
      expect([third.sharedBy, third.file === first.file]).toEqual([1, false]);
      expect(Buffer.compare(third.tensor('blk.1.ffn_up.weight').view(Uint8Array), dataOf('blk.1.ffn_up.weight'))).toBe(0);
      third.dispose();
      first.dispose();
      expect(Buffer.compare(second.tensor('output.weight').view(Uint8Array), dataOf('output.weight'))).toBe(0);
      second.dispose();
      expect(isMapped(path)).toBe(false);
    });

    test('what one loader leaves with dispose is unmapped when the other does not need it', async () => {
      const path = modelFile();
      using first = await ModelLoader.open(path);
      const second = await ModelLoader.open(path);
      first.unload('token_embd.weight');
      expect(first.file.mappedRanges).toHaveLength(1);
      second.dispose();
      expect(first.file.mappedRanges.length).toBe(2);
      expect(first.sharedBy).toBe(1);
    });
  });

  test('maps a file of the same name anew when it is another one', async () => {
    const path = modelFile();
    using first = await ModelLoader.open(path);
    rmSync(path);
    copyFileSync(modelFile(), path);
    using second = await ModelLoader.open(path);
    utimesSync(path, 1, 1);
    using third = await ModelLoader.open(path);
    expect([first.sharedBy, second.sharedBy, third.sharedBy]).toEqual([1, 1, 1]);
  });

  test('leaves nothing mapped when the file cannot be read, and can be opened when it was mended', async () => {
    const path = modelFile();
    truncateSync(path, 100);
    await expect(ModelLoader.open(path)).rejects.toMatchObject({ code: 'ERR_MEM_BAD_INPUT' });
    await expect(ModelLoader.open(join(folder, 'none'))).rejects.toMatchObject({ code: 'ERR_MEM_BAD_INPUT' });
    expect(isMapped(path)).toBe(false);
    writeFileSync(path, bytes);
    using loader = await ModelLoader.open(path, { lock: true, prefetch: true });
    expect(loader.names).toHaveLength(6);
    expect(loader.file.lockedBytes).toBe(bytes.length);
  });

  test('tells what it takes by type and layer', async () => {
    using loader = await ModelLoader.open(modelFile());
    expect(loader.usage()).toMatchObject({ tensors: 6, bytes: data.length, byDType: [{ dtype: 'f32', share: 1 }] });
    expect(loader.usageByLayer().map(({ layer, tensors, bytes }) => [layer, tensors, bytes])).toEqual([
      ['input', 1, 5 * MiB],
      [0, 2, 8 * PAGE + 64],
      [1, 1, 12 * PAGE],
      ['output', 2, 32 + 256],
    ]);
  });

  test('is unmapped with a warning when it was dropped', () => {
    const path = modelFile();
    const { stdout, stderr } = runChild(
      `import { ModelLoader } from '${moduleUrl('src/model/loader/model-loader.js')}';
      import { readFileSync } from 'node:fs';
      const path = ${JSON.stringify(path)};
      const isMapped = () => readFileSync('/proc/self/maps', 'utf8').includes(path);
      await (async () => { await ModelLoader.open(path); })();
      const before = isMapped();
      for (let i = 0; i < 20; i++) { gc(); await new Promise((r) => setTimeout(r, 5)); }
      console.log(before, isMapped());`,
      { nodeArguments: ['--expose-gc'] },
    );
    expect(stdout).toBe('true false\n');
    expect(stderr).toMatch(/a model loader of .* was dropped without dispose\(\)/);
  });
});

describe('layerOf', () => {
  test.each([
    ['token_embd.weight', 'input'],
    ['blk.12.ffn_down.weight', 12],
    ['output_norm.weight', 'output'],
    ['output.weight', 'output'],
    ['model.embed_tokens.weight', 'input'],
    ['model.layers.3.self_attn.q_proj.weight', 3],
    ['model.norm.weight', 'output'],
    ['lm_head.weight', 'output'],
    ['transformer.h.0.ln_1.weight', 0],
    ['transformer.wte.weight', 'input'],
    ['transformer.ln_f.weight', 'output'],
    ['encoder.block.7.layer.0.weight', 7],
  ])('of %s is %s', (name, layer) => {
    expect(layerOf(name)).toBe(layer);
  });
});
