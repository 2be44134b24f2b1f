import { inspect } from 'node:util';
import { expect, test } from 'vitest';
import { INSPECT } from '../../src/core/inspect.js';
import { KiB, MiB } from '../../src/core/units.js';
import * as shared from '../../src/shared/index.js';
import { expectNothingLeft, freshName } from './names.js';

expectNothingLeft();

test('every class of the entry point says what it is in one line', () => {
  const classes = Object.entries(shared).filter(([, value]) => /^class\b/.test(String(value)));
  expect(classes.length).toBeGreaterThan(15);
  expect(classes.filter(([, made]) => !(INSPECT in (made as typeof Object).prototype)).map(([name]) => name)).toEqual([]);
});

test('says of a backend, an allocator and a block where they are and how large, or that they are gone', () => {
  const registry = new shared.MemoryRegistry();
  const name = freshName();
  const backend = registry.createBackend('posix-shm', 0, MiB - 4 * KiB, name);
  expect(inspect(backend.allocator)).toBe('AllocatorRecord { none yet }');
  const allocator = registry.createAllocator('thread-local', 0, { major: 3, minor: 1 });
  const block = shared.SharedAllocation.allocate(allocator, 64 * KiB);
  const place = `SharedAllocation { allocator 3.1 at 0x${block.offset.toString(16)}, 64.00 KiB`;
  expect(inspect(block)).toBe(`${place}, 1 reference }`);
  const again = shared.SharedAllocation.attach(block.token(), registry);
  expect(inspect(again)).toBe(`${place}, 2 references }`);
  again.dispose();
  expect([inspect(block), inspect(again)]).toEqual([`${place}, 1 reference }`, 'SharedAllocation { disposed }']);
  expect(inspect(registry)).toBe('MemoryRegistry { 1 backend, 1 allocator }');
  expect(inspect(backend)).toBe(`PosixShmBackend { shm:${name}, 1020.00 KiB }`);
  expect(inspect(backend.region)).toBe(`SharedRegion { 0x${backend.region.base.toString(16)}, 1020.00 KiB }`);
  expect(inspect(backend.allocator)).toBe('AllocatorRecord { thread-local 3.1 }');
  expect(inspect(allocator)).toMatch(/^ThreadLocalAllocator \{ 3\.1, \d+\.\d\d KiB allocated of \d+\.\d\d KiB \}$/);
  expect(inspect(allocator.references)).toBe('RegionReferences {}');
  expect(inspect(new shared.SharedMemoryDevice(allocator))).toBe('SharedMemoryDevice { shared, 0 B live }');
  registry.destroyBackend(0);
  expect(inspect(block)).toBe('SharedAllocation { disposed }');
  expect(inspect(allocator)).toBe('ThreadLocalAllocator { 3.1, detached }');
  expect(inspect(backend)).toBe(`PosixShmBackend { shm:${name}, detached }`);
  expect(inspect(backend.region)).toBe('SharedRegion { closed }');
});

test('says of an allocator without a bound what is allocated', () => {
  const allocator = shared.MallocAllocator.shmInit(undefined, { id: { major: 1, minor: 2 } });
  allocator.allocateOffset(shared.DEFAULT_MEM_CONTEXT, MiB);
  expect(inspect(allocator)).toBe('MallocAllocator { 1.2, 1.00 MiB allocated }');
  allocator.dispose();
  expect(inspect(allocator)).toBe('MallocAllocator { 1.2, detached }');
});

test('says what a member of a ledger holds, and never what leads others to it', () => {
  const name = freshName();
  const ledger = shared.SharedLedger.create({ limitBytes: 4 * MiB, name }, { name: 'main', priority: 0, minimumBytes: 0 });
  const other = shared.SharedLedger.open(ledger.token, { name: 'worker', priority: 0, minimumBytes: 0 });
  ledger.take(1000);
  other.take(MiB);
  const said = 'SharedLedger { main, 1000 B held, 1.00 MiB of 4.00 MiB used by 2 members }';
  expect(inspect(ledger, { showHidden: true })).toBe(said);
  expect(inspect({ ledger })).not.toContain(name);
  other.dispose();
  ledger.dispose();
  expect(inspect(ledger)).toBe('SharedLedger { disposed }');
});

test('says which threads a model is of', () => expect(inspect(new shared.MainThreadModel())).toBe('MainThreadModel { main }'));
