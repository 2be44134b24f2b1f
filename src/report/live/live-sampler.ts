import type { LeakEvent } from '../../core/events.js';
import { type ManagerReading, managerReadings } from '../../core/manager-readings.js';
import type { MemoryHost } from '../../core/memory-host.js';
import { MEMORY_STATISTICS } from '../../core/memory-statistics.js';
import { LiveBlocks } from './live-blocks.js';
import type { LiveHello, LiveManager, LiveReading, LiveSample, LiveUpdate } from './live-data.js';

const KEPT_SAMPLES = 1200;
const KEPT_LEAKS = 100;
/** The map is bigger than a sample, and is looked at more slowly. */
const SAMPLES_PER_MAP = 4;

/** Reads a host's managers from time to time, keeps the last readings, and follows its blocks. */
export class LiveSampler {
  readonly #host: MemoryHost;
  readonly #blocks: LiveBlocks;
  readonly #startMs = performance.now();
  readonly #managers: (LiveManager & { readonly handle: number })[] = [];
  readonly #samples: LiveSample[] = [];
  readonly #leaks = { blocks: 0, bytes: 0, newest: [] as { bytes: number; site: string; ms: number }[] };
  #taken = 0;

  constructor(host: MemoryHost) {
    this.#host = host;
    this.#blocks = new LiveBlocks(host.slot);
    host.events.on('leak', this.#onLeak);
  }

  /** Reads once. @param watched - false leaves out what only a client needs */
  take(watched: boolean): LiveUpdate {
    const sample = this.#read();
    this.#samples.push(sample);
    if (this.#samples.length > KEPT_SAMPLES) this.#samples.shift();
    const withMap = watched && this.#taken++ % SAMPLES_PER_MAP === 0;
    return { managers: this.#named(), sample, map: withMap ? this.#blocks.map() : null, leaks: this.#leaks };
  }

  /** All that a new client needs. */
  hello(): LiveHello {
    const statistics = MEMORY_STATISTICS.map(({ name, unit, kind, help }) => ({ name, unit, kind, help }));
    return { statistics, managers: this.#named(), samples: this.#samples, map: this.#blocks.map(), leaks: this.#leaks };
  }

  stop(): void {
    this.#blocks.stop();
    this.#host.events.off('leak', this.#onLeak);
  }

  #named(): LiveManager[] {
    return this.#managers.map(({ name, slot }) => ({ name, slot }));
  }

  #read(): LiveSample {
    const readings = managerReadings(this.#host);
    for (const { name, slot, handle } of readings) {
      if (!this.#managers.some((known) => known.handle === handle && known.slot === slot)) {
        const same = this.#managers.filter((known) => known.name === name || known.name.startsWith(`${name} #`)).length;
        this.#managers.push({ name: same === 0 ? name : `${name} #${same + 1}`, slot, handle });
      }
    }
    return {
      ms: Math.round(performance.now() - this.#startMs),
      managers: this.#managers.map(({ handle, slot }) => {
        const reading = readings.find((one) => one.handle === handle && one.slot === slot);
        return reading === undefined ? null : liveReading(reading);
      }),
    };
  }

  readonly #onLeak = (event: LeakEvent): void => {
    const leaks = this.#leaks;
    leaks.blocks++;
    leaks.bytes += event.bytes;
    leaks.newest.push({ bytes: event.bytes, site: event.site ?? '', ms: Math.round(performance.now() - this.#startMs) });
    if (leaks.newest.length > KEPT_LEAKS) leaks.newest.shift();
  };
}

/** Adds a manager's devices up. What its slot knows holds also for a manager without statistics. */
function liveReading(reading: ManagerReading): LiveReading {
  const bySlot: Readonly<Record<string, number>> = { reserved: reading.reservedBytes, blocks: reading.liveBlocks };
  const values = MEMORY_STATISTICS.map(
    ({ name, read }) => bySlot[name] ?? reading.devices.reduce((sum, { stats }) => sum + read(stats), 0),
  );
  return { active: reading.active, values };
}
