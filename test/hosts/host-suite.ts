import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { NativeHost } from '../../adapters/hosts/native-host.js';
import { DecoratingMemoryManager } from '../../managers/decorators/decorating-memory-manager.js';
import {
  CachingMemoryManager,
  DefaultMemoryManager,
  LimitingMemoryManager,
  LruMemoryManager,
  PoolMemoryManager,
  StatisticsMemoryManager,
  TlsfMemoryManager,
  TrackingMemoryManager,
} from '../../managers/index.js';
import type { Device } from '../../src/core/device.js';
import {
  type DevicePtr,
  MemoryError,
  type MemoryManagerAdapter,
  MemoryManagerDeviceInterface,
  NULL_PTR,
} from '../../src/core/index.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';
import { loadTrace, parseTrace, recordTrace, replayTrace, type TraceEvents, TraceKind } from '../../src/trace/index.js';
import { exactManager, install } from './test-managers.js';

/** An engine on a host, as the suite drives it. */
export interface HostedEngine {
  readonly host: NativeHost & { readonly device: Device };
  /**
   * Does the same piece of the engine's real work each time, and has the engine give every block back.
   *
   * @param during - to be called once in the middle, while the engine holds blocks
   * @returns what it came to, for comparison by `toEqual`; throws, or rejects, when the engine was refused memory
   */
  work(during?: () => void): unknown;
  /** What the engine does without memory: `work` fails, or the host gives it fallback memory and tells by an event. */
  readonly whenRefused: 'fails' | 'falls back';
  close(): void | Promise<void>;
}

export interface HostSuiteOptions {
  /** Opens the engine, once for the whole suite. */
  readonly open: () => HostedEngine | Promise<HostedEngine>;
  /** What the same work comes to without this library. */
  readonly expected: () => unknown;
  readonly skip?: boolean;
}

const table = (): MemoryManagerDeviceInterface => new MemoryManagerDeviceInterface();
const MANAGERS: Record<string, () => MemoryManagerAdapter> = {
  CachingMemoryManager: () => new CachingMemoryManager(1, table()),
  DefaultMemoryManager: () => new DefaultMemoryManager(1, table(), { maxBuffers: 1_000_000, debug: true }),
  LruMemoryManager: () => new LruMemoryManager(1, table()),
  PoolMemoryManager: () => new PoolMemoryManager(1, table()),
  TlsfMemoryManager: () => new TlsfMemoryManager(1, table()),
};
const SWAPS = 20;
const deviceError = () => new MemoryError('ERR_MEM_NATIVE', { functionName: 'native', status: 5, statusName: 'test' });
const REASONS = [
  new MemoryError('ERR_MEM_OUT_OF_MEMORY', {
    requestedBytes: 1,
    allocatedBytes: 2,
    reservedBytes: 3,
    capacityBytes: 4,
    device: 0,
  }),
  new MemoryError('ERR_MEM_INVALID_SIZE', { bytes: -1 }),
  new MemoryError('ERR_MEM_INVALID_DEVICE', { device: 9, deviceCount: 1 }),
  new MemoryError('ERR_MEM_LIFECYCLE', { manager: 'a manager', from: 'stopped', to: 'active' }),
  new MemoryError('ERR_MEM_INVARIANT', { invariant: 'one that does not hold' }),
  deviceError(),
];

/** Refuses every request for the same reason. */
class RefusingManager extends DecoratingMemoryManager {
  reason = deviceError() as MemoryError;

  override allocBytes(): DevicePtr {
    throw this.reason;
  }
}

/** Calls `before` at the beginning of each native call of a manager that sits in a slot; null instead of an address where it says so. */
function hookNatives<M extends MemoryManagerAdapter>(manager: M, before: (call: 'alloc' | 'free') => undefined | 'null'): M {
  const natives = manager.deviceInterface;
  const { nativeAlloc, nativeFree } = natives;
  natives.nativeAlloc = (bytes, alignment) => (before('alloc') === 'null' ? NULL_PTR : nativeAlloc(bytes, alignment));
  natives.nativeFree = (ptr) => {
    before('free');
    nativeFree(ptr);
  };
  return manager;
}

const caching = () => new CachingMemoryManager(1, table());

