import { StowageEncoder } from '../../src/trace/formats/stowage-encoder.js';
import { RECORD } from '../../src/trace/formats/stowage-format.js';
import { TraceKind } from '../../src/trace/trace-events.js';
import { writeAnew } from '../fixtures/write-anew.js';

/** How a program leaks. */
export interface Leak {
  /** `slow`: a block now and then; `bursty`: many at a few moments; `churn`: some of the blocks of the busiest site. */
  readonly kind: 'slow' | 'bursty' | 'churn';
  readonly blocks: number;
  /** Whether its site does nothing else. */
  readonly own: boolean;
}

interface Site {
  readonly name: string;
  readonly tag: string;
  readonly kind: 'permanent' | 'request' | 'uniform' | 'exponential' | 'heavy tail' | 'full cache';
  readonly rate: number;
  /** The mean life of its blocks, in events. */
  readonly life: number;
  readonly bytes: number;
  /** How much sizes vary. */
  readonly spread: number;
  /** Blocks of a cache, a request, or a start. */
  readonly blocks: number;
}

const KINDS = ['permanent', 'request', 'uniform', 'exponential', 'exponential', 'heavy tail', 'full cache'] as const;

/** A random program that records itself: its sites are those of `shape`, what it does in one run is that of `seed`. */
export class LeakingProgram {
  readonly sites: readonly Site[];
  /** Where it leaks, if it does. */
  readonly leakSite: string;
  readonly #victim: Site;

  constructor(
    readonly shape: number,
    readonly leak?: Leak,
  ) {
    const random = randomNumbers(shape);
    const makeSite = (i: number): Site => ({
      name: `at work${i} (file:///app/work.js:${i + 1}:7)`,
      tag: random() < 0.3 ? `part ${i % 3}` : '',
      // A program that does nothing records nothing.
      kind: i === 0 ? 'exponential' : KINDS[Math.floor(random() * KINDS.length)]!,
      rate: Math.exp(random() * 4),
      life: Math.exp(2 + random() * 5),
      bytes: Math.exp(4 + random() * 9),
      spread: random() < 0.4 ? 0 : random(),
      blocks: 5 + Math.floor(random() * 100),
    });
    this.sites = Array.from({ length: 3 + Math.floor(random() * 25) }, (_, i) => makeSite(i));
    const busy = this.sites.filter(({ kind }) => kind !== 'permanent' && kind !== 'full cache');
    const busiest = busy.reduce((one, other) => (other.rate > one.rate ? other : one));
    const shared = leak?.kind === 'churn' ? busiest : busy[Math.floor(random() * busy.length)]!;
    const own: Site = { ...shared, name: 'at leak (file:///app/leak.js:1:1)', bytes: Math.exp(4 + random() * 9) };
    this.#victim = leak?.own === true ? own : shared;
    this.leakSite = this.#victim.name;
  }

  /** Writes the recording of a run. */
  record(file: string, seed: number, events: number): void {
    const chunks: Uint8Array[] = [];
    const encoder = new StowageEncoder({ name: 'program', startedAt: '', pid: 1, clockEvents: 64 }, (bytes) =>
      chunks.push(bytes.slice()),
    );
    const run = new Run(encoder, randomNumbers(seed * 7919 + this.shape));
    for (const site of this.sites) run.start(site);
    const leaks = this.#leakTimes(run.random, events);
    const rates = this.sites.map(({ kind, rate }) => (kind === 'permanent' ? 0 : rate));
    const total = rates.reduce((sum, rate) => sum + rate, 0);
    while (run.event < events) {
      run.freeDue();
      if (leaks[0] !== undefined && leaks[0] <= run.event) {
        leaks.shift();
        run.alloc(this.#victim);
        continue;
      }
      let pick = run.random() * total;
      const i = rates.findIndex((rate) => (pick -= rate) < 0);
      if (i >= 0) run.work(this.sites[i]!);
    }
    encoder.end();
    writeAnew(file, Buffer.concat(chunks));
  }

  #leakTimes(random: () => number, events: number): number[] {
    const { kind, blocks } = this.leak ?? { kind: 'slow', blocks: 0 };
    const bursts = Array.from({ length: 3 }, () => events * (0.1 + 0.7 * random()));
    const times = Array.from({ length: blocks }, (_, i) =>
      kind === 'bursty' ? bursts[i % bursts.length]! : (events * (i + random())) / blocks,
    );
    return times.sort((a, b) => a - b);
  }
}

/** A run of a program. */
class Run {
  event = 0;
  /** Blocks, and the events at which they are freed, the last one first. */
  readonly #due: { readonly at: number; readonly address: number }[] = [];
  readonly #caches = new Map<Site, number[]>();
  #address = 4096;

  constructor(
    readonly encoder: StowageEncoder,
    readonly random: () => number,
  ) {}

  alloc({ name, tag, bytes, spread }: Site): number {
    const normal = Math.sqrt(-2 * Math.log(1 - this.random())) * Math.cos(2 * Math.PI * this.random());
    this.encoder.setNumber(RECORD.clock, this.event * 1000);
    this.encoder.setName(RECORD.tag, tag);
    this.encoder.setName(RECORD.site, name);
    this.encoder.sized(TraceKind.alloc, (this.#address += 4096), Math.ceil(bytes * Math.exp(spread * normal)));
    this.event++;
    return this.#address;
  }

  start(site: Site): void {
    if (site.kind !== 'permanent' && site.kind !== 'full cache') return;
    const blocks = Array.from({ length: site.blocks }, () => this.alloc(site));
    if (site.kind === 'full cache') this.#caches.set(site, blocks);
  }

  work(site: Site): void {
    const { kind, life, blocks } = site;
    const part = 1 - this.random();
    if (kind === 'request') {
      const end = this.event + blocks + life * (0.2 + 1.6 * part);
      for (let i = 0; i < blocks; i++) this.#freeAt(end, this.alloc(site));
    } else if (kind === 'full cache') {
      const cache = this.#caches.get(site)!;
      this.#free(cache.splice(Math.floor(this.random() * cache.length), 1)[0]!);
      cache.push(this.alloc(site));
    } else if (kind === 'uniform') this.#freeAt(this.event + 2 * life * part, this.alloc(site));
    else if (kind === 'exponential') this.#freeAt(this.event - life * Math.log(part), this.alloc(site));
    else this.#freeAt(this.event + (life / 3) * part ** (-1 / 1.5), this.alloc(site));
  }

  freeDue(): void {
    while ((this.#due.at(-1)?.at ?? Number.POSITIVE_INFINITY) <= this.event) this.#free(this.#due.pop()!.address);
  }

  #freeAt(at: number, address: number): void {
    let low = 0;
    for (let high = this.#due.length; low < high; ) {
      const middle = (low + high) >> 1;
      if (this.#due[middle]!.at > at) low = middle + 1;
      else high = middle;
    }
    this.#due.splice(low, 0, { at, address });
  }

  #free(address: number): void {
    this.encoder.free(address);
    this.event++;
  }
}

/** Numbers from 0 to 1, the same for the same seed. @see Source: mulberry32 */
function randomNumbers(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
