import {
  CachingMemoryManager,
  type CachingMemoryManagerOptions,
  DEFAULT_MAX_BUFFERS,
  DefaultMemoryManager,
  LruMemoryManager,
  type LruMemoryManagerOptions,
  PoolMemoryManager,
  type PoolMemoryManagerOptions,
  TlsfMemoryManager,
} from '../../../managers/index.js';
import type { ManagerFactory } from '../../core/memory-host.js';
import { KiB, MiB } from '../../core/units.js';

/** A setting of a manager: its values in an order in which neighbours differ little; undefined is the manager's default. */
export interface Axis {
  readonly name: string;
  readonly values: readonly (number | undefined)[];
}

/** A value for each axis of a family; those that are undefined are left out. */
export type Settings = Readonly<Record<string, number | undefined>>;

/** A manager with the settings that a search may choose. */
export interface Family {
  /** As on the command line. */
  readonly manager: string;
  readonly axes: readonly Axis[];
  create(settings: Settings): ManagerFactory;
  /** An expression that makes the manager; its names are exports of `stowage` and `stowage/managers`. */
  code(settings: Settings): string;
}

const TABLE = 'new MemoryManagerDeviceInterface()';
const LIMITS = [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024].map((mebibytes) => mebibytes * MiB);

/** The managers that are searched, each beginning with its defaults. */
export const FAMILIES: readonly Family[] = [
  {
    manager: 'caching',
    axes: [
      { name: 'recyclingSizeLimitBytes', values: [undefined, ...LIMITS.toReversed()] },
      { name: 'splitSizeLimitBytes', values: [undefined, ...LIMITS.toReversed()] },
    ],
    create: (settings) => (deviceCount, table) =>
      new CachingMemoryManager(deviceCount, table, given<CachingMemoryManagerOptions>(settings)),
    code: (settings) => withOptions('CachingMemoryManager', settings),
  },
  {
    manager: 'pool',
    axes: [
      { name: 'slack', values: [0, 0.01, 0.02, undefined, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1] },
      { name: 'granularityBytes', values: [undefined, 128 * KiB, 256 * KiB, 512 * KiB, MiB, 2 * MiB] },
    ],
    create: (settings) => (deviceCount, table) =>
      new PoolMemoryManager(deviceCount, table, given<PoolMemoryManagerOptions>(settings)),
    code: (settings) => withOptions('PoolMemoryManager', settings),
  },
  {
    manager: 'tlsf',
    axes: [],
    create: () => (deviceCount, table) => new TlsfMemoryManager(deviceCount, table),
    code: () => withOptions('TlsfMemoryManager', {}),
  },
  {
    manager: 'lru',
    axes: [
      { name: 'capacityLayouts', values: [0, 3, 10, 30, undefined, 300, 1000, 3000] },
      { name: 'capacityBytes', values: [undefined, ...LIMITS.toReversed()] },
    ],
    create: (settings) => (deviceCount, table) =>
      new LruMemoryManager(deviceCount, table, given<LruMemoryManagerOptions>(settings)),
    code: (settings) => withOptions('LruMemoryManager', settings),
  },
  {
    manager: 'default',
    axes: [{ name: 'maxBuffers', values: [30, 100, 300, undefined, 3000, 10_000] }],
    create:
      ({ maxBuffers = DEFAULT_MAX_BUFFERS }) =>
      (deviceCount, table) =>
        new DefaultMemoryManager(deviceCount, table, { maxBuffers }),
    code: ({ maxBuffers = DEFAULT_MAX_BUFFERS }) => `new DefaultMemoryManager(1, ${TABLE}, { maxBuffers: ${maxBuffers} })`,
  },
];

/** How the settings of a manager are called when none differs from its defaults. */
export const DEFAULTS = 'defaults';

/** Says which settings differ from a manager's defaults: `slack: 0.05`. */
export function describeSettings(settings: Settings): string {
  const words = Object.entries(given<Settings>(settings)).map(([name, value]) => `${name}: ${value}`);
  return words.length === 0 ? DEFAULTS : words.join(', ');
}

/** The settings that are given, as options. */
function given<O extends object>(settings: Settings): O {
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined)) as O;
}

function withOptions(name: string, settings: Settings): string {
  const isDefault = Object.keys(given(settings)).length === 0;
  return `new ${name}(1, ${TABLE}${isDefault ? '' : `, { ${describeSettings(settings)} }`})`;
}
