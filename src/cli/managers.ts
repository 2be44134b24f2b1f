import {
  ArenaMemoryManager,
  BuddyMemoryManager,
  CachingMemoryManager,
  DEFAULT_MAX_BUFFERS,
  DefaultMemoryManager,
  LimitingMemoryManager,
  LruMemoryManager,
  PoolMemoryManager,
  SlabMemoryManager,
  TlsfMemoryManager,
} from '../../managers/index.js';
import type { ManagerFactory } from '../core/process-state.js';

/** The managers that the command knows, by name. */
export const MANAGERS: ReadonlyMap<string, ManagerFactory> = new Map<string, ManagerFactory>([
  ['caching', (deviceCount, table) => new CachingMemoryManager(deviceCount, table)],
  ['lru', (deviceCount, table) => new LruMemoryManager(deviceCount, table)],
  ['pool', (deviceCount, table) => new PoolMemoryManager(deviceCount, table)],
  ['tlsf', (deviceCount, table) => new TlsfMemoryManager(deviceCount, table)],
  ['default', (deviceCount, table) => new DefaultMemoryManager(deviceCount, DEFAULT_MAX_BUFFERS, false, table)],
  ['buddy', (deviceCount, table) => new BuddyMemoryManager(deviceCount, table)],
  ['slab', (deviceCount, table) => new SlabMemoryManager(deviceCount, table)],
  // Nobody resets it in a replay: it shows what its places cost when blocks end one by one.
  ['arena', (deviceCount, table) => new ArenaMemoryManager(deviceCount, table)],
]);

/** Puts a quota around the managers that a factory makes. @param limitBytes - of live blocks; undefined for none */
export function limited(create: ManagerFactory, limitBytes: number | undefined): ManagerFactory {
  if (limitBytes === undefined) return create;
  return (deviceCount, table) => new LimitingMemoryManager(create(deviceCount, table), { limitBytes });
}
