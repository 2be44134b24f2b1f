import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { CudaDevice } from '../../../adapters/devices/cuda.js';
import { CUDA, HIP } from '../../../adapters/devices/gpu/gpu-status.js';
import { HipDevice } from '../../../adapters/devices/hip.js';
import { openLibrary } from '../../../adapters/ffi/library.js';
import { MemoryError } from '../../../src/core/errors.js';
import { compiledLibrary } from '../../fixtures/compiled-c.js';

/** Whether a runtime is here. No package of Debian or npm brings CUDA's: nobody can be made to have it. */
function isInstalled(libraries: readonly string[]): boolean {
  try {
    openLibrary(libraries);
    return true;
  } catch (error) {
    if (MemoryError.is(error, 'ERR_MEM_DEVICE_ABSENT')) return false;
    throw error;
  }
}

const RUNTIMES = [
  {
    dialect: CUDA,
    make: () => new CudaDevice(),
    absence: /^cuda is absent: cudaError(InsufficientDriver \(35\)|NoDevice \(100\)): /,
  },
  {
    dialect: HIP,
    make: () => new HipDevice(),
    absence: /^hip is absent: hipError(InsufficientDriver \(35\)|NoDevice \(100\)): /,
  },
];

describe.each(RUNTIMES)("$dialect.name's own runtime", ({ dialect, make, absence }) => {
  test('finds its cards, or is absent with the reason', () => {
    let error: unknown;
    try {
      expect(make().deviceCount).toBeGreaterThan(0);
    } catch (thrown) {
      error = thrown;
    }
    if (error === undefined) return;
    expect(MemoryError.is(error, 'ERR_MEM_DEVICE_ABSENT')).toBe(true);
    const reason = isInstalled(dialect.libraries) ? absence : /^(cuda|hip) is absent: .*Failed to load shared library/;
    expect((error as Error).message).toMatch(reason);
  });
});

const headers = cudaHeaders();

// Where there is no toolkit there is nothing to hold the fixture against.
if (headers !== undefined) {
  describe("CUDA's own headers", () => {
    test('declare every function as the fixture defines it', () => {
      // The fixture compares statuses, which are of two enumerations there.
      expect(compiledLibrary('gpu', ['-DGPU_CHECK_ABI', '-Wno-enum-compare', '-Wno-enum-conversion', `-I${headers}`])).toMatch(
        /\.so$/,
      );
    });
  });
}

function cudaHeaders(): string | undefined {
  const parent = '/usr/local';
  const versions = existsSync(parent) ? readdirSync(parent).filter((name) => name.startsWith('cuda')) : [];
  return versions.map((name) => join(parent, name, 'include')).find((path) => existsSync(join(path, 'cuda_runtime_api.h')));
}
