import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { OpenClDevice } from '../../../adapters/devices/opencl/index.js';
import { CachingMemoryManager, LruMemoryManager, PoolMemoryManager, TlsfMemoryManager } from '../../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../../src/core/device-interface.js';
import { MemoryManagerInstaller } from '../../../src/core/memory-manager-installer.js';
import { type DevicePtr, devicePtr, KiB } from '../../../src/core/units.js';
import { MemoryRuntime } from '../../../src/runtime/memory-runtime.js';
import { searchRuns } from '../../config/search.js';
import { bytesOf, openCl, threadedDevice, write } from '../../fixtures/opencl.js';
import { ProgramCalls } from '../../fixtures/opencl-calls.js';

const CAPACITY_BYTES = 256 * KiB;
const SMALL_BYTES = 5000;

/** Memory of a device, as its holder knows it. */
interface Held {
  readonly ptr: DevicePtr;
  readonly device: number;
  readonly content: Uint8Array;
  readonly reservedBytes: number;
}

/** Numbers that mean something in the state that a program is in. */
const dice = fc.nat({ max: 2 ** 30 });
const operation = fc.oneof(
  fc.record({
    kind: fc.constant('alloc' as const),
    device: dice,
    bytes: fc.integer({ min: 1, max: CAPACITY_BYTES / 2 }),
    exponent: fc.nat(16),
  }),
  fc.record({
    kind: fc.constantFrom('alloc' as const),
    device: dice,
    bytes: fc.integer({ min: 1, max: SMALL_BYTES }),
    exponent: fc.constant(0),
  }),
  fc.record({ kind: fc.constant('free' as const), at: dice }),
  fc.record({ kind: fc.constant('fill' as const), at: dice, offset: dice, bytes: dice, value: fc.nat(255) }),
  fc.record({ kind: fc.constantFrom('write' as const, 'map' as const), at: dice, offset: dice, bytes: dice, value: fc.nat(255) }),
  fc.record({ kind: fc.constant('copy' as const), at: dice, offset: dice, to: dice, toOffset: dice, bytes: dice }),
);

type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

class Program {
  readonly #device = new OpenClDevice({ capacityBytes: CAPACITY_BYTES });
  readonly #pinned = this.#device.pinnedAlloc(CAPACITY_BYTES);
  readonly #held: Held[] = [];

  run(operations: readonly Operation[]): void {
    for (const step of operations) {
      if (step.kind === 'alloc') this.#alloc(step.device % this.#device.deviceCount, step.bytes, 2 ** step.exponent);
      else if (this.#held.length > 0) this.#use(step, this.#held[step.at % this.#held.length]!);
    }
    for (const { ptr, content } of this.#held)
      expect(Buffer.compare(bytesOf(this.#device, ptr, content.length), content)).toBe(0);
    for (const { ptr } of this.#held) this.#device.nativeFree(ptr);
    this.#device.pinnedFree(this.#pinned);
    expect(this.#device.liveBytes).toBe(0);
  }

  #check({ ptr, content }: Held): void {
    this.#device.copy(this.#pinned, ptr, content.length);
    expect(Buffer.compare(this.#device.view(this.#pinned, content.length), content)).toBe(0);
  }

  #alloc(id: number, bytes: number, alignment: number): void {
    const reservedBytes = bytes + Math.max(0, alignment - 128);
    this.#device.activate(id);
    const ptr = this.#device.nativeAlloc(bytes, alignment);
    const mine = this.#held.filter(({ device }) => device === id).reduce((sum, held) => sum + held.reservedBytes, 0);
    // What an array was taken of is kept when it is freed, so that less may be left than is not in use.
    if (ptr === 0) {
      expect(mine + reservedBytes + this.#device.keptBytes).toBeGreaterThan(CAPACITY_BYTES);
      return;
    }
    expect(mine + reservedBytes).toBeLessThanOrEqual(CAPACITY_BYTES);
    expect(ptr % alignment).toBe(0);
    this.#device.fill(ptr, 0, bytes);
    this.#held.push({ ptr, device: id, content: new Uint8Array(bytes), reservedBytes });
  }

  #use(step: Exclude<Operation, { kind: 'alloc' }>, held: Held): void {
    const { ptr, content } = held;
    if (step.kind === 'free') {
      this.#check(held);
      this.#device.nativeFree(ptr);
      this.#held.splice(this.#held.indexOf(held), 1);
      return;
    }
    const offset = step.offset % content.length;
    const bytes = step.bytes % (content.length - offset + 1);
    const address = devicePtr(ptr + offset);
    if (step.kind === 'fill') {
      this.#device.fill(address, step.value, bytes);
      content.fill(step.value, offset, offset + bytes);
    } else if (step.kind !== 'copy') {
      const written = Uint8Array.from({ length: bytes }, (_, i) => step.value + i);
      if (step.kind === 'write') {
        this.#device.view(this.#pinned, bytes).set(written);
        this.#device.copy(address, this.#pinned, bytes);
      } else if (bytes > 0) write(this.#device, address, written);
      content.set(written, offset);
    } else {
      const target = this.#held[step.to % this.#held.length]!;
      const toOffset = step.toOffset % target.content.length;
      const copied = Math.min(bytes, target.content.length - toOffset);
      this.#device.copy(devicePtr(target.ptr + toOffset), address, copied);
      target.content.set(content.slice(offset, offset + copied), toOffset);
    }
  }
}

describe.skipIf(openCl.missing)(openCl.title('OpenClDevice'), () => {
  test('holds what was put there, in any program over several devices', () => {
    fc.assert(
      fc.property(fc.array(operation, { minLength: 20, maxLength: 100, size: 'max' }), (operations) =>
        new Program().run(operations),
      ),
      { numRuns: searchRuns(60) },
    );
  });

  test.each([
    ['caching', CachingMemoryManager],
    ['pool', PoolMemoryManager],
    ['tlsf', TlsfMemoryManager],
    ['lru', LruMemoryManager],
  ] as const)('gives a kernel the blocks of a manager: %s', (_, Manager) => {
    const device = threadedDevice();
    const calls = new ProgramCalls(device);
    using runtime = new MemoryRuntime(device);
    const manager = new Manager(device.deviceCount, new MemoryManagerDeviceInterface());
    new MemoryManagerInstaller(manager, runtime).setAsMemoryManager();
    const blocks = Array.from({ length: 6 }, (_, i) => runtime.allocate(1024 + 512 * i, { zero: true }));
    for (const [i, { ptr, bytes }] of blocks.entries()) if (i % 2 === 1) calls.add({ ptr }, bytes / 4, { n: 0x01010101 * i });
    for (const [i, { ptr, bytes }] of blocks.entries()) {
      expect(bytesOf(device, ptr, bytes)).toEqual(new Uint8Array(bytes).fill(i % 2 === 1 ? i : 0));
    }
    for (const block of blocks) block.dispose();
  });

  test('shows a block of a manager where it is mapped', () => {
    const device = new OpenClDevice();
    using runtime = new MemoryRuntime(device);
    const manager = new CachingMemoryManager(device.deviceCount, new MemoryManagerDeviceInterface());
    new MemoryManagerInstaller(manager, runtime).setAsMemoryManager();
    using block = runtime.allocate(4096, { zero: true });
    {
      using _mapping = device.map(block.ptr, block.bytes);
      block.view(Float32Array)[7] = 1.5;
    }
    expect(() => block.view(Float32Array)).toThrow(/not mapped/);
    expect(bytesOf(device, devicePtr(block.ptr + 28), 4)).toEqual(new Uint8Array(Float32Array.of(1.5).buffer));
  });
});
