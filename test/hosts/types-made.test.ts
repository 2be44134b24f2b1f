import { afterEach, describe, expect, test, vi } from 'vitest';
import { koffi } from '../../adapters/ffi/koffi.js';
import { ArrayFireHost } from '../../adapters/hosts/arrayfire/index.js';
import { CAllocatorHost, gmpAllocator, luaAllocator, zlibAllocator } from '../../adapters/hosts/c-allocator/index.js';
import { GgmlHost } from '../../adapters/hosts/ggml/index.js';
import { OnnxRuntimeHost } from '../../adapters/hosts/onnxruntime/index.js';
import { SqliteHost } from '../../adapters/hosts/sqlite/index.js';
import { SQLITE_NAMES } from '../../adapters/hosts/sqlite/sqlite-library.js';
import { requireLibrary } from '../fixtures/requires.js';
import { arrayFirePath } from './arrayfire.js';
import { ggmlPath } from './ggml.js';
import { needed as onnxruntime } from './onnxruntime.js';
import { cachingManager } from './test-managers.js';

const sqlite = requireLibrary('SQLite', SQLITE_NAMES);
const ggml = requireLibrary('ggml', [ggmlPath()]);
const present = { missing: false };

/** Opens a host, has it register all that it can give to C, and closes it. */
const HOSTS: readonly { name: string; needed: { missing: boolean }; openAndClose: () => void }[] = [
  {
    name: 'CAllocatorHost',
    needed: present,
    openAndClose: () => {
      using host = new CAllocatorHost();
      expect(host.functions.malloc).toBeGreaterThan(0);
      for (const allocator of [zlibAllocator, luaAllocator, gmpAllocator]) expect(allocator(host)).toBeDefined();
    },
  },
  {
    name: 'ArrayFireHost',
    needed: present,
    openAndClose: () =>
      ArrayFireHost.open({
        library: arrayFirePath(),
        createDefaultManager: cachingManager,
        createFallbackManager: cachingManager,
      }).dispose(),
  },
  {
    name: 'SqliteHost',
    needed: sqlite,
    openAndClose: () => {
      using host = new SqliteHost();
      host.attach();
    },
  },
  {
    name: 'GgmlHost',
    needed: ggml,
    openAndClose: () => {
      using host = GgmlHost.open({ library: ggmlPath() });
      expect(host.bufferType).toBeGreaterThan(0);
      host.redirect();
    },
  },
  {
    name: 'OnnxRuntimeHost',
    needed: onnxruntime,
    openAndClose: () => {
      using host = new OnnxRuntimeHost({ from: import.meta.dirname });
      host.attach();
    },
  },
];

describe('types of koffi', () => {
  afterEach(() => vi.restoreAllMocks());

  for (const { name, needed, openAndClose } of HOSTS) {
    test.skipIf(needed.missing)(`are made for the first ${name} of a process alone`, () => {
      const makers = (['proto', 'pointer', 'struct', 'array'] as const).map((maker) => vi.spyOn(koffi(), maker));
      const made = () => makers.reduce((sum, maker) => sum + maker.mock.calls.length, 0);
      openAndClose();
      const first = made();
      openAndClose();
      expect(made()).toBe(first);
    });
  }

  test('can be counted so: each maker of koffi is seen', () => {
    const proto = vi.spyOn(koffi(), 'proto');
    koffi().proto('int8_t', ['int8_t']);
    expect(proto).toHaveBeenCalledTimes(1);
  });
});
