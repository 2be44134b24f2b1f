import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { CudaDevice } from '../../../adapters/devices/cuda.js';
import { CUDA, HIP } from '../../../adapters/devices/gpu/gpu-dialect.js';
import { HipDevice } from '../../../adapters/devices/hip.js';
import { openLibrary } from '../../../adapters/ffi/library.js';
import { MemoryError } from '../../../src/core/errors.js';
import { compiledLibrary } from '../../fixtures/compiled-c.js';

/** Why the runtime cannot be tried, or undefined when it can. No package of Debian or npm brings CUDA's: nobody can be made to have it. */
function reasonAgainst(libraries: readonly string[]): string | undefined {
  try {
    openLibrary(libraries);
    return undefined;
  } catch (error) {
    return (error as Error).message;
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

for (const { dialect, make, absence } of RUNTIMES) {
  const reason = reasonAgainst(dialect.libraries);
  describe.skipIf(reason !== undefined)(
    `${dialect.name}'s own runtime${reason === undefined ? '' : ` (skipped: ${reason})`}`,
    () => {
      test('finds its cards, or is absent with the reason', () => {
        let error: unknown;
        try {
          expect(make().deviceCount).toBeGreaterThan(0);
        } catch (thrown) {
          error = thrown;
        }
        if (error === undefined) return;
        expect(MemoryError.is(error, 'ERR_MEM_DEVICE_ABSENT')).toBe(true);
        expect((error as Error).message).toMatch(absence);
      });
    },
  );
}

const headers = cudaHeaders();

describe.skipIf(headers === undefined)(
  `CUDA's own headers${headers === undefined ? ' (skipped: none in /usr/local/cuda*)' : ''}`,
  () => {
    test('declare every function as the fixture defines it', () => {
      // The fixture compares statuses, which are of two enumerations there.
      expect(compiledLibrary('gpu', ['-DGPU_CHECK_ABI', '-Wno-enum-compare', '-Wno-enum-conversion', `-I${headers}`])).toMatch(
        /\.so$/,
      );
    });
  },
);

function cudaHeaders(): string | undefined {
  const parent = '/usr/local';
  const versions = existsSync(parent) ? readdirSync(parent).filter((name) => name.startsWith('cuda')) : [];
  return versions.map((name) => join(parent, name, 'include')).find((path) => existsSync(join(path, 'cuda_runtime_api.h')));
}
