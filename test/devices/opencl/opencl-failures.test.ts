import { afterEach, describe, expect, test, vi } from 'vitest';
import { type OpenClBuffer, OpenClDevice, type OpenClMapping } from '../../../adapters/devices/opencl/index.js';
import { PoolMemoryManager } from '../../../managers/index.js';
import { MemoryManagerDeviceInterface } from '../../../src/core/device-interface.js';
import type { DeviceStream } from '../../../src/core/device-stream.js';
import { MemoryError } from '../../../src/core/errors.js';
import { MemoryManagerInstaller } from '../../../src/core/memory-manager-installer.js';
import { type DevicePtr, devicePtr, KiB, NULL_PTR } from '../../../src/core/units.js';
import { MemoryRuntime } from '../../../src/runtime/memory-runtime.js';
import { openCl } from '../../fixtures/opencl.js';
import { FailingOpenCl } from '../../fixtures/opencl-failing.js';

const BYTES = 64 * KiB;
const CL_OUT_OF_RESOURCES = -5;
const CL_INVALID_COMMAND_QUEUE = -36;

/** Something that a program does; it can be tried again when it has failed. */
type Step = () => unknown;

/** All that a device can do, one native call or a few at each step. */
function program(device: OpenClDevice): Step[] {
  let [a, b, c, pinned] = [NULL_PTR, NULL_PTR, NULL_PTR, NULL_PTR] as DevicePtr[];
  let mapping: OpenClMapping | undefined;
  let stream: DeviceStream | undefined;
  let [own, over, part]: (OpenClBuffer | undefined)[] = [];
  let event = 0;
  const read = new Uint8Array(BYTES);
  const allocated = (ptr: DevicePtr): DevicePtr => {
    if (ptr === NULL_PTR) throw new MemoryError('ERR_MEM_NATIVE', { functionName: 'nativeAlloc', status: 0, statusName: '0' });
    return ptr;
  };
  const at = (ptr: DevicePtr, offset: number) => devicePtr(ptr + offset);
  return [
    () => (a = allocated(device.nativeAlloc(BYTES))),
    () => (b = allocated(device.nativeAlloc(BYTES, 4096))),
    () => (pinned = device.pinnedAlloc(BYTES)),
    () => device.activate(1),
    () => (c = allocated(device.nativeAlloc(BYTES))),
    () => device.activate(0),
    () => device.fill(a, 7, BYTES),
    () => device.copy(b, a, BYTES),
    () => device.copy(at(b, 8), b, BYTES / 2),
    () => device.copy(c, b, BYTES),
    () => device.copy(pinned, c, BYTES),
    () => (mapping = device.map(a, BYTES, 'read')),
    () => expect(mapping!.view()[BYTES - 1]).toBe(7),
    () => mapping!.dispose(),
    () => (stream = device.createStream()),
    () => (event = device.streams.record(stream!.id)),
    () => device.streams.wait(0, event),
    () => device.streams.query(event),
    () => device.streams.synchronize(event),
    () => device.streams.destroy(event),
    () => stream!.synchronize(),
    () => device.fillAsync(a, 9, BYTES, stream!.id),
    () => device.copyAsync(b, a, BYTES, stream!.id),
    () => (own = device.createBuffer(BYTES)),
    () => own!.write(new Uint8Array(BYTES).fill(3)),
    () => own!.fill(4, 0, 10),
    () => (over = device.bufferOver(b, BYTES)),
    () => own!.copyTo(over!),
    () => (part = own!.subBuffer(128, 256)),
    () => part!.fill(5),
    () => own!.read(read),
    () => expect([read[0], read[10], read[128], read[384]]).toEqual([4, 3, 5, 3]),
    () => (mapping = over!.map('read')),
    () => mapping!.dispose(),
    () => own!.dispose(),
    () => device.synchronize(),
    () => device.nativeFree(b),
    () => expect(over!.disposed).toBe(true),
    () => device.nativeFree(a),
    () => device.nativeFree(c),
    () => device.pinnedFree(pinned),
    () => stream![Symbol.dispose](),
  ];
}

