import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { CachingMemoryManager, DefaultMemoryManager, PoolMemoryManager, TlsfMemoryManager } from '../../managers/index.js';
import { type Allocation, MemoryManagerDeviceInterface, MemoryRuntime } from '../../src/index.js';
import { searchRuns } from '../config/search.js';
import { GpuFixture } from '../fixtures/gpu-fixture.js';
import { HiddenDevice } from './hidden-device.js';

const cuda = new GpuFixture('cuda');
const MANAGERS = [CachingMemoryManager, DefaultMemoryManager, PoolMemoryManager, TlsfMemoryManager];
const SIZES = fc.oneof(fc.nat(64), fc.nat(3000), fc.constantFrom(4096, 70_000));
const PART = fc.double({ min: 0, max: 1, noNaN: true });
const WHICH = fc.nat(1000);

/** What is done. Numbers choose among the handles that are there, and parts of their bytes. */
const STEPS = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant('allocate' as const), bytes: SIZES }),
    fc.record({ do: fc.constant('slice' as const), of: WHICH, from: PART, length: PART }),
    fc.record({ do: fc.constant('resize' as const), of: WHICH, bytes: SIZES }),
    fc.record({
      do: fc.constantFrom('copyFrom' as const, 'copyTo' as const),
      of: WHICH,
      other: WHICH,
      from: PART,
      at: PART,
      length: PART,
    }),
    fc.record({
      do: fc.constantFrom('write' as const, 'read' as const),
      of: WHICH,
      from: PART,
      at: PART,
      length: PART,
      seed: fc.nat(255),
    }),
    fc.record({ do: fc.constant('fill' as const), of: WHICH, value: fc.nat(255) }),
    fc.record({ do: fc.constantFrom('move' as const, 'dispose' as const), of: WHICH }),
  ),
  { maxLength: 60 },
);

/** A block as a Buffer, and how many handles it has. */
interface ModelBlock {
  owners: number;
}
interface Handle {
  real: Allocation;
  /** A part of the block's Buffer: parts of one block share its bytes, as slices do. */
  bytes: Buffer;
  block: ModelBlock;
}

describe.each([
  ['that the host sees', () => new CpuDevice()],
  ['that the host cannot see', () => new HiddenDevice()],
  ['of a card', () => cuda.fresh()],
])('handles of memory %s', (_, makeDevice) => {
  test.each(MANAGERS.map((Manager) => [Manager.name, Manager] as const))(
    'hold what Buffers hold, and each block once, under a %s',
    (_name, Manager) => {
      fc.assert(
        fc.property(STEPS, (steps) => {
          const runtime = new MemoryRuntime(makeDevice(), { exitReport: false });
          runtime.slot.install(new Manager(runtime.deviceCount, new MemoryManagerDeviceInterface()));
          const handles: Handle[] = [];
          for (const step of steps) {
            if (step.do === 'allocate') {
              const real = runtime.allocate(step.bytes, { zero: true });
              handles.push({ real, bytes: Buffer.alloc(step.bytes), block: { owners: 1 } });
              continue;
            }
            const handle = handles[step.of % handles.length];
            if (handle === undefined) continue;
            const { real, bytes, block } = handle;
            const within = (part: number, room: number) => Math.floor(part * room);
            switch (step.do) {
              case 'slice': {
                const from = within(step.from, bytes.length);
                const length = within(step.length, bytes.length - from);
                handles.push({ real: real.slice(from, length), bytes: bytes.subarray(from, from + length), block });
                block.owners++;
                break;
              }
              case 'resize': {
                if (block.owners > 1) {
                  expect(() => real.resize(step.bytes)).toThrow('owners is');
                  break;
                }
                const before = bytes.length;
                real.resize(step.bytes);
                handle.bytes = Buffer.alloc(step.bytes);
                bytes.copy(handle.bytes);
                // What a block grows by holds anything.
                if (step.bytes > before) {
                  using rest = real.slice(before);
                  rest.fill(0);
                }
                break;
              }
              case 'copyFrom':
              case 'copyTo': {
                const other = handles[step.other % handles.length]!;
                const [to, source] = step.do === 'copyFrom' ? [handle, other] : [other, handle];
                const sourceAt = within(step.from, source.bytes.length);
                const at = within(step.at, to.bytes.length);
                const length = within(step.length, Math.min(source.bytes.length - sourceAt, to.bytes.length - at));
                if (step.do === 'copyFrom')
                  real.copyFrom(other.real, { offsetBytes: at, sourceOffsetBytes: sourceAt, bytes: length });
                else real.copyTo(other.real, { offsetBytes: sourceAt, targetOffsetBytes: at, bytes: length });
                source.bytes.copy(to.bytes, at, sourceAt, sourceAt + length);
                break;
              }
              case 'write': {
                const source = Buffer.from(Array.from({ length: 100 }, (_value, i) => step.seed ^ i));
                const [at, sourceAt] = [within(step.at, bytes.length), within(step.from, 100)];
                real.copyFrom(source, { offsetBytes: at, sourceOffsetBytes: sourceAt });
                source.copy(bytes, at, sourceAt);
                break;
              }
              case 'read': {
                const [target, wanted] = [Buffer.alloc(100, step.seed), Buffer.alloc(100, step.seed)];
                const [at, from] = [within(step.at, 100), within(step.from, bytes.length)];
                real.copyTo(target, { offsetBytes: from, targetOffsetBytes: at });
                bytes.copy(wanted, at, from);
                expect(target.equals(wanted)).toBe(true);
                break;
              }
              case 'fill':
                real.fill(step.value);
                bytes.fill(step.value);
                break;
              case 'move':
                handle.real = real.move();
                break;
              case 'dispose':
                real.dispose();
                block.owners--;
                handles.splice(handles.indexOf(handle), 1);
                break;
            }
          }
          for (const { real, bytes } of handles) expect(Buffer.from(real.toBuffer()).equals(bytes)).toBe(true);
          const blocks = new Set(handles.filter(({ real }) => real.ptr !== 0).map(({ block }) => block));
          expect(runtime.slot.liveBlocks).toBe(blocks.size);
          for (const { real } of handles) real.dispose();
          expect(runtime.slot.liveBlocks).toBe(0);
          runtime.close();
        }),
        { numRuns: searchRuns(60) },
      );
    },
  );
});
