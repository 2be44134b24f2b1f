import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { functionPointerType } from '../../adapters/ffi/c-types.js';
import { CallbackTable, callback, openLibrary } from '../../adapters/ffi/index.js';
import { koffi } from '../../adapters/ffi/koffi.js';
import { functionAt } from '../../adapters/ffi/library.js';
import { CAllocatorHost } from '../../adapters/hosts/c-allocator/index.js';
import { SqliteHost } from '../../adapters/hosts/sqlite/index.js';
import { SqliteLibrary } from '../../adapters/hosts/sqlite/sqlite-library.js';
import { cachingManager, install } from '../hosts/test-managers.js';

const PAIRS = 1000;
const ROUNDS = 1000;
const LOOP = `
#include <stddef.h>
void loop(void *(*get)(size_t), void (*give)(void *), int pairs) {
  for (int i = 0; i < pairs; i++) give(get(64));
}`;

/** What a call takes that C makes in a loop. */
export interface CallbackCost {
  readonly call: string;
  readonly ns: number;
}

/**
 * Measures an empty callback, those of a host, and native slabs, in short rounds by turns.
 *
 * @returns first koffi's empty callback; nothing where there is no C compiler
 */
export function measureCallbacks(): CallbackCost[] {
  const folder = mkdtempSync(join(tmpdir(), 'stowage-bench-'));
  const file = join(folder, 'loop.so');
  try {
    const flags = ['-O2', '-shared', '-fPIC', '-x', 'c', '-', '-o', file];
    if (spawnSync(process.env['CC'] ?? 'cc', flags, { input: LOOP }).status !== 0) return [];
    const loop = openLibrary([file]).func<(get: number, give: number, pairs: number) => void>('loop', 'void', [
      'uintptr_t',
      'uintptr_t',
      'int',
    ]);
    using table = new CallbackTable('bench');
    using plain = new CAllocatorHost();
    using withHeader = new CAllocatorHost({ sizeHeader: true });
    using sqlite = new SqliteHost();
    sqlite.attach();
    const [malloc = 0n, free = 0n] = new SqliteLibrary().getMethods();
    // Where no cell lives at all, a free gives the slab back.
    const cell = functionAt<(bytes: number) => number>(Number(malloc), 'uintptr_t', ['int'])(64);
    const empty = registerEmpty();
    const subjects = [
      { name: "koffi's empty callback", get: empty.get, give: empty.give },
      { name: 'an empty body of our CallbackTable', ...emptyBodies(table) },
      ...[plain, withHeader].map((host) => {
        install(host, cachingManager());
        // The segment stays.
        host.free(host.malloc(1));
        const { malloc, free } = host.functions;
        return {
          name: `CAllocatorHost${host === withHeader ? ' with size headers' : ''}: malloc, free`,
          get: malloc,
          give: free,
        };
      }),
      { name: 'SqliteHost with native slabs: malloc, free, no callback', get: Number(malloc), give: Number(free) },
    ].map((subject) => ({ ...subject, ns: Number.POSITIVE_INFINITY }));
    for (let round = 0; round < ROUNDS; round++) {
      for (const subject of subjects) {
        const start = performance.now();
        table.call(() => loop(subject.get, subject.give, PAIRS));
        subject.ns = Math.min(subject.ns, ((performance.now() - start) * 1e6) / (2 * PAIRS));
      }
    }
    functionAt<(ptr: number) => void>(Number(free), 'void', ['uintptr_t'])(cell);
    for (const pointer of empty.pointers) koffi().unregister(pointer);
    return subjects.map(({ name, ns }) => ({ call: name, ns }));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Callbacks of koffi alone. */
function registerEmpty(): { get: number; give: number; pointers: bigint[] } {
  const get = koffi().register(() => ADDRESS, functionPointerType('uintptr_t', ['size_t']));
  const give = koffi().register(() => {}, functionPointerType('void', ['uintptr_t']));
  return { get: Number(get), give: Number(give), pointers: [get, give] };
}

/** What the empty callbacks give. */
const ADDRESS = 2 ** 46;

function emptyBodies(table: CallbackTable): Readonly<Record<'get' | 'give', number>> {
  return table.register('empty', () => ({
    get: callback({ result: 'uintptr_t', parameters: ['size_t'], onError: 0, body: () => ADDRESS }),
    give: callback({ result: 'void', parameters: ['uintptr_t'], onError: undefined, body: () => {} }),
  }));
}