/** Runs a program whose `nth` native call fails. @returns the function that failed; undefined when there were fewer calls */
async function run(nth: number, status: number): Promise<string | undefined> {
  const cl = new FailingOpenCl(nth, status);
  const device = new OpenClDevice({ functions: cl.functions });
  const warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
  let failures = 0;
  for (const step of [...program(device), () => device.deviceCount]) {
    try {
      await step();
    } catch (error) {
      if (!MemoryError.is(error)) throw error;
      if (!MemoryError.is(error, 'ERR_MEM_NATIVE')) expect(error.code).toMatch(/^ERR_MEM_(OUT_OF_MEMORY|DEVICE_ABSENT)$/);
      else if (error.facts.functionName !== 'nativeAlloc') {
        expect([error.facts.functionName, error.facts.statusName]).toEqual([cl.failed, expect.stringMatching(/^CL_[A-Z_]+$/)]);
      }
      failures++;
      await step();
    }
  }
  expect(failures).toBeLessThanOrEqual(1);
  expect([device.liveBytes, device.streams.liveStreams]).toEqual([0, 0]);
  // One that could not be given back stays, until the device is.
  expect(device.streams.liveEvents).toBeLessThanOrEqual(cl.failed === 'clReleaseEvent' ? 1 : 0);
  expect(device.memoryInfo(0).freeBytes + device.keptBytes).toBe(device.getMaxMemorySize(0));
  expect(device.memoryInfo(1).freeBytes).toBe(device.getMaxMemorySize(1));
  // A mapping was viewed: its segment is kept, with its device, for as long as the array exists.
  const kept = device.keptBytes / BYTES;
  try {
    device.dispose();
  } catch (error) {
    if (!MemoryError.is(error, 'ERR_MEM_NATIVE')) throw error;
    device.nativeFree(device.nativeAlloc(64));
    device.dispose();
  }
  // The event of a copy that is done is given back as well as can be: the copy is no failure, so there is a warning.
  const told = warnings.mock.calls.map(([warning]) => warning);
  // Others may warn while the steps are waited for.
  const lostEvents = told.filter((warning) => MemoryError.is(warning, 'ERR_MEM_NATIVE')).length;
  warnings.mockClear();
  const open = kept > 0 ? 1 : 0;
  expect(cl.live).toEqual({ contexts: open, queues: open, buffers: 0, segments: kept, events: lostEvents });
  expect(lostEvents).toBeLessThanOrEqual(cl.failed === 'clReleaseEvent' ? 1 : 0);
  return cl.failed;
}

describe.skipIf(openCl.missing)(openCl.title('OpenClDevice'), () => {
  afterEach(() => void vi.restoreAllMocks());

  test.each([CL_OUT_OF_RESOURCES, CL_INVALID_COMMAND_QUEUE])(
    'throws what it is, loses nothing and goes on when the n-th native call fails with %i, for every n',
    async (status) => {
      const failed = new Set<string>();
      for (let nth = 1; ; nth++) {
        const name = await run(nth, status);
        if (name === undefined) break;
        failed.add(name);
      }
      const all = Object.keys(new FailingOpenCl(0, 0).functions);
      expect([...failed].sort()).toEqual(all.filter((name) => name !== 'clSVMFree').sort());
    },
  );

  test('climbs the ladder when a context, a queue or memory cannot be had', () => {
    let failures = 0;
    for (let nth = 1; ; nth++) {
      const cl = new FailingOpenCl(nth, CL_OUT_OF_RESOURCES);
      const device = new OpenClDevice({ functions: cl.functions });
      try {
        device.deviceCount;
      } catch {
        continue;
      }
      const runtime = new MemoryRuntime(device, { exitReport: false });
      const pool = new PoolMemoryManager(device.deviceCount, new MemoryManagerDeviceInterface());
      new MemoryManagerInstaller(pool, runtime).setAsMemoryManager();
      runtime.allocate(1000);
      const { failed } = cl;
      if (failed !== undefined) failures++;
      cl.failNoMore();
      runtime.close();
      if (failed === undefined) break;
    }
    expect(failures).toBe(3);
  });
});