/** What holds under every host: results, call log, trace, statistics, limits and swaps. */
export function describeHost(name: string, { open, expected, skip = false }: HostSuiteOptions): void {
  describe.skipIf(skip)(`${name}, as every host`, () => {
    let engine: HostedEngine;
    let host: HostedEngine['host'];
    let wanted: unknown;
    const folder = mkdtempSync(join(tmpdir(), 'stowage-host-'));

    beforeAll(async () => {
      wanted = await expected();
      engine = await open();
      host = engine.host;
    });

    afterEach(() => {
      expect(host.slot.liveBlocks).toBe(0);
      expect(host.slot.draining).toEqual([]);
    });

    afterAll(async () => {
      rmSync(folder, { recursive: true });
      if (engine === undefined) return;
      await engine.close();
      // Has ended: does nothing.
      host.dispose();
      host[Symbol.dispose]();
      expect(host.slot.nativeFrees).toBe(host.slot.nativeAllocs);
    });

    /** Does the work with a manager, and gives the most that it had handed out, in bytes and blocks. */
    async function measured(): Promise<{ bytes: number; blocks: number }> {
      const manager = install(host, caching());
      await engine.work();
      const { allocatedBytes, blocks } = manager.stats(0)!;
      return { bytes: allocatedBytes.peak, blocks: blocks.peak };
    }

    test.each(Object.keys(MANAGERS))('comes to the same under a %s, which gets every block back', async (kind) => {
      const manager = install(host, MANAGERS[kind]!());
      let held = 0;
      expect(
        await engine.work(() => {
          held = host.slot.liveBlocks;
        }),
      ).toEqual(wanted);
      expect(held).toBeGreaterThan(0);
      const stats = manager.stats(0)!;
      expect(stats.allocatedBytes.current).toBe(0);
      expect(stats.blocks.total).toBeGreaterThanOrEqual(held);
      manager.signalMemoryCleanup();
    });

    test('writes a call log that replays', async () => {
      const chunks: string[] = [];
      const manager = caching();
      manager.setLogStream({ write: (chunk) => chunks.push(String(chunk)) });
      manager.setLoggingEnabled(true);
      install(host, manager);
      await engine.work();
      host.slot.flushLogs();
      manager.setLoggingEnabled(false);
      const log = parseTrace(chunks.join(''), 'engine.log');
      const { blocks, requestedBytes } = manager.stats(0)!;
      expect([log.format, log.liveBlocks, log.unknownFrees]).toEqual(['call log', 0, 0]);
      expect(log.allocations).toBe(blocks.total);
      expect(log.peakLiveBytes).toBe(requestedBytes.peak);
      expectReplays(log);
    });

    test('is recorded call by call, a swap included', async () => {
      const file = join(folder, 'engine.stowtrace');
      const [first, second] = [install(host, caching()), caching()];
      {
        using _recorder = recordTrace(host, file);
        await engine.work(() => install(host, second));
      }
      const trace = await loadTrace(file);
      const total = (manager: MemoryManagerAdapter) => manager.stats(0)!.blocks.total;
      expect([trace.cutOff, trace.liveBlocks, trace.unknownFrees]).toEqual([undefined, 0, 0]);
      expect(trace.allocations).toBe(total(first) + total(second));
      expect(kindsOf(trace).filter((kind) => kind === TraceKind.swap).length).toBeGreaterThanOrEqual(1);
      expectReplays(trace);
    });

    test('keeps the order of statistics', async () => {
      const manager = install(host, new StatisticsMemoryManager(caching()));
      let checked = 0;
      await engine.work(() => {
        const { requestedBytes, allocatedBytes, activeBytes, reservedBytes } = manager.stats(0)!;
        expect(requestedBytes.current).toBeGreaterThan(0);
        expect(requestedBytes.current).toBeLessThanOrEqual(allocatedBytes.current);
        expect(allocatedBytes.current).toBeLessThanOrEqual(activeBytes.current);
        expect(activeBytes.current).toBeLessThanOrEqual(reservedBytes.current);
        expect(manager.counters().bytes.current).toBe(requestedBytes.current);
        checked++;
      });
      expect(checked).toBe(1);
      expect(manager.counters().bytes.current).toBe(0);
    });

    test('names the blocks that the engine holds', async () => {
      const manager = install(host, new TrackingMemoryManager(caching()));
      let live = 0;
      await engine.work(() => {
        live = manager.leakReport().blocks;
      });
      expect(live).toBeGreaterThan(0);
      expect(manager.leakReport().blocks).toBe(0);
    });

    test('goes on with another manager while the engine holds blocks of the first', async () => {
      const [first, second] = [install(host, caching()), caching()];
      const states: string[] = [];
      expect(
        await engine.work(() => {
          install(host, second);
          states.push(first.lifecycle.state);
        }),
      ).toEqual(wanted);
      expect([...states, first.lifecycle.state, second.lifecycle.state]).toEqual(['draining', 'stopped', 'active']);
    });

    test.each(['bytes', 'blocks'] as const)('keeps to a limit of %s, and works on without it', async (unit) => {
      const most = (await measured())[unit];
      const limit = Math.floor(most / 2);
      const limiting = new LimitingMemoryManager(caching(), unit === 'bytes' ? { limitBytes: limit } : { limitBlocks: limit });
      const counting = install(host, new StatisticsMemoryManager(limiting));
      let refusals = 0;
      const countRefusal = () => {
        refusals++;
      };
      host.events.on('oom', countRefusal);
      let fallbacks = 0;
      const countFallback = () => {
        fallbacks++;
      };
      host.events.on('fallback', countFallback);
      try {
        if (engine.whenRefused === 'falls back') expect(await engine.work()).toEqual(wanted);
        else await expect((async () => engine.work())()).rejects.toThrow();
      } finally {
        host.events.off('oom', countRefusal);
        host.events.off('fallback', countFallback);
      }
      expect(refusals).toBeGreaterThan(0);
      expect(fallbacks > 0).toBe(engine.whenRefused === 'falls back');
      expect(counting.counters()[unit].peak).toBeLessThanOrEqual(limit);
      expect(limiting.usedBytes).toBe(0);
      install(host, caching());
      expect(await engine.work()).toEqual(wanted);
    });

    /** Does the work as C sees it: what `host.call` throws is kept, and the engine goes by its statuses alone. */
    async function workAsC(): Promise<{ result?: unknown; failure?: unknown; told: unknown[]; reasons: unknown[] }> {
      const told: unknown[] = [];
      const reasons: unknown[] = [];
      const noteReason = () => host.lastError !== undefined && reasons.push(host.lastError);
      const emitWarning = vi.spyOn(process, 'emitWarning').mockImplementation((warning) => {
        told.push(warning);
      });
      host.call(() => {}); // What was before is forgotten.
      const call = vi.spyOn(host, 'call').mockImplementation((native) => {
        let result: unknown;
        try {
          host.callbacks.call(() => {
            result = native();
          });
        } catch (error) {
          told.push(error);
        }
        noteReason();
        return result;
      });
      try {
        return { result: await engine.work(), told, reasons };
      } catch (failure) {
        // What a method of the host throws itself needs no lastError.
        return { failure, told, reasons: [...reasons, failure] };
      } finally {
        noteReason();
        call.mockRestore();
        emitWarning.mockRestore();
      }
    }

    test.each(REASONS)('says in lastError why the engine was refused: $code', async (reason) => {
      install(host, new RefusingManager(caching())).reason = reason;
      const { result, failure, reasons } = await workAsC();
      if (engine.whenRefused === 'falls back') expect(result).toEqual(wanted);
      else expect(failure).toBeDefined();
      expect(reasons).toContain(reason);
      install(host, caching());
      expect(await engine.work()).toEqual(wanted);
    });

    test.each(['DefaultMemoryManager', 'CachingMemoryManager', 'LruMemoryManager', 'PoolMemoryManager'])(
      'comes to the same while native functions and listeners call a %s back, and swap it',
      async (kind) => {
        let [calls, swaps, inside] = [0, 0, false];
        const callBack = () => {
          if (inside) return;
          inside = true;
          const ptr = host.slot.alloc(96, true);
          expect(host.slot.allocated(ptr)).toBeGreaterThan(0);
          if (++calls % 3 === 0) swap();
          if (calls % 7 === 0) host.slot.signalMemoryCleanup();
          host.slot.unlock(ptr, true);
          inside = false;
        };
        let nativeCalls = 0;
        const before = (call: string) => {
          callBack();
          // A refusal now and then asks the listeners.
          return call === 'alloc' && !inside && ++nativeCalls % 50 === 0 ? 'null' : undefined;
        };
        const swap = () => {
          if (swaps >= SWAPS) return;
          try {
            hookNatives(install(host, MANAGERS[kind]!()), before);
            swaps++;
          } catch (error) {
            // Inside of a manager's shutdown.
            expect(error).toMatchObject({ code: 'ERR_MEM_REENTRANT' });
          }
        };
        const events = ['oom', 'swap', 'stopped'] as const;
        for (const event of events) host.events.on(event, callBack);
        try {
          swap();
          expect(await engine.work(swap)).toEqual(wanted);
        } finally {
          for (const event of events) host.events.off(event, callBack);
        }
        expect(calls).toBeGreaterThan(0);
        expect(swaps).toBeGreaterThan(1);
        install(host, caching());
      },
    );

    test.each([
      ['allocation answers null', 'alloc', 'null'],
      ['allocation throws', 'alloc', 'error'],
      ['free throws', 'free', 'error'],
    ] as const)('loses nothing when every n-th native %s', async (_how, failing, answer) => {
      for (const nth of [1, 2, 3, 5, 8, 20, 50]) {
        let [calls, failures, isBroken] = [0, 0, true];
        hookNatives(install(host, exactManager()), (call) => {
          if (!isBroken || call !== failing || ++calls % nth > 0) return undefined;
          failures++;
          if (answer === 'null') return answer;
          throw deviceError();
        });
        const { result, failure, told, reasons } = await workAsC();
        if (failure === undefined) expect(result).toEqual(wanted);
        if (failures > 0 && answer === 'error') {
          expect(reasons).toContainEqual(expect.objectContaining({ code: 'ERR_MEM_NATIVE' }));
          if (engine.whenRefused === 'fails') expect([...told, failure].some((one) => one !== undefined)).toBe(true);
        }
        if (nth === 1) expect(failures).toBeGreaterThan(0);
        isBroken = false;
        expect(await engine.work()).toEqual(wanted);
        expect(host.slot.liveBlocks).toBe(0);
      }
    });

    function expectReplays(events: TraceEvents): void {
      using runtime = new MemoryRuntime(host.device, { exitReport: false });
      install(runtime, caching());
      const result = replayTrace(events, runtime, { verify: true });
      expect(result.allocations).toBe(events.allocations);
      expect(result.peakLiveBytes).toBe(events.peakLiveBytes);
    }
  });
}

const kindsOf = (trace: TraceEvents): TraceKind[] => Array.from({ length: trace.length }, (_, i) => trace.kindOf(i));
