import { execFileSync } from 'node:child_process';
import { MANAGERS } from '../../src/cli/choices.js';
import { KiB, MiB } from '../../src/core/units.js';
import type { ManagerSpec } from './manager-subject.js';
import { findPreload, type MissingPeer, type NativePeers } from './native-peers.js';

/** What a contestant in JavaScript runs: a manager of this library, or a peer. */
export type JavaScriptSpec = ManagerSpec | 'koffi' | '@thi.ng/malloc';

/** One allocator of a run. */
export interface Contestant {
  /** The name in tables and JSON. */
  readonly name: string;
  readonly isPeer: boolean;
  readonly javaScript?: JavaScriptSpec;
  readonly native?: NativeCommand;
}

/** A compiled peer. */
export interface NativeCommand {
  readonly file: string;
  /** What comes behind the event file. */
  readonly args: readonly string[];
  readonly env: { readonly [name: string]: string };
}

/** Who takes part, in the order of a round, and who cannot. */
export interface Field {
  readonly contestants: readonly Contestant[];
  readonly missing: readonly MissingPeer[];
}

/** What all times are compared with. */
export const PEER_A = 'C++ caching (peer a)';
/** The pool as it is on the simulated device, unless that is told otherwise. */
export const POOL = 'pool (64 KiB pages)';
const GLIBC = 'glibc malloc (peer b)';
/** Debian's packages, the newest first; a symbol tells whether the library is really the one in use. */
const PRELOADED = [
  {
    name: 'mimalloc',
    libraries: ['libmimalloc.so.3', 'libmimalloc.so.2'],
    symbol: 'mi_malloc',
    package: 'libmimalloc3 or libmimalloc2.0',
  },
  { name: 'jemalloc', libraries: ['libjemalloc.so.2'], symbol: 'mallctl', package: 'libjemalloc2' },
] as const;
const JAVASCRIPT_PEERS: readonly Contestant[] = [
  { name: 'malloc through koffi (peer d)', isPeer: true, javaScript: 'koffi' },
  { name: '@thi.ng/malloc (peer e)', isPeer: true, javaScript: '@thi.ng/malloc' },
];
/** The simulated device's own, Linux's, and CUDA's. */
const POOL_PAGES = [
  { bytes: 64 * KiB, name: POOL },
  { bytes: 4 * KiB, name: 'pool (4 KiB pages)' },
  { bytes: 2 * MiB, name: 'pool (2 MiB pages)' },
] as const;

/** Names of managers that can be measured. */
export function managerNames(): string[] {
  return [...MANAGERS.keys()];
}

/** Lines up the managers of those names and all peers that are there. */
export function lineUp(managers: readonly string[], native: NativePeers): Field {
  const contestants: Contestant[] = [];
  const missing: MissingPeer[] = [];
  addNative(PEER_A, native.caching, [], {});
  for (const manager of managers) contestants.push(...variantsOf(manager));
  addNative(GLIBC, native.mallocLoop, ['glibc'], {});
  for (const { name, libraries, symbol, package: debian } of PRELOADED) {
    const path = libraries.map(findPreload).find((found) => found !== undefined);
    if (path === undefined) {
      missing.push({ name: `${name} (peer c)`, reason: `${libraries.at(-1)} is not here (Debian: apt-get install ${debian})` });
      continue;
    }
    const env = { LD_PRELOAD: path };
    addNative(preloadedName(name, native.mallocLoop, env), native.mallocLoop, [symbol], env);
  }
  contestants.push(...JAVASCRIPT_PEERS);
  return { contestants, missing };

  function addNative(name: string, built: NativePeers[keyof NativePeers], args: string[], env: NativeCommand['env']): void {
    if ('reason' in built) missing.push({ name, reason: built.reason });
    else contestants.push({ name, isPeer: true, native: { file: built.file, args, env } });
  }
}

function variantsOf(manager: string): Contestant[] {
  const plain: Contestant = { name: manager, isPeer: false, javaScript: { manager } };
  if (manager !== 'pool') return [plain];
  return [
    ...POOL_PAGES.map(({ bytes, name }) => ({ name, isPeer: false, javaScript: { manager, pageBytes: bytes } })),
    { ...plain, name: 'pool (native segments)' },
  ];
}

/** The name of a preloaded peer with its version, as it tells it itself. */
function preloadedName(name: string, loop: NativePeers['mallocLoop'], env: NativeCommand['env']): string {
  const version = 'file' in loop ? execFileSync(loop.file, ['version'], { env, encoding: 'utf8' }).trim() : '';
  return `${[name, version].filter(Boolean).join(' ')} (peer c)`;
}
