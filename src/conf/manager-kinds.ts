import type * as Managers from '../../managers/index.js';

/** How the value of a setting is written. */
export type SettingForm = 'size' | 'count' | 'share' | 'switch';

/** The managers of the package, by class. Types alone: nothing of them is loaded. */
export type ManagerClasses = Pick<
  typeof Managers,
  | 'CachingMemoryManager'
  | 'LruMemoryManager'
  | 'PoolMemoryManager'
  | 'TlsfMemoryManager'
  | 'PyTorchMemoryManager'
  | 'DefaultMemoryManager'
  | 'BuddyMemoryManager'
  | 'SlabMemoryManager'
  | 'ArenaMemoryManager'
>;

type OptionsOf<C extends keyof ManagerClasses> = NonNullable<ConstructorParameters<ManagerClasses[C]>[2]>;
/** The options that a text can give. PyTorch's own configuration is a variable by itself. */
type SettingsOf<C extends keyof ManagerClasses> = {
  readonly [K in Exclude<keyof OptionsOf<C>, 'logStream' | 'conf'>]-?: SettingForm;
};
type KindOf<C extends keyof ManagerClasses> = { readonly type: C; readonly settings: SettingsOf<C> };
type AnyKind = { readonly [C in keyof ManagerClasses]: KindOf<C> }[keyof ManagerClasses];

const KINDS = {
  caching: { type: 'CachingMemoryManager', settings: { recyclingSizeLimitBytes: 'size', splitSizeLimitBytes: 'size' } },
  lru: { type: 'LruMemoryManager', settings: { capacityLayouts: 'count', capacityBytes: 'size' } },
  pool: { type: 'PoolMemoryManager', settings: { slack: 'share', releaseThresholdBytes: 'size', granularityBytes: 'size' } },
  tlsf: { type: 'TlsfMemoryManager', settings: {} },
  pytorch: { type: 'PyTorchMemoryManager', settings: { memoryLimitBytes: 'size' } },
  default: { type: 'DefaultMemoryManager', settings: { maxBuffers: 'count', debug: 'switch' } },
  buddy: { type: 'BuddyMemoryManager', settings: { regionBytes: 'size', leafBytes: 'size' } },
  slab: { type: 'SlabMemoryManager', settings: { cellBytes: 'size', slabBytes: 'size', alignmentBytes: 'size' } },
  // Nobody resets it in a replay: it shows what its places cost when blocks end one by one.
  arena: { type: 'ArenaMemoryManager', settings: { regionBytes: 'size', maxRegions: 'count', alignmentBytes: 'size' } },
} satisfies Readonly<Record<string, AnyKind>>;

/** One setting of a manager. */
export interface ManagerSetting {
  /** As it is written: the option in PyTorch's spelling, without its unit. */
  readonly key: string;
  /** The option of the manager's constructor. */
  readonly option: string;
  readonly form: SettingForm;
}

/** A manager that can be named. */
export interface ManagerKind {
  readonly name: string;
  readonly type: keyof ManagerClasses;
  readonly settings: readonly ManagerSetting[];
}

/** The managers that the command and `STOWAGE_CONF` know, by name. */
export const MANAGER_KINDS: ReadonlyMap<string, ManagerKind> = new Map(
  Object.entries<AnyKind>(KINDS).map(([name, { type, settings }]) => [
    name,
    {
      name,
      type,
      settings: Object.entries<SettingForm>(settings).map(([option, form]) => ({ key: keyOf(option), option, form })),
    },
  ]),
);

/** `splitSizeLimitBytes` is written `split_size_limit`. */
function keyOf(option: string): string {
  return option.replace(/Bytes$/, '').replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
