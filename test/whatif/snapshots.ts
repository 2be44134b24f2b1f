import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

/** What PyTorch reported of one run on a card; see the fields in its memory_stats. */
export interface ReportedRun {
  readonly config: string;
  readonly limitBytes: number | null;
  readonly ok: boolean;
  readonly peakReserved: number;
  readonly peakAllocated: number;
  readonly retries: number;
  readonly ooms: number;
  readonly deviceAllocs: number;
  readonly deviceFrees: number;
  readonly snapshot?: string | null;
}

const HERE = join(import.meta.dirname, 'snapshots');
const POOLS = join(import.meta.dirname, '../trace/snapshots');
/** All snapshots; too large for the repository. */
const ALL = join(import.meta.dirname, '../../../shared/snapshots');

/** The snapshot that all settings are predicted from. */
export const DEFAULT_SNAPSHOT = join(HERE, 'default.pickle.gz');

/** What PyTorch reported under each setting and limit. */
export const REPORTED: readonly ReportedRun[] = readdirSync(HERE)
  .filter((name) => name.endsWith('.json'))
  .sort()
  .flatMap((name) => JSON.parse(readFileSync(join(HERE, name), 'utf8')) as ReportedRun[]);

/** The setting of a row, as PYTORCH_ALLOC_CONF has it. */
export const confOf = ({ config }: ReportedRun): string => (config === '-' ? '' : config);

/** A snapshot, its limit, and what PyTorch reserved and allocated at most. */
export interface OwnRun {
  readonly name: string;
  readonly path: string;
  readonly limitBytes: number | null;
  readonly peakReserved: number;
  readonly peakAllocated: number;
}

const GiB = 2 ** 30;

/** Small programs with private pools, and one that runs out of memory in 2 GiB. */
const POOL_RUNS: readonly OwnRun[] = readdirSync(POOLS)
  .filter((name) => name.endsWith('.pickle.gz'))
  .map((name) => {
    const counters = JSON.parse(readFileSync(join(POOLS, name.replace('.pickle.gz', '.json')), 'utf8')) as Record<string, number>;
    return {
      name,
      path: join(POOLS, name),
      limitBytes: name.startsWith('oom') ? 2 * GiB : null,
      peakReserved: counters['reserved_bytes.all.peak']!,
      peakAllocated: counters['allocated_bytes.all.peak']!,
    };
  });

/** Those of one program under nine settings, unlimited and limited: here that of the default, elsewhere all of them. */
const PROGRAM_RUNS: readonly OwnRun[] = REPORTED.flatMap(({ snapshot, limitBytes, peakReserved, peakAllocated }) => {
  if (!snapshot) return [];
  const path = [HERE, ALL].map((folder) => join(folder, snapshot)).find((file) => existsSync(file));
  return path === undefined ? [] : [{ name: basename(path), path, limitBytes, peakReserved, peakAllocated }];
});

/** Each snapshot against what PyTorch itself reported of it. */
export const OWN_RUNS: readonly OwnRun[] = [...PROGRAM_RUNS, ...POOL_RUNS];
