import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { errnoError, errnoName, openLibrary } from '../../adapters/ffi/library.js';
import { libc, libcNames } from '../../adapters/os/libc.js';
import { advisePages, lockPages, mapPages, pageBytes, protectPages, unlockPages, unmapPages } from '../../adapters/os/mapping.js';
import { maxMemoryBytes, memoryLimit } from '../../adapters/os/memory-limits.js';
import { AddressTree } from '../../src/core/address-tree.js';
import { codeOf } from '../fixtures/code-of.js';
import { is } from '../fixtures/same.js';

describe('openLibrary', () => {
  test('opens the first name that loads', () => {
    const names = ['no-such-library.so', ...libcNames()];
    expect(libcNames()).toContain(openLibrary(names).path);
  });

  test('tells why each name failed when none loads', () => {
    expect(() => openLibrary(['no-such-1.so', 'no-such-2.so'], { device: 'thing' })).toThrow(
      expect.objectContaining({
        code: 'ERR_MEM_DEVICE_ABSENT',
        facts: { device: 'thing', reason: expect.stringMatching(/^no-such-1\.so, no-such-2\.so: .*no such file/is) },
      }),
    );
    expect(codeOf(() => openLibrary([]))).toBe('ERR_MEM_DEVICE_ABSENT');
  });
});

describe('NativeLibrary', () => {
  describe('func', () => {
    test('declares a function', () => {
      expect(libc().func<(value: number) => number>('abs', 'int', ['int'])(-3)).toBe(3);
    });

    test('throws for a function that is missing', () => {
      expect(codeOf(() => libc().func('no_such_function', 'int', []))).toBe('ERR_MEM_DEVICE_ABSENT');
    });
  });

  describe('optional', () => {
    test('gives undefined for a function that is missing', () => {
      expect(libc().optional('no_such_function', 'int', [])).toBeUndefined();
      expect(libc().optional<(value: number) => number>('abs', 'int', ['int'])?.(-4)).toBe(4);
    });
  });
});

describe('errnoError', () => {
  test('names the status', () => {
    expect(errnoName(0)).toBe('OK');
    expect(errnoError('mmap', 12).facts).toEqual({ functionName: 'mmap', status: 12, statusName: 'ENOMEM' });
  });
});

describe('libcNames', () => {
  test('has names for every platform', () => {
    expect(libcNames('linux')).toContain('libc.so.6');
    expect(libcNames('linux').some((name) => name.includes('musl'))).toBe(true);
    expect(libcNames('darwin')[0]).toBe('libSystem.B.dylib');
    expect(libcNames('win32')[0]).toBe('ucrtbase.dll');
  });
});

describe.skipIf(process.platform === 'win32')('mapping', () => {
  test('maps, protects, locks and unmaps pages', () => {
    const bytes = pageBytes();
    const address = mapPages(bytes);
    expect(address % bytes).toBe(0);
    protectPages(address, bytes, 1);
    lockPages(address, bytes);
    unlockPages(address, bytes);
    unmapPages(address, bytes);
  });

  test('throws the reason of the system', () => {
    expect(() => mapPages(2 ** 52)).toThrow(
      expect.objectContaining({ code: 'ERR_MEM_NATIVE', message: 'mmap failed: ENOMEM (12)' }),
    );
    expect(codeOf(() => unmapPages(1, 1))).toBe('ERR_MEM_NATIVE');
    expect(codeOf(() => protectPages(1, 1, 0))).toBe('ERR_MEM_NATIVE');
    expect(codeOf(() => advisePages(1, 1, 4))).toBe('ERR_MEM_NATIVE');
    expect(codeOf(() => lockPages(pageBytes(), 1))).toBe('ERR_MEM_NATIVE');
    expect(codeOf(() => unlockPages(pageBytes(), 1))).toBe('ERR_MEM_NATIVE');
  });
});

describe('maxMemoryBytes', () => {
  const physicalBytes = 1000;
  let root = '';

  function files(contents: Record<string, string>): { root: string; physicalBytes: number } {
    root = mkdtempSync(join(tmpdir(), 'stowage-cgroup-'));
    for (const [path, text] of Object.entries(contents)) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    }
    return { root, physicalBytes };
  }

  afterEach(() => rmSync(root, { recursive: true, force: true }));

  test('is the physical memory without control groups', () => {
    expect(maxMemoryBytes(files({}))).toBe(1000);
    expect(maxMemoryBytes()).toBeGreaterThan(0);
  });

  test('is the lowest version 2 limit from the group up', () => {
    const options = files({
      'proc/self/cgroup': '0::/a/b\n',
      'sys/fs/cgroup/a/b/memory.max': 'max\n',
      'sys/fs/cgroup/a/memory.max': '300\n',
      'sys/fs/cgroup/memory.max': '400\n',
    });
    expect(maxMemoryBytes(options)).toBe(300);
    expect(memoryLimit(options)).toEqual({ bytes: 300, file: '/sys/fs/cgroup/a/memory.max' });
  });

  test('is the limit at the mount when the group lies outside the container', () => {
    expect(maxMemoryBytes(files({ 'proc/self/cgroup': '0::/docker/1:2\n', 'sys/fs/cgroup/memory.max': '500\n' }))).toBe(500);
  });

  test('reads version 1 limits, and ignores one above the physical memory', () => {
    const options = files({
      'proc/self/cgroup': '9:name=systemd:/\n4:cpu,memory:/x\n0::/\n',
      'sys/fs/cgroup/memory/x/memory.limit_in_bytes': '700\n',
      'sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n',
    });
    expect(maxMemoryBytes(options)).toBe(700);
    expect(maxMemoryBytes({ ...options, physicalBytes: 600 })).toBe(600);
    expect(memoryLimit(options)).toEqual({ bytes: 700, file: '/sys/fs/cgroup/memory/x/memory.limit_in_bytes' });
    expect(memoryLimit({ ...options, physicalBytes: 600 })).toEqual({ bytes: 600, file: undefined });
  });
});

describe('AddressTree', () => {
  test('agrees with a sorted list over random programs', () => {
    const tree = new AddressTree<{ base: number; bytes: number }>();
    const model: number[] = [];
    let seed = 1;
    const random = (below: number): number => {
      seed = (seed * 48271) % 2147483647;
      return seed % below;
    };
    for (let step = 0; step < 5000; step++) {
      const base = random(1000) * 16;
      const known = model.indexOf(base);
      if (known < 0) {
        tree.insert({ base, bytes: 16 });
        model.push(base);
      } else if (random(2) === 0) {
        is(tree.remove(base)?.base, base);
        model.splice(known, 1);
      }
      const probe = random(16_100) - 50;
      const below = model.filter((value) => value <= probe);
      is(tree.floor(probe)?.base, below.length > 0 ? Math.max(...below) : undefined);
      is(tree.at(probe) !== undefined, model.includes(probe));
    }
    expect([...tree]).toHaveLength(model.length);
    expect([...tree].map((range) => range.base)).toEqual(model.sort((a, b) => a - b));
    expect(tree.remove(-1)).toBeUndefined();
  });
});
