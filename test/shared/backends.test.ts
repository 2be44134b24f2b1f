import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { PROCESS_HEAP } from '../../adapters/os/aligned-memory.js';
import { residentBytes } from '../../adapters/os/mapping.js';
import { devicePtr, GiB, KiB, MiB } from '../../src/core/units.js';
import type { MemoryBackend } from '../../src/shared/backends/memory-backend.js';
import { FileBackend, PosixShmBackend } from '../../src/shared/backends/named-backends.js';
import { ArrayBackend, MallocBackend, PosixMmapBackend } from '../../src/shared/backends/nameless-backends.js';
import { codeOf } from '../fixtures/code-of.js';
import { moduleUrl, runChild } from '../fixtures/compiled.js';
import { expectNothingLeft, freshName, pathOfName } from './names.js';

const folder = mkdtempSync(join(tmpdir(), 'stowage-shared-'));
afterAll(() => rmSync(folder, { recursive: true }));
expectNothingLeft();

const KINDS: readonly (readonly [name: string, create: (bytes: number) => MemoryBackend])[] = [
  ['ArrayBackend', (bytes) => ArrayBackend.create(3, new SharedArrayBuffer(bytes + 4096))],
  ['MallocBackend', (bytes) => MallocBackend.create(3, bytes)],
  ['PosixMmapBackend', (bytes) => PosixMmapBackend.create(3, bytes)],
  ['PosixShmBackend', (bytes) => PosixShmBackend.create(freshName(), { id: 3, bytes })],
  ['FileBackend', (bytes) => FileBackend.create(join(folder, freshName()), { id: 3, bytes })],
];

describe.each(KINDS)('%s', (name, create) => {
  test('gives a region of zeros, of the size that was asked for or a little more', () => {
    using backend = create(100_000);
    expect(backend.bytes).toBeGreaterThanOrEqual(100_000);
    expect(backend.bytes).toBeLessThan(100_000 + 4096);
    expect(backend.id).toBe(3);
    expect(backend.isCreator).toBe(true);
    expect(backend.region.uint8.every((byte) => byte === 0)).toBe(true);
    expect(backend.region.uint8.length).toBe(backend.bytes);
  });

  test('its words work with Atomics, and its base is where they lie', () => {
    using backend = create(64 * KiB);
    const { region } = backend;
    expect(Atomics.add(region.int32, 5, 7)).toBe(0);
    expect(Atomics.compareExchange(region.int32, 5, 7, 8)).toBe(7);
    expect(region.view(20, 4)[0]).toBe(8);
    expect(region.base % 8).toBe(0);
    using other = ArrayBackend.create(4, { ptr: devicePtr(region.base), bytes: region.bytes });
    other.region.uint8[0] = 99;
    expect(region.uint8[4096]).toBe(99);
  });

  test('refuses a size that is none', () => {
    if (name === 'ArrayBackend') return expect(codeOf(() => create(0))).toBe('ERR_MEM_INVALID_ARGUMENT');
    for (const bytes of [-1, 0.5, Number.NaN, 2 ** 53]) expect(codeOf(() => create(bytes))).toBe('ERR_MEM_INVALID_SIZE');
    expect(codeOf(() => create(0))).toBe('ERR_MEM_INVALID_ARGUMENT');
    return expect(codeOf(() => create(2 ** 52))).toBe('ERR_MEM_OUT_OF_MEMORY');
  });

  test('an array over the region stays safe after the end', () => {
    const backend = create(MiB);
    const early = backend.region.uint8;
    early.fill(1);
    backend.destroy();
    expect(backend.detached).toBe(true);
    expect(backend.region.closed).toBe(true);
    early[12_345] = 2;
    // The caller's own memory keeps what is in it.
    expect(early[1]).toBe(name === 'ArrayBackend' ? 1 : 0);
    expect(codeOf(() => backend.region.view(0, 1))).toBe('ERR_MEM_DISPOSED');
    backend.destroy();
    backend.detach();
  });

  test('refuses a view that leaves the region', () => {
    using backend = create(MiB);
    const { region } = backend;
    expect(region.view(region.bytes, 0).length).toBe(0);
    expect(region.view(region.bytes - 1, 1).length).toBe(1);
    for (const [offset, bytes] of [
      [-1, 1],
      [0, region.bytes + 1],
      [region.bytes, 1],
      [0.5, 1],
      [0, Number.NaN],
      [2 ** 53, 1],
    ] as const) {
      expect(codeOf(() => region.view(offset, bytes))).toBe('ERR_MEM_OUT_OF_RANGE');
    }
    expect(codeOf(() => region.words(2 ** 40))).toBe('ERR_MEM_OUT_OF_RANGE');
    expect(codeOf(() => region.words(-4))).toBe('ERR_MEM_OUT_OF_RANGE');
  });
});

