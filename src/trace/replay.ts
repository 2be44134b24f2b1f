import type { Device } from '../core/device.js';
import { MemoryManagerDeviceInterface } from '../core/device-interface.js';
import { checkArgument, MemoryError } from '../core/errors.js';
import type { SwapEvent } from '../core/events.js';
import type { ManagerSlot } from '../core/manager-slot.js';
import type { ManagerFactory, MemoryHost } from '../core/memory-host.js';
import type { MemoryManagerAdapter } from '../core/memory-manager-adapter.js';
import { MemoryManagerInstaller } from '../core/memory-manager-installer.js';
import { checkOptionNames, type OptionNames } from '../core/option-names.js';
import { BlockVerifier } from './block-verifier.js';
import { ReplayBlocks, type ReplayWatcher } from './replay-blocks.js';
import type { TraceEvents, TraceTotals } from './trace-events.js';

const EVENTS_BETWEEN_REPORTS = 4096;

/** A host with its device: a MemoryRuntime is one. */
export interface ReplayHost extends MemoryHost {
  readonly device: Device;
}

/** A change of managers in the middle of a replay. */
export interface ReplaySwap {
  /** How many events are replayed before the swap, from 0 to the trace's length. */
  readonly atEvent: number;
  readonly createManager: ManagerFactory;
}

/** How to replay. */
export interface ReplayOptions {
  /** The manager's name in the result. @defaultValue the names of the managers that served, joined by `->` */
  readonly label?: string | undefined;
  /** Writes the first and last byte of each block and checks both when it is freed. The device must have views. @defaultValue false */
  readonly verify?: boolean | undefined;
  /** Observes every block; its time is part of the result. It cannot be combined with `verify`. @defaultValue none */
  readonly watcher?: ReplayWatcher | undefined;
  /** In the order of their events. @defaultValue none */
  readonly swaps?: readonly ReplaySwap[] | undefined;
  /** Leaves what the trace never frees allocated, until the host is closed. @defaultValue false */
  readonly keepLive?: boolean | undefined;
  /** Called with the number of events done, every few thousand events and at the end. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

const OPTIONS: OptionNames<ReplayOptions> = {
  label: true,
  verify: true,
  watcher: true,
  swaps: true,
  keepLive: true,
  onProgress: true,
};

/** The measurements of a replay. */
export interface ReplayResult extends Pick<TraceTotals, 'allocations' | 'peakLiveBytes'> {
  readonly manager: string;
  readonly device: string;
  /** Allocations and frees. */
  readonly events: number;
  /** Wall time an event: the manager, the native calls, and the checks when verifying. */
  readonly nsPerEvent: number;
  readonly eventsPerSecond: number;
  /** Native allocations and commits of all managers from the first event to the last. */
  readonly nativeAllocs: number;
  /** Native frees and decommits. */
  readonly nativeFrees: number;
  /** The share of allocations that needed no native call, 0 to 1. */
  readonly hitRate: number;
  /** The most native memory that all managers of the slot held at once. */
  readonly peakReservedBytes: number;
  /** `peakLiveBytes / peakReservedBytes`; 0 when nothing was reserved. */
  readonly utilisation: number;
  readonly swaps: number;
  /** The sum of live blocks that the swaps left to the previous managers. */
  readonly blocksAcrossSwaps: number;
  /** Blocks whose bytes were checked; blocks of 0 bytes have none. */
  readonly verifiedBlocks: number;
}

/**
 * Replays the allocations and frees of a trace on the manager that a host's ordinary slot has now, each of them one call of
 * the slot. It skips what the recorded manager did itself (native calls, swaps, cleanups, refusals).
 * It resets the slot's peak. Blocks that the trace never frees are freed at the end, outside the measured time.
 *
 * @throws ERR_MEM_REPLAY with event and line when a call fails (out of memory is the cause then) or a block's bytes changed;
 *   every block of the replay has been freed
 * @throws ERR_MEM_INVALID_ARGUMENT for swaps that are out of order or out of range, before the first event
 */
export function replayTrace(events: TraceEvents, host: ReplayHost, options: ReplayOptions = {}): ReplayResult {
  checkOptionNames('replayTrace', options, OPTIONS);
  const swaps = options.swaps ?? [];
  checkSwaps(swaps, events.length);
  const { slot } = host;
  const { verify = false, watcher } = options;
  checkArgument(!verify || watcher === undefined, 'watcher', 'given', 'absent when verifying');
  const hits = new HitCounter(host.deviceCount);
  if (slot.active !== null) hits.watch(slot.active);
  const onSwap = (event: SwapEvent): void => {
    if (event.slot === slot.kind) hits.watch(event.current);
  };
  const verifier = verify ? new BlockVerifier(host.device) : undefined;
  const blocks = new ReplayBlocks(events, slot, verifier ?? watcher);
  const [allocsBefore, freesBefore] = nativeCallsOf(slot);
  slot.resetPeak();
  host.events.on('swap', onSwap);
  try {
    const start = process.hrtime.bigint();
    const blocksAcrossSwaps = run(blocks, host, swaps, options.onProgress);
    const nanoseconds = Number(process.hrtime.bigint() - start);
    const [allocs, frees] = nativeCallsOf(slot);
    const nativeAllocs = allocs - allocsBefore;
    const hitRate = hits.rate(events.allocations, nativeAllocs);
    const { peakReservedBytes } = slot;
    if (options.keepLive !== true) blocks.freeAll(verifier);
    return {
      manager: options.label ?? Array.from(hits.before.keys(), ({ name }) => name).join(' -> '),
      device: host.device.name,
      events: events.calls,
      allocations: events.allocations,
      nsPerEvent: nanoseconds / Math.max(events.calls, 1),
      eventsPerSecond: (events.calls * 1e9) / Math.max(nanoseconds, 1),
      nativeAllocs,
      nativeFrees: frees - freesBefore,
      hitRate,
      peakLiveBytes: events.peakLiveBytes,
      peakReservedBytes,
      utilisation: peakReservedBytes > 0 ? events.peakLiveBytes / peakReservedBytes : 0,
      swaps: swaps.length,
      blocksAcrossSwaps,
      verifiedBlocks: verifier?.checked ?? 0,
    };
  } catch (error) {
    throw failureAt(events, blocks.event, error, blocks.abandon());
  } finally {
    host.events.off('swap', onSwap);
    verifier?.dispose();
  }
}

/** Makes a manager and installs it in the ordinary slot of a host. @throws as the factory, or the slot, does */
export function installManager(host: MemoryHost, createManager: ManagerFactory): void {
  const manager = createManager(host.deviceCount, new MemoryManagerDeviceInterface());
  new MemoryManagerInstaller(manager, host).setAsMemoryManager();
}

/** @returns how many live blocks the swaps left to draining managers */
function run(
  blocks: ReplayBlocks,
  host: ReplayHost,
  swaps: readonly ReplaySwap[],
  onProgress: ReplayOptions['onProgress'],
): number {
  const { length: total } = blocks.events;
  let blocksAcrossSwaps = 0;
  let nextSwap = 0;
  for (;;) {
    for (let swap = swaps[nextSwap]; swap?.atEvent === blocks.event; swap = swaps[++nextSwap]) {
      installManager(host, swap.createManager);
      blocksAcrossSwaps += blocks.live;
    }
    if (blocks.event === total) return blocksAcrossSwaps;
    blocks.run(Math.min(blocks.event + EVENTS_BETWEEN_REPORTS, swaps[nextSwap]?.atEvent ?? total, total));
    onProgress?.(blocks.event, total);
  }
}

function checkSwaps(swaps: readonly ReplaySwap[], total: number): void {
  let least = 0;
  for (const { atEvent } of swaps) {
    const inOrder = Number.isInteger(atEvent) && atEvent >= least && atEvent <= total;
    checkArgument(inOrder, 'atEvent of a swap', atEvent, `an integer from ${least} to ${total}`);
    least = atEvent;
  }
}

/** Makes the error of a replay that stopped. @param later - the failures of freeing the live blocks */
function failureAt(events: TraceEvents, event: number, error: unknown, later: readonly unknown[]): MemoryError<'ERR_MEM_REPLAY'> {
  const cause =
    later.length === 0 ? error : new AggregateError([error, ...later], 'the replay failed, and so did freeing its blocks');
  const last = Math.min(event, events.length - 1);
  const reason = error instanceof Error ? error.message : String(error);
  return new MemoryError('ERR_MEM_REPLAY', { file: events.file, line: events.lines[last] ?? 0, event: last, reason }, cause);
}

/** The native allocations and frees of a slot so far, commits and decommits of pages included. */
function nativeCallsOf(slot: ManagerSlot): readonly [allocs: number, frees: number] {
  return [slot.nativeAllocs + slot.nativeCommits, slot.nativeFrees + slot.nativeDecommits];
}

/** Adds up the hits of all managers that serve a replay, from their own statistics. */
class HitCounter {
  /** The hits of each manager before it served, in the order in which they began to serve. */
  readonly before = new Map<MemoryManagerAdapter, ReturnType<typeof hitsOf>>();

