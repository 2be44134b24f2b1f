import { type ParsedAllocConf, parseAllocConf } from '../../managers/pytorch/alloc-conf.js';
import { PyTorchMemoryManager } from '../../managers/pytorch/pytorch-memory-manager.js';
import { checkArgument } from '../core/errors.js';
import type { ManagerFactory } from '../core/memory-host.js';
import { checkOptionNames, type OptionNames } from '../core/option-names.js';
import { MiB } from '../core/units.js';
import type { TraceEvents } from '../trace/trace-events.js';
import { GRANULE_BYTES } from './driver-addresses.js';

/** A manager under a setting: PyTorch's allocator, or any other. */
export interface WhatIfSetting {
  /** A value of `PYTORCH_ALLOC_CONF`. @defaultValue an empty one */
  readonly conf?: string | undefined;
  /** The name of another manager, in the results. @defaultValue `pytorch` */
  readonly manager?: string | undefined;
  /** Makes the other manager, for a card with one device. */
  readonly createManager?: ManagerFactory | undefined;
}

/** How much memory there is. */
export interface WhatIfLimit {
  readonly bytes: number;
  /**
   * `process`: the share that PyTorch may reserve (`set_per_process_memory_fraction`), on a card that has more. `card`: all that the card
   * has. Other managers know no share: the two are the same for them. @defaultValue process
   */
  readonly of?: 'process' | 'card' | undefined;
}

const SETTING: OptionNames<WhatIfSetting> = { conf: true, manager: true, createManager: true };
const LIMIT: OptionNames<WhatIfLimit> = { bytes: true, of: true };

/** A setting that was read. */
export interface ReadSetting {
  readonly conf: string | null;
  readonly manager: string;
  readonly parsed: ParsedAllocConf | undefined;
  /** @param limitBytes - the share that PyTorch's allocator may reserve */
  create(limitBytes: number | undefined): ManagerFactory;
}

/** Reads a setting. @throws ERR_MEM_INVALID_ARGUMENT */
export function readSetting(setting: WhatIfSetting): ReadSetting {
  checkOptionNames('a setting', setting, SETTING);
  const { conf = '', manager = 'pytorch', createManager } = setting;
  checkArgument(typeof conf === 'string', 'conf', conf, 'a text');
  checkArgument(createManager === undefined || conf === '', 'conf', JSON.stringify(conf), 'left out beside createManager');
  if (createManager !== undefined) return { conf: null, manager, parsed: undefined, create: () => createManager };
  checkArgument(manager === 'pytorch', 'manager', JSON.stringify(manager), 'pytorch, or a name beside createManager');
  const create = (memoryLimitBytes: number | undefined): ManagerFactory => {
    const limit = memoryLimitBytes === undefined ? {} : { memoryLimitBytes };
    return (deviceCount, table) => new PyTorchMemoryManager(deviceCount, table, { conf, ...limit });
  };
  const parsed = parseAllocConf(conf);
  const { expandableSegments, largeSegmentSizeBytes } = parsed.settings;
  checkArgument(
    !expandableSegments || largeSegmentSizeBytes % GRANULE_BYTES === 0,
    `large_segment_size_mb of ${conf}`,
    largeSegmentSizeBytes / MiB,
    'an even number of MiB where segments are expandable: the pages of a card have 2 MiB',
  );
  return { conf, manager, parsed, create };
}

/** @throws ERR_MEM_INVALID_ARGUMENT for what is no limit */
export function checkLimit(limit: WhatIfLimit): void {
  checkOptionNames('a limit', limit, LIMIT);
  const { bytes, of = 'process' } = limit;
  checkArgument(Number.isSafeInteger(bytes) && bytes > 0, 'limit', bytes, 'a size above 0');
  checkArgument(of === 'process' || of === 'card', 'of', JSON.stringify(of), 'process or card');
}

/** Whether a setting is the one that was in force when the trace was recorded. */
export function isRecorded({ parsed }: ReadSetting, { allocator }: TraceEvents): boolean {
  if (parsed === undefined || allocator?.conf === undefined) return false;
  try {
    return JSON.stringify(parseAllocConf(allocator.conf).settings) === JSON.stringify(parsed.settings);
  } catch {
    // A recorded setting that this version does not know is no setting that can be asked for.
    return false;
  }
}