describe('PosixMmapBackend', () => {
  test('takes memory only for the pages that are touched', () => {
    using backend = PosixMmapBackend.create(0, 256 * MiB);
    backend.region.uint8[128 * MiB] = 1;
    expect(residentBytes(backend.region.base, backend.bytes)).toBe(4096);
  });

  test('reaches beyond 4 GiB, window by window', () => {
    using backend = PosixMmapBackend.create(0, 9 * GiB);
    const { region } = backend;
    expect(region.int32.length).toBe(GiB);
    for (const offset of [4 * GiB - 4, 4 * GiB, 8 * GiB + 8]) {
      const words = region.words(offset);
      Atomics.store(words, (offset % (4 * GiB)) / 4, 0x01020304);
      expect([...region.view(offset, 4)]).toEqual([4, 3, 2, 1]);
    }
    // Across the border of two windows.
    expect([...region.view(4 * GiB - 4, 8)]).toEqual([4, 3, 2, 1, 4, 3, 2, 1]);
    expect(region.words(8 * GiB).length).toBe((region.bytes - 8 * GiB) / 4);
  });
});

describe('ArrayBackend', () => {
  test('another thread attaches to the same buffer', () => {
    const buffer = new SharedArrayBuffer(64 * KiB);
    using created = ArrayBackend.create(9, buffer);
    using attached = ArrayBackend.attach(buffer);
    created.region.int32[0] = 42;
    expect(attached.region.int32[0]).toBe(42);
    expect(attached.id).toBe(9);
    expect(attached.isCreator).toBe(false);
  });

  test('takes a part of a buffer, and touches nothing beside it', () => {
    const bytes = new Uint8Array(32 * KiB).fill(5);
    using backend = ArrayBackend.create(1, bytes.subarray(8 * KiB, 24 * KiB));
    backend.region.uint8.fill(7);
    expect(bytes[8 * KiB - 1]).toBe(5);
    expect(bytes[24 * KiB - 1]).toBe(7);
    expect(bytes[24 * KiB]).toBe(5);
  });

  test('takes a range of addresses', () => {
    const ptr = PROCESS_HEAP.allocate(MiB, 4096);
    const backend = ArrayBackend.create(1, { ptr: devicePtr(ptr), bytes: MiB });
    expect(backend.region.base).toBe(ptr + 4096);
    backend.destroy();
    PROCESS_HEAP.free(ptr);
  });

  test('refuses memory that is too small or starts at an odd place', () => {
    expect(codeOf(() => ArrayBackend.create(1, new ArrayBuffer(4096)))).toBe('ERR_MEM_INVALID_ARGUMENT');
    expect(codeOf(() => ArrayBackend.create(1, new Uint8Array(new ArrayBuffer(8192), 4)))).toBe('ERR_MEM_INVALID_ARGUMENT');
    expect(codeOf(() => ArrayBackend.create(1, { ptr: devicePtr(4100), bytes: 8192 }))).toBe('ERR_MEM_INVALID_ARGUMENT');
    expect(codeOf(() => ArrayBackend.create(1, { ptr: devicePtr(4096), bytes: Number.NaN }))).toBe('ERR_MEM_INVALID_SIZE');
  });

  test('attaching to memory without a backend fails', () => {
    expect(codeOf(() => ArrayBackend.attach(new ArrayBuffer(8192)))).toBe('ERR_MEM_BAD_SEGMENT');
    expect(codeOf(() => ArrayBackend.attach(new Uint8Array(8192).fill(9)))).toBe('ERR_MEM_BAD_SEGMENT');
    const buffer = new SharedArrayBuffer(16 * KiB);
    ArrayBackend.create(1, buffer).destroy();
    expect(codeOf(() => ArrayBackend.attach(new Uint8Array(buffer, 0, 8192)))).toBe('ERR_MEM_BAD_SEGMENT');
  });
});