  constructor(readonly deviceCount: number) {}

  /** Counts a manager's hits from now on. */
  watch(manager: MemoryManagerAdapter): void {
    if (!this.before.has(manager)) this.before.set(manager, hitsOf(manager, this.deviceCount));
  }

  /**
   * The share of allocations that needed no native call, 0 to 1.
   * If a manager keeps no statistics, each native allocation counts as one allocation that needed it.
   */
  rate(allocations: number, nativeAllocs: number): number {
    let [hits, served] = [0, 0];
    for (const [manager, before] of this.before) {
      const now = hitsOf(manager, this.deviceCount);
      if (now === undefined || before === undefined) return allocations === 0 ? 0 : Math.max(0, 1 - nativeAllocs / allocations);
      hits += now.hits - before.hits;
      served += now.served - before.served;
    }
    return served === 0 ? 0 : hits / served;
  }
}

/** @returns undefined for a manager that keeps no statistics */
function hitsOf(manager: MemoryManagerAdapter, deviceCount: number): Readonly<Record<'hits' | 'served', number>> | undefined {
  const stats = Array.from({ length: deviceCount }, (_, device) => manager.stats(device));
  const known = stats.filter((one) => one !== undefined);
  if (known.length < deviceCount) return undefined;
  return {
    hits: known.reduce((sum, { hits }) => sum + hits, 0),
    served: known.reduce((sum, { blocks }) => sum + blocks.total, 0),
  };
}
