import { describe, expect, test } from 'vitest';
import { residentBytes } from '../../adapters/os/mapping.js';
import { KiB, MiB } from '../../src/core/units.js';
import { DEFAULT_MEM_CONTEXT as CTX, type OffsetPointer } from '../../src/shared/allocators/shared-allocator.js';
import { PosixShmBackend } from '../../src/shared/backends/named-backends.js';
import { SeededRandom } from '../core/fakes.js';
import { expectNothingLeft, freshName } from './names.js';
import { ID, PAGE_ALLOCATORS } from './regions.js';

expectNothingLeft();

// Each of these touches the pages of the system that its live data lies in, and few more.
describe.each(PAGE_ALLOCATORS.map((type) => [type.name, type] as const))('%s', (_, Type) => {
  const make = () => {
    const backend = PosixShmBackend.create(freshName(), { id: 0, bytes: 256 * MiB });
    const { region } = backend;
    const resident = () => residentBytes(region.base, Math.floor(region.bytes / 4096) * 4096);
    return { backend, region, resident, allocator: Type.shmInit(region, { id: ID }) };
  };

  test('faults in at most 32 KiB for itself', () => {
    const { backend, allocator, resident } = make();
    allocator.allocateOffset(CTX, 64);
    expect(resident()).toBeLessThanOrEqual(32 * KiB);
    backend.destroy();
  });

  test('faults in the pages of live data and a tenth more, and uses freed ones again', () => {
    const { backend, allocator, region, resident } = make();
    const random = new SeededRandom(3);
    const live: { offset: OffsetPointer; bytes: number }[] = [];
    const fillTo = (bytes: number) => {
      while (live.reduce((sum, block) => sum + block.bytes, 0) < bytes) {
        const size = 500 + random.below(8000);
        const offset = allocator.allocateOffset(CTX, size);
        region.uint8.fill(1, offset, offset + size);
        live.push({ offset, bytes: size });
      }
    };
    fillTo(4 * MiB);
    expect(resident()).toBeLessThan(1.1 * 4 * MiB + 64 * KiB);
    for (let n = 0; n < 20; n++) {
      for (const { offset } of live.splice(0, live.length / 2)) allocator.freeOffset(CTX, offset);
      fillTo(4 * MiB);
    }
    expect(resident()).toBeLessThan(1.5 * 4 * MiB);
    backend.destroy();
  });

  test('faults in two pages for a block that is not touched', () => {
    const { backend, allocator, resident } = make();
    allocator.allocateOffset(CTX, 64);
    const before = resident();
    allocator.allocateOffset(CTX, 64 * MiB);
    expect(resident() - before).toBeLessThanOrEqual(8 * KiB);
    backend.destroy();
  });
});