describe('PosixShmBackend', () => {
  test('is for its owner alone', () => {
    const name = freshName();
    using backend = PosixShmBackend.create(name, { id: 0, bytes: MiB });
    expect(statSync(pathOfName(name)).mode & 0o777).toBe(0o600);
    expect(backend.url).toBe(`shm:${name}`);
  });

  test('attached ones see the same bytes, and go on when the creator has destroyed it', () => {
    const name = freshName();
    const created = PosixShmBackend.create(name, { id: 5, bytes: MiB });
    using attached = PosixShmBackend.attach(created.url);
    expect(attached.id).toBe(5);
    expect(attached.bytes).toBe(created.bytes);
    expect(attached.isCreator).toBe(false);
    created.region.int32[100] = 11;
    created.destroy();
    expect(attached.region.int32[100]).toBe(11);
    expect(codeOf(() => PosixShmBackend.attach(name))).toBe('ERR_MEM_SEGMENT_ABSENT');
  });

  test('one that only attached does not unlink', () => {
    using created = PosixShmBackend.create(freshName(), { id: 5, bytes: MiB });
    PosixShmBackend.attach(created.url).destroy();
    PosixShmBackend.attach(created.url).detach();
  });

  test('does not unlink what another has created under its name since', () => {
    const name = freshName();
    const first = PosixShmBackend.create(name, { id: 0, bytes: MiB });
    rmSync(pathOfName(name));
    using second = PosixShmBackend.create(name, { id: 1, bytes: MiB });
    first.destroy();
    expect(PosixShmBackend.attach(name).id).toBe(1);
    expect(second.detached).toBe(false);
  });

  test.each(['', '/x', 'a/b', '..', '-rf', 'a b', 'x'.repeat(201), 'shm:', 'shm:../x', 'ä', 'a\0b'])(
    'refuses the name %j',
    (name) => {
      expect(codeOf(() => PosixShmBackend.create(name, { id: 0, bytes: MiB }))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(codeOf(() => PosixShmBackend.attach(name))).toBe('ERR_MEM_INVALID_ARGUMENT');
    },
  );

  test.each([-1, 0.5, 2 ** 31])('refuses the id %d, and leaves nothing', (id) => {
    expect(codeOf(() => PosixShmBackend.create(freshName(), { id, bytes: MiB }))).toBe('ERR_MEM_INVALID_ARGUMENT');
  });

  test('takes a page of memory when it is touched, or all of it at once when it reserves', () => {
    const sparse = freshName();
    const reserved = freshName();
    using first = PosixShmBackend.create(sparse, { id: 0, bytes: 4 * MiB });
    using second = PosixShmBackend.create(reserved, { id: 0, bytes: 4 * MiB, reserve: true });
    expect(statSync(pathOfName(sparse)).blocks * 512).toBe(4096);
    expect(statSync(pathOfName(reserved)).blocks * 512).toBe(4 * MiB + 4096);
    expect(first.bytes).toBe(second.bytes);
  });

  test('refuses more than /dev/shm has, before a page is touched in vain', () => {
    const facts = expect.objectContaining({ quota: expect.stringMatching(/free in \/dev\/shm/) });
    expect(() => PosixShmBackend.create(freshName(), { id: 0, bytes: 2 ** 46 })).toThrow(
      expect.objectContaining({ code: 'ERR_MEM_OUT_OF_MEMORY', facts }),
    );
  });
});

describe('FileBackend', () => {
  test('keeps what was written, for those who attach later', () => {
    const path = join(folder, 'kept');
    const created = FileBackend.create(path, { id: 2, bytes: MiB });
    created.region.uint8.fill(3);
    created.sync();
    created.detach();
    expect(codeOf(() => created.sync())).toBe('ERR_MEM_DISPOSED');
    using attached = FileBackend.attach(created.url);
    expect(attached.region.uint8.every((byte) => byte === 3)).toBe(true);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test('its creator deletes it with destroy', () => {
    const path = join(folder, 'gone');
    FileBackend.create(path, { id: 2, bytes: MiB }).destroy();
    expect(codeOf(() => FileBackend.attach(path))).toBe('ERR_MEM_SEGMENT_ABSENT');
  });

  test('says why a place is none', () => {
    expect(() => FileBackend.create(join(folder, 'no/such/folder'), { id: 0, bytes: 1 })).toThrow(
      expect.objectContaining({ code: 'ERR_MEM_NATIVE', message: expect.stringContaining('ENOENT') }),
    );
    for (const url of ['file://elsewhere/x', '', 'a\0b']) {
      expect(codeOf(() => FileBackend.attach(url))).toBe('ERR_MEM_INVALID_ARGUMENT');
    }
    expect(() => FileBackend.attach('/dev/null')).toThrow(expect.objectContaining({ code: 'ERR_MEM_BAD_SEGMENT' }));
    expect(() => FileBackend.attach(folder)).toThrow(expect.objectContaining({ code: 'ERR_MEM_NATIVE' }));
  });
});

describe('NativeMemory', () => {
  test('is given back with a warning when its backend was dropped', () => {
    const source = `
      const { PosixShmBackend } = await import(${JSON.stringify(moduleUrl('src/shared/backends/named-backends.js'))});
      const { readFileSync } = await import('node:fs');
      const mappings = () => readFileSync('/proc/self/maps', 'utf8').split('/dev/shm/').length - 1;
      const created = PosixShmBackend.create('${freshName()}', { id: 0, bytes: 1 << 20 });
      (() => { for (let i = 0; i < 5; i++) PosixShmBackend.attach(created.url).region.int32[i] = i; })();
      const before = mappings();
      for (let i = 0; i < 10; i++) { gc(); await new Promise((r) => setTimeout(r, 5)); }
      console.log(before, mappings(), created.region.int32[4]);`;
    const { stdout, stderr } = runChild(source, { nodeArguments: ['--expose-gc'] });
    expect(stdout).toBe('6 1 4\n');
    expect(stderr.match(/a shared memory backend of 1052672 bytes \(1\.00 MiB\) was dropped without dispose\(\)/g)).toHaveLength(
      5,
    );
  });

  test('gives addresses back when no array is left, and not before', () => {
    const source = `
      const { PosixMmapBackend } = await import(${JSON.stringify('MMAP')});
      const { readFileSync } = await import('node:fs');
      const isMapped = (base) => readFileSync('/proc/self/maps', 'utf8').split('\\n').some((line) => {
        const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+)/.exec(line) ?? [];
        return from !== undefined && parseInt(from, 16) <= base && base < parseInt(to, 16);
      });
      const settle = async () => { for (let i = 0; i < 10; i++) { gc(); await new Promise((r) => setTimeout(r, 5)); } };
      let kept;
      const base = (() => {
        const backend = PosixMmapBackend.create(0, 1 << 24);
        kept = backend.region.view(4096, 10);
        backend.destroy();
        return backend.region.base;
      })();
      await settle();
      const before = isMapped(base);
      kept[0] = 1;
      kept = undefined;
      await settle();
      console.log(before, isMapped(base));`;
    const { stdout, stderr, status } = runChild(source.replace('MMAP', moduleUrl('src/shared/backends/nameless-backends.js')), {
      nodeArguments: ['--expose-gc'],
    });
    expect({ stdout, stderr, status }).toEqual({ stdout: 'true false\n', stderr: '', status: 0 });
  });
});
