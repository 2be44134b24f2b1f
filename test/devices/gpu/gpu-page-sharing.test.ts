import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { CudaDevice } from '../../../adapters/devices/cuda.js';
import type { SharedPages } from '../../../adapters/devices/gpu/gpu-page-sharing.js';
import { descriptorOf } from '../../../adapters/os/descriptors.js';
import { PoolMemoryManager } from '../../../managers/index.js';
import { type DevicePtr, KiB, MiB } from '../../../src/core/units.js';
import { MemoryRuntime } from '../../../src/runtime/memory-runtime.js';
import { memoryError } from '../../core/fakes.js';
import { codeOf } from '../../fixtures/code-of.js';
import { compiled, moduleUrl } from '../../fixtures/compiled.js';
import { GpuFixture, takeAgain } from '../../fixtures/gpu-fixture.js';

const PAGE = 64 * KiB;
const fixture = new GpuFixture('cuda');
const fresh = (shareable = true) => fixture.fresh({ capacityBytes: 64 * MiB, pageBytes: PAGE, options: { shareable } });
/** File descriptors without those of the fixture's memory: one each. */
const openDescriptors = () => readdirSync('/proc/self/fd').length - fixture.liveMemories;

/** Four committed pages with a content of their own each. */
function fourPages() {
  const device = fresh();
  const virtual = device.virtual!;
  const range = virtual.reserve(8 * PAGE);
  virtual.commit(range, 4 * PAGE);
  for (let page = 0; page < 4; page++) device.fill((range + page * PAGE) as DevicePtr, page + 1, PAGE);
  return { device, virtual, range };
}

beforeAll(() => {
  compiled();
}, 120_000);

