import { createRequire } from 'node:module';
import { beforeAll, describe, expect, test } from 'vitest';
import { compiled, moduleUrl, runChild } from '../fixtures/compiled.js';

const KOFFI = createRequire(import.meta.url).resolve('koffi');

/** Runs with a koffi that refuses views as it does in Electron, and gives what the program prints. */
function withoutViews(program: string): unknown {
  const { status, stdout, stderr } = runChild(`
    import { createRequire } from 'node:module';
    createRequire(import.meta.url)(${JSON.stringify(KOFFI)}).view = () => {
      throw new Error('This runtime does not support external buffers');
    };
    const { MemoryRuntime } = await import(${JSON.stringify(moduleUrl('src/index.js'))});
    const { CpuDevice } = await import(${JSON.stringify(moduleUrl('adapters/devices/cpu.js'))});
    const runtime = new MemoryRuntime(new CpuDevice());
    const codeOf = (fn) => { try { fn(); } catch (error) { return error.code ?? String(error); } };
    ${program}
    runtime.close();`);
  expect([status, stderr]).toEqual([0, '']);
  return JSON.parse(stdout);
}

describe('CpuDevice where V8 forbids buffers over native memory', () => {
  beforeAll(() => void compiled(), 120_000);

  test('copies to and from a block, also before a view was asked for', () => {
    expect(
      withoutViews(`
        const block = runtime.allocate(8, { zero: true });
        block.copyFrom(Uint8Array.of(1, 2, 3), { offsetBytes: 2 });
        const target = new Uint8Array(4);
        block.copyTo(target, { offsetBytes: 1 });
        console.log(JSON.stringify([Array.from(target), Array.from(new Uint8Array(block.toBuffer()))]));
        block.dispose();`),
    ).toEqual([
      [0, 1, 2, 3],
      [0, 0, 1, 2, 3, 0, 0, 0],
    ]);
  });

  test('refuses a view, and says why', () => {
    expect(
      withoutViews(`
        const block = runtime.allocate(8);
        console.log(JSON.stringify([codeOf(() => block.view()), codeOf(() => block.fill(1)) ?? null]));
        block.dispose();`),
    ).toEqual(['ERR_MEM_UNSUPPORTED_PLATFORM', null]);
  });

  test('finds what was written beyond a guarded block', () => {
    expect(
      withoutViews(`
        const { MemoryManagerDeviceInterface, MemoryManagerInstaller } = await import(${JSON.stringify(moduleUrl('src/index.js'))});
        const { CachingMemoryManager, GuardedMemoryManager } = await import(${JSON.stringify(moduleUrl('managers/index.js'))});
        const { device } = runtime;
        const manager = new GuardedMemoryManager(new CachingMemoryManager(1, new MemoryManagerDeviceInterface()), { memory: device });
        new MemoryManagerInstaller(manager, runtime).setAsMemoryManager();
        const block = runtime.allocate(8);
        device.fill(block.ptr + 8, 1, 3);
        console.log(JSON.stringify(manager.damages().map(({ facts }) => [facts.offsetBytes, facts.damagedBytes])));
        manager.repair(block.ptr);
        block.dispose();`),
    ).toEqual([[8, 3]]);
  });

  test('copies nothing from memory that is not its own', () => {
    expect(
      withoutViews(`
        const { device } = runtime;
        const block = runtime.allocate(8);
        codeOf(() => block.view());
        const bytes = new Uint8Array(8);
        console.log(JSON.stringify([codeOf(() => device.read(4096, bytes)), codeOf(() => device.write(4096, bytes)), codeOf(() => device.read(0, bytes.subarray(0, 0))) ?? null]));
        block.dispose();`),
    ).toEqual(['ERR_MEM_UNKNOWN_POINTER', 'ERR_MEM_UNKNOWN_POINTER', null]);
  });
});
