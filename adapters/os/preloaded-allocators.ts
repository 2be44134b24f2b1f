import { openLibrary } from '../ffi/library.js';

/** What an allocator says of itself, in bytes; undefined where it does not. */
export interface AllocatorStatistics {
  /** Of the blocks that the program holds. */
  readonly liveBytes: number | undefined;
  /** That it keeps in memory, its tables included. */
  readonly residentBytes: number | undefined;
}

type Control = (
  name: string,
  old: BigUint64Array | null,
  oldBytes: BigUint64Array | null,
  value: BigUint64Array | null,
  bytes: number,
) => number;
const CONTROL = ['const char *', 'uint64_t *', 'uint64_t *', 'uint64_t *', 'size_t'];
/** Stands for every arena. @see Source: jemalloc's MALLCTL_ARENAS_ALL */
const PURGE_ALL = 'arena.4096.purge';

/** Asks an allocator by its name: jemalloc by `mallctl`, mimalloc by `mi_process_info`. Nothing is known of others. */
export function allocatorStatistics(name: string, path: string): AllocatorStatistics {
  if (name === 'jemalloc') return jemallocStatistics(path);
  if (name === 'mimalloc') return mimallocStatistics(path);
  return { liveBytes: undefined, residentBytes: undefined };
}

/** Has an allocator give back what it keeps free. @returns whether there is a function for that */
export function purgeAllocator(name: string, path: string): boolean {
  const library = openLibrary([path]);
  if (name === 'jemalloc') {
    return library.optional<Control>('mallctl', 'int', CONTROL)?.(PURGE_ALL, null, null, null, 0) === 0;
  }
  const collect = library.optional<(force: number) => void>('mi_collect', 'void', ['int']);
  collect?.(1);
  return collect !== undefined;
}

function jemallocStatistics(path: string): AllocatorStatistics {
  const control = openLibrary([path]).optional<Control>('mallctl', 'int', CONTROL);
  const value = new BigUint64Array(16);
  const bytes = new BigUint64Array(16);
  value[0] = 1n;
  // Statistics are those of the last epoch.
  if (control === undefined || control('epoch', null, null, value, 8) !== 0)
    return { liveBytes: undefined, residentBytes: undefined };
  const read = (name: string) => {
    bytes[0] = 8n;
    return control(name, value, bytes, null, 0) === 0 ? Number(value[0]) : undefined;
  };
  return { liveBytes: read('stats.allocated'), residentBytes: read('stats.resident') };
}

function mimallocStatistics(path: string): AllocatorStatistics {
  type Info = (...out: (BigUint64Array | null)[]) => void;
  const info = openLibrary([path]).optional<Info>('mi_process_info', 'void', new Array(8).fill('uint64_t *'));
  const commit = new BigUint64Array(16);
  info?.(null, null, null, null, null, commit, null, null);
  return { liveBytes: undefined, residentBytes: info === undefined ? undefined : Number(commit[0]) };
}