describe('exportPages and importPages', () => {
  test('give the same memory at another address, from an inner place on', () => {
    const { device, range } = fourPages();
    const importer = fixture.device();
    importer.activate(0);
    const before = openDescriptors();
    const from = (range + PAGE - 100) as DevicePtr;
    const exported = device.exportPages(from, PAGE + 200);
    expect(exported.memory).toEqual({
      pid: process.pid,
      descriptors: [expect.any(Number), expect.any(Number), expect.any(Number)],
      pieceBytes: [PAGE, PAGE, PAGE],
      offsetBytes: PAGE - 100,
      bytes: PAGE + 200,
    });
    const sent = structuredClone(exported.memory) as { descriptors: number[]; pieceBytes: number[] } & SharedPages;
    const imported = importer.importPages(sent);
    // What was sent is the program's again.
    for (const list of [sent.descriptors, sent.pieceBytes]) list.length = 0;
    exported.dispose();
    exported[Symbol.dispose]();
    expect(openDescriptors()).toBe(before);
    expect([...fixture.peek(imported, PAGE + 200)]).toEqual([...fixture.peek(from, PAGE + 200)]);
    importer.fill((imported + 100) as DevicePtr, 9, PAGE);
    expect(fixture.peek(range + PAGE, PAGE).every((byte) => byte === 9)).toBe(true);
    expect(codeOf(() => importer.fill(imported, 9, PAGE + 201))).toBe('ERR_MEM_OUT_OF_RANGE');
    expect(codeOf(() => importer.nativeFree(imported))).toBe('ERR_MEM_UNKNOWN_POINTER');
    // The importer keeps the memory.
    device.virtual!.release(range, 8 * PAGE);
    expect(fixture.peek(imported + 100, 1)).toEqual(Uint8Array.of(9));
    expect(fixture.used(0)).toBe(3 * PAGE);
    importer.closeMemory(imported);
    expect(codeOf(() => importer.closeMemory(imported))).toBe('ERR_MEM_UNKNOWN_POINTER');
    expect([fixture.used(0), fixture.liveMemories, fixture.liveRanges]).toEqual([0, 0, 0]);
  });

  test('share a block of a pool', () => {
    const device = fresh();
    using runtime = new MemoryRuntime(device, {
      exitReport: false,
      createDefaultManager: (count, table) => new PoolMemoryManager(count, table),
    });
    using first = runtime.allocate(1000);
    using block = runtime.allocate(100 * KiB);
    first.fill(1);
    block.fill(2);
    using exported = device.exportPages(block.ptr, block.bytes);
    const importer = fixture.device();
    const imported = importer.importPages(exported.memory);
    expect(fixture.peek(imported, block.bytes).every((byte) => byte === 2)).toBe(true);
    importer.closeMemory(imported);
  });

  test('share pieces that are larger than a page as wholes', () => {
    const device = fresh();
    const virtual = device.virtual!;
    const range = virtual.reserve(16 * PAGE);
    virtual.commit(range, 11 * PAGE, 4 * PAGE);
    device.fill(range, 3, 11 * PAGE);
    using exported = device.exportPages((range + 5 * PAGE + 7) as DevicePtr, 4 * PAGE);
    expect(exported.memory).toMatchObject({ pieceBytes: [4 * PAGE, 3 * PAGE], offsetBytes: PAGE + 7, bytes: 4 * PAGE });
    const importer = fixture.device();
    const imported = importer.importPages(exported.memory);
    importer.fill(imported, 8, 4 * PAGE);
    expect([fixture.peek(range + 5 * PAGE + 6, 1)[0], fixture.peek(range + 5 * PAGE + 7, 1)[0]]).toEqual([3, 8]);
    expect([fixture.peek(range + 9 * PAGE + 6, 1)[0], fixture.peek(range + 9 * PAGE + 7, 1)[0]]).toEqual([8, 3]);
    device.virtual!.release(range, 16 * PAGE);
    expect(fixture.used(0)).toBe(7 * PAGE);
    importer.closeMemory(imported);
    expect([fixture.used(0), fixture.liveMemories, fixture.liveRanges]).toEqual([0, 0, 0]);
  });

  test('stay what was exported when the exporter maps memory elsewhere that it has taken away', () => {
    const device = fresh();
    const virtual = device.virtual!;
    const range = virtual.reserve(16 * PAGE);
    virtual.commit(range, 6 * PAGE, 3 * PAGE);
    device.fill(range, 5, 6 * PAGE);
    using exported = device.exportPages(range, PAGE);
    const importer = fixture.device();
    const imported = importer.importPages(exported.memory);
    const other = (range + 8 * PAGE) as DevicePtr;
    virtual.pieces!.reusing(() => {
      virtual.decommit(range, 6 * PAGE);
      virtual.commit(other, 6 * PAGE, 3 * PAGE);
    });
    // The one that was not exported is used again.
    expect(fixture.callsOf('MemCreate')).toBe(3);
    device.fill(other, 6, 6 * PAGE);
    expect(fixture.peek(imported, PAGE).every((byte) => byte === 5)).toBe(true);
    importer.fill(imported, 7, PAGE);
    expect(fixture.peek(other, 6 * PAGE).every((byte) => byte === 6)).toBe(true);
    importer.closeMemory(imported);
    virtual.release(range, 16 * PAGE);
    expect([fixture.used(0), fixture.liveMemories, fixture.liveRanges]).toEqual([0, 0, 0]);
  });

  test('let what is read-only be read alone', async () => {
    const { device, range } = fourPages();
    using exported = device.exportPages(range, PAGE);
    const importer = fixture.device();
    const imported = importer.importPages(exported.memory, { readOnly: true });
    const own = importer.nativeAlloc(PAGE);
    importer.copy(own, imported, PAGE);
    expect(fixture.peek(own, 1)).toEqual(Uint8Array.of(1));
    const refused = memoryError('ERR_MEM_INVALID_ARGUMENT', { name: 'target', value: String(imported) });
    expect(() => importer.copy(imported, own, 8)).toThrow(refused);
    expect(() => importer.fill(imported, 8, 8)).toThrow(refused);
    await expect(importer.copyAsync(imported, own, 8)).rejects.toThrow(refused);
    await expect(importer.fillAsync(imported, 8, 8)).rejects.toThrow(refused);
    importer.closeMemory(imported);
  });

  test('wait for work before they are closed', async () => {
    const { device, range } = fourPages();
    using exported = device.exportPages(range, PAGE);
    const imported = device.importPages(exported.memory);
    const own = device.nativeAlloc(PAGE);
    const copied = device.copyAsync(own, imported, PAGE, device.createStream().id);
    device.closeMemory(imported);
    expect(fixture.peek(own, 1)).toEqual(Uint8Array.of(1));
    await copied;
  });

  test('refuse memory that cannot be exported, and leave nothing open', () => {
    const { device, range } = fourPages();
    const before = openDescriptors();
    expect(codeOf(() => device.exportPages(device.nativeAlloc(PAGE), PAGE))).toBe('ERR_MEM_UNKNOWN_POINTER');
    expect(codeOf(() => device.exportPages(range, 5 * PAGE))).toBe('ERR_MEM_OUT_OF_RANGE');
    expect(codeOf(() => device.exportPages(range, 9 * PAGE))).toBe('ERR_MEM_OUT_OF_RANGE');
    expect(codeOf(() => device.exportPages(range, 0))).toBe('ERR_MEM_INVALID_ARGUMENT');
    expect(codeOf(() => device.exportPages(range, -1))).toBe('ERR_MEM_INVALID_SIZE');
    expect(openDescriptors()).toBe(before);
    const plain = fresh(false);
    const other = plain.virtual!.reserve(PAGE);
    plain.virtual!.commit(other, PAGE);
    expect(() => plain.exportPages(other, PAGE)).toThrow(
      memoryError('ERR_MEM_NATIVE', { functionName: 'cuMemExportToShareableHandle' }),
    );
    expect(codeOf(() => new CudaDevice({ shareable: 'yes' as unknown as boolean }))).toBe('ERR_MEM_INVALID_ARGUMENT');
  });

  test('refuse descriptions that are wrong, and leave nothing mapped', () => {
    const { device, range } = fourPages();
    using exported = device.exportPages(range, 2 * PAGE);
    const { memory } = exported;
    const before = [fixture.liveRanges, fixture.liveMemories, openDescriptors()];
    const lies: Partial<SharedPages>[] = [
      { pid: 0 },
      { descriptors: memory.descriptors.slice(1) },
      { descriptors: [0.5, 1] },
      { descriptors: 'cuda' as unknown as number[] },
      { pieceBytes: memory.pieceBytes.slice(1) },
      { pieceBytes: [PAGE, -1] },
      { pieceBytes: [PAGE, 2 ** 53 - 1] },
      { pieceBytes: PAGE as unknown as number[] },
      { offsetBytes: PAGE },
      { bytes: 3 * PAGE },
      { bytes: Number.NaN },
      { bytes: 1n as unknown as number },
    ];
    for (const none of [null, undefined, 7]) {
      expect(codeOf(() => device.importPages(none as unknown as SharedPages))).toBe('ERR_MEM_INVALID_ARGUMENT');
    }
    for (const lie of lies) expect(codeOf(() => device.importPages({ ...memory, ...lie }))).toBe('ERR_MEM_INVALID_ARGUMENT');
    // A file of another kind, a size that is not the memory's, a process and a descriptor that are not there.
    const wrong: Partial<SharedPages>[] = [
      { descriptors: [0, 0] },
      { pieceBytes: [2 * PAGE, 2 * PAGE], bytes: 4 * PAGE },
      { pid: 2 ** 22 + 1 },
      { descriptors: [memory.descriptors[0]!, 999_999] },
    ];
    for (const lie of wrong) expect(codeOf(() => device.importPages({ ...memory, ...lie }))).toBe('ERR_MEM_NATIVE');
    expect([fixture.liveRanges, fixture.liveMemories, openDescriptors()]).toEqual(before);
    expect(codeOf(() => device.importPages(memory, { readonly: true } as object))).toBe('ERR_MEM_INVALID_ARGUMENT');
  });

  test('lose nothing to any n-th native call that fails', () => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    onTestFinished(() => void vi.restoreAllMocks());
    const before = openDescriptors();
    let n = 1;
    for (; ; n++) {
      const { device, virtual, range } = fourPages();
      const calls = fixture.calls;
      fixture.failNth(n, 999);
      const exported = takeAgain(() => device.exportPages(range, 2 * PAGE));
      const imported = takeAgain(() => device.importPages(exported.memory));
      exported.dispose();
      takeAgain(() => device.fill(imported, 5, 2 * PAGE));
      takeAgain(() => device.closeMemory(imported));
      takeAgain(() => virtual.release(range, 8 * PAGE));
      // What was refused then is given back now.
      const last = takeAgain(() => device.nativeAlloc(64));
      takeAgain(() => device.nativeFree(last));
      const held = [fixture.used(0), fixture.liveRanges, fixture.liveMemories, openDescriptors()];
      expect([n, ...held]).toEqual([n, 0, 0, 0, before]);
      if (fixture.calls - calls < n) break;
    }
    expect(n).toBeGreaterThan(35);
  });

  // A parent may take its child's descriptors where Yama restricts tracing, and not the other way round.
  test('reach another process', async () => {
    const exporter = `
      import { once } from 'node:events';
      import { CudaDevice } from ${JSON.stringify(moduleUrl('adapters/devices/cuda.js'))};
      const device = new CudaDevice({ library: ${JSON.stringify(fixture.library)}, shareable: true });
      const { virtual } = device;
      const range = virtual.reserve(4 * virtual.granularityBytes);
      virtual.commit(range, 4 * virtual.granularityBytes);
      for (let page = 0; page < 4; page++) device.fill(range + page * ${PAGE}, page + 1, ${PAGE});
      const exported = device.exportPages(range + ${PAGE}, ${2 * PAGE});
      console.log(JSON.stringify(exported.memory));
      await once(process.stdin, 'data');
      exported.dispose();
      const bytes = new Uint8Array(${4 * PAGE});
      device.read(range, bytes);
      console.log([0, 1, 2, 3].map((page) => new Set(bytes.subarray(page * ${PAGE}, (page + 1) * ${PAGE})).size + ':' + bytes[page * ${PAGE}]).join());
      process.stdin.destroy();`;
    fresh();
    const env = { ...process.env, GPU_FIXTURE_PAGE_BYTES: String(PAGE) };
    const child = spawn(process.execPath, ['--input-type=module', '-e', exporter], { stdio: ['pipe', 'pipe', 'inherit'], env });
    const ended = once(child, 'exit');
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    const memory = JSON.parse((await lines.next()).value) as SharedPages;
    expect(memory).toMatchObject({ pid: child.pid, offsetBytes: 0, bytes: 2 * PAGE });
    const device = fixture.device();
    const imported = device.importPages(memory);
    expect([fixture.peek(imported, 1)[0], fixture.peek(imported + 2 * PAGE - 1, 1)[0]]).toEqual([2, 3]);
    device.fill(imported, 77, 2 * PAGE);
    child.stdin.write('\n');
    expect((await lines.next()).value).toBe('1:1,1:77,1:77,1:4');
    await ended;
    // What was imported outlives the process that exported it.
    expect(fixture.peek(imported, 1)).toEqual(Uint8Array.of(77));
    device.closeMemory(imported);
    expect([fixture.liveMemories, fixture.liveRanges]).toEqual([0, 0]);
  });
});

describe('descriptorOf', () => {
  test('gives a descriptor of its own, and says why there is none', async () => {
    const own = descriptorOf(process.pid, 0);
    expect(own).toBeGreaterThan(2);
    closeSync(own);
    expect(() => descriptorOf(process.pid, 999_999)).toThrow(
      memoryError('ERR_MEM_NATIVE', { functionName: 'dup', statusName: 'EBADF' }),
    );
    const child = spawn(process.execPath, ['-e', 'process.stdin.resume()'], { stdio: ['pipe', 'ignore', 'inherit'] });
    closeSync(descriptorOf(child.pid!, 0));
    expect(() => descriptorOf(child.pid!, 999_999)).toThrow(
      memoryError('ERR_MEM_NATIVE', { functionName: 'pidfd_getfd', statusName: 'EBADF' }),
    );
    child.stdin.end();
    await once(child, 'exit');
    expect(() => descriptorOf(2 ** 22 + 1, 0)).toThrow(memoryError('ERR_MEM_NATIVE', { functionName: 'pidfd_open' }));
  });
});
