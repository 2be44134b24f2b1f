import { join } from 'node:path';
import { ContestantProcess } from './contestant-process.js';
import { type Contestant, POOL } from './contestants.js';
import { writeEventFile } from './event-file.js';
import { type GrowthEvents, growthEvents, type SizeProgram } from './growth-events.js';

/** What a pair of alloc and free costs, by live blocks; or, in the row of the control, what a random read costs, by rows. */
export interface GrowthRow {
  readonly allocator: string;
  readonly program: string;
  /** Nanoseconds, in the order of {@link LIVE_BLOCKS}; null where the allocator failed. */
  readonly ns: readonly (number | null)[];
  /** Why there is no figure where there is none. */
  readonly failures: readonly string[];
}

/** What growth is measured with. */
export interface GrowthPlan {
  /** Of these, the native peers and those managers whose growth has a target. */
  readonly contestants: readonly Contestant[];
  /** How many blocks are live. @defaultValue {@link LIVE_BLOCKS} */
  readonly liveBlocks?: readonly number[];
  /** A folder for event files. */
  readonly folder: string;
  /** The file of contestant-main. */
  readonly main: string;
  readonly onProgress: (what: string) => void;
}

/** How many blocks are live while growth is measured. */
export const LIVE_BLOCKS = [1e3, 1e4, 1e5, 1e6] as const;
const PROGRAMS: readonly SizeProgram[] = ['one size', 'mixed sizes'];
const MANAGERS: readonly string[] = ['caching', 'tlsf', POOL];
const EVENTS_PER_PAIR = 2;

/** A row on its way. */
interface Run {
  readonly contestant: Contestant;
  readonly program: SizeProgram;
  readonly ns: (number | null)[];
  readonly failures: string[];
}

/**
 * Measures how costs grow with the number of live blocks: each time in a process of its own, one after the other.
 *
 * @returns no rows where none of those managers takes part
 */
export async function measureGrowth(plan: GrowthPlan): Promise<GrowthRow[]> {
  const { contestants, liveBlocks = LIVE_BLOCKS, folder, main, onProgress } = plan;
  if (!contestants.some(isGrowing)) return [];
  const rows: Run[] = contestants
    .filter((contestant) => contestant.native !== undefined || isGrowing(contestant))
    .flatMap((contestant) => PROGRAMS.map((program) => ({ contestant, program, ns: [], failures: [] })));
  const eventFile = join(folder, 'growth.events');
  for (const program of PROGRAMS) {
    for (const count of liveBlocks) {
      const events = growthEvents(program, count);
      writeEventFile(eventFile, events);
      for (const row of rows.filter((other) => other.program === program)) {
        onProgress(`growth: ${row.contestant.name}, ${program}, ${count} live blocks`);
        await addFigure(row, new ContestantProcess(row.contestant, eventFile, main), events);
      }
    }
  }
  return rows.map(({ contestant, ...row }) => ({ allocator: contestant.name, ...row }));
}

function isGrowing({ name }: Contestant): boolean {
  return MANAGERS.includes(name);
}

/** A contestant that fails stays in the table, with the reason. */
async function addFigure({ ns, failures }: Run, process: ContestantProcess, events: GrowthEvents): Promise<void> {
  try {
    const nsPerEvent = await process.parts(events.untimed, events.parts);
    ns.push(nsPerEvent * EVENTS_PER_PAIR);
  } catch (error) {
    ns.push(null);
    failures.push(`${events.slotCount} live: failed: ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    process.stop();
  }
}
