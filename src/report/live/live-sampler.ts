import type { LeakEvent } from '../../core/events.js';
import { type ManagerReading, managerReadings } from '../../core/manager-readings.js';
import type { MemoryHost } from '../../core/memory-host.js';
import { MEMORY_STATISTICS } from '../../core/memory-statistics.js';
import { BudgetSampler } from './budget-sampler.js';
import { LiveBlocks } from './live-blocks.js';
import type { LiveHello, LiveLeaks, LiveManager, LiveReading, LiveSample, LiveUpdate } from './live-data.js';
import type { SiteSource } from './live-sites.js';

const KEPT_SAMPLES = 1200;
const KEPT_LEAKS = 100;
/** How many stopped managers are still shown. */
const KEPT_STOPPED = 8;
/** The map and the tables of budgets are larger than a sample, and are sent less often. */
const SAMPLES_PER_MAP = 4;

interface KnownManager extends LiveManager {
  readonly handle: number;
  /** Its name without the number that distinguishes managers of the same name. */
  readonly kind: string;
  readonly number: number;
  /** The last reading that contained it. */
  seen: number;
}

/** Reads a host's managers and the budgets at intervals, keeps the last readings, and follows the host's blocks. */
export class LiveSampler {
  readonly #blocks: LiveBlocks;
  readonly #budgets = new BudgetSampler();
  readonly #startMs = performance.now();
  #managers: KnownManager[] = [];
  #lastId = -1;
  #readings = 0;
  readonly #samples: LiveSample[] = [];
  readonly #leaks = { blocks: 0, bytes: 0, newest: [] as LiveLeaks['newest'][number][] };
  #taken = 0;

  /** @param source - gives the sites of allocations; undefined leaves them to the managers that record them */
  constructor(
    readonly host: MemoryHost,
    source?: SiteSource,
  ) {
    this.#blocks = new LiveBlocks(host.slot, source);
    host.events.on('leak', this.#onLeak);
  }

  /** Reads once. @param watched - false leaves out what only a client needs */
  take(watched: boolean): LiveUpdate {
    const sample = this.#read();
    this.#samples.push(sample);
    if (this.#samples.length > KEPT_SAMPLES) this.#samples.shift();
    this.#blocks.followGrowth();
    const isWhole = watched && this.#taken++ % SAMPLES_PER_MAP === 0;
    const map = isWhole ? this.#blocks.map() : null;
    const budgets = isWhole ? this.#budgets.budgets() : null;
    return { managers: this.#named(), sample, map, leaks: this.#leaks, budgets };
  }

  /** All that a new client needs. */
  hello(): LiveHello {
    const statistics = MEMORY_STATISTICS.map(({ name, unit, kind, help }) => ({ name, unit, kind, help }));
    return {
      statistics,
      managers: this.#named(),
      samples: this.#samples,
      map: this.#blocks.map(),
      leaks: this.#leaks,
      budgets: this.#budgets.budgets(),
    };
  }

  stop(): void {
    this.#blocks.stop();
    this.host.events.off('leak', this.#onLeak);
  }

  #named(): LiveManager[] {
    return this.#managers.map(({ id, name, slot }) => ({ id, name, slot }));
  }

  #read(): LiveSample {
    const ms = Math.round(performance.now() - this.#startMs);
    const managers: Record<number, LiveReading> = {};
    this.#readings++;
    for (const reading of managerReadings(this.host)) {
      const isSame = ({ handle, slot }: KnownManager) => handle === reading.handle && slot === reading.slot;
      const known = this.#managers.find(isSame) ?? this.#meet(reading);
      known.seen = this.#readings;
      managers[known.id] = liveReading(reading);
    }
    const stopped = this.#managers.filter(({ id }) => managers[id] === undefined).sort((a, b) => b.seen - a.seen);
    const dropped = stopped.slice(KEPT_STOPPED);
    this.#managers = this.#managers.filter((manager) => !dropped.includes(manager));
    return { ms, managers, budgets: this.#budgets.read(ms) };
  }

  #meet({ name: kind, slot, handle }: ManagerReading): KnownManager {
    const number = 1 + Math.max(0, ...this.#managers.filter((known) => known.kind === kind).map((known) => known.number));
    const name = number === 1 ? kind : `${kind} #${number}`;
    const manager = { id: ++this.#lastId, name, slot, handle, kind, number, seen: 0 };
    this.#managers.push(manager);
    return manager;
  }

  readonly #onLeak = (event: LeakEvent): void => {
    const leaks = this.#leaks;
    leaks.blocks++;
    leaks.bytes += event.bytes;
    leaks.newest.push({ bytes: event.bytes, site: event.site ?? '', ms: Math.round(performance.now() - this.#startMs) });
    if (leaks.newest.length > KEPT_LEAKS) leaks.newest.shift();
  };
}

/** Adds up a manager's devices. The figures of its slot are known also without statistics. */
function liveReading(reading: ManagerReading): LiveReading {
  const bySlot: Readonly<Record<string, number>> = { reserved: reading.reservedBytes, blocks: reading.liveBlocks };
  const values = MEMORY_STATISTICS.map(
    ({ name, read }) => bySlot[name] ?? reading.devices.reduce((sum, { stats }) => sum + read(stats), 0),
  );
  return { active: reading.active, values };
}
