import { captureSite, formatSite } from '../../core/allocation-site.js';
import { EventRing, type RingListener } from '../../core/event-ring.js';
import { processState } from '../../core/process-state.js';

/** Between two samples lies so many times what one takes, at least: a program that allocates faster has fewer of them. */
const LEAST_PAUSE = 250;
/** From so many times on there are more again, up to one in the bytes that were asked for. */
const MOST_PAUSE = 1000;
/** A sample takes less, unless the process was made to wait. */
const MOST_TOOK_MS = 0.2;
/** So much of the time between two chunks counts as allocating: a microsecond an event. */
const MOST_TURN_MS = 0.5;
const MOST_SAMPLE_BYTES = 2 ** 46;
const KEPT_SITES = 4096;

/** An allocation that was chosen by chance, with a probability that grows with its bytes. */
export interface SiteSample {
  readonly ptr: number;
  readonly bytes: number;
  readonly site: string;
  readonly tag: string;
  /** The number of the event in the ring. */
  readonly event: number;
  readonly ms: number;
  /** So many blocks of its size stand behind it, on average. */
  readonly weight: number;
  /** The event that freed it; undefined while it lives. */
  freed: number | undefined;
}

/**
 * Chooses allocations of a ring by a Poisson process over their bytes, and takes their sites and tags. A block is chosen with
 * probability `1 - exp(-bytes / sampleBytes)`, so that each one chosen stands for one over that. `sampleBytes` grows while samples
 * come fast, and shrinks again: the draw of each sample is by the rate that holds at that moment.
 *
 * @see Source: the heap profiles of tcmalloc and of V8 sample in the same way
 */
export class SiteSamples implements RingListener {
  readonly ring: EventRing;
  /** The live ones, by pointer. */
  readonly live = new Map<number, SiteSample>();
  /** Those that were freed by an event that the ring still has. */
  readonly gone = new Set<SiteSample>();
  readonly #process = processState();
  readonly #sites = new Map<string, string>();
  /** The bytes between samples now. */
  #bytes: number;
  /** How long the program has been allocating; pauses count little. */
  #activeMs = 0;
  #turnedMs = performance.now();
  /** The last sample: when it was in active time, and what it took. */
  #sampledMs = 0;
  #tookMs = 0;

  /**
   * @param ringBytes - of the ring
   * @param sampleBytes - between two samples, on average
   * @param frames - of each site
   */
  constructor(
    ringBytes: number,
    readonly sampleBytes: number,
    readonly frames: number,
  ) {
    this.#bytes = sampleBytes;
    this.ring = new EventRing(ringBytes, this.#draw(), this);
  }

  sample(ptr: number, bytes: number, event: number): number {
    const ms = performance.now();
    const weight = 1 / -Math.expm1(-bytes / this.#bytes);
    const site = this.frames === 0 ? '' : this.#known(formatSite(captureSite(this.frames), this.frames));
    const tag = this.#process.allocationTag ?? '';
    const before = this.live.get(ptr);
    // Its free was not looked for yet.
    if (before !== undefined) this.#retire(before, event);
    this.live.set(ptr, { ptr, bytes, site, tag, event, ms, weight, freed: undefined });
    this.ring.lookFor(ptr);
    this.#count(ms);
    if (this.#pauseMs < LEAST_PAUSE * this.#tookMs) this.#bytes = Math.min(MOST_SAMPLE_BYTES, this.#bytes * 2);
    else this.#relax();
    this.#sampledMs = this.#activeMs;
    this.#tookMs = Math.min(MOST_TOOK_MS, performance.now() - ms);
    return this.#draw();
  }

  freed(ptr: number, event: number): void {
    const sample = this.live.get(ptr);
    if (sample !== undefined && sample.event < event) this.#retire(sample, event);
  }

  turned(nowMs: number, left: number): number {
    for (const sample of this.gone) {
      if (sample.freed! >= this.ring.first) break;
      this.gone.delete(sample);
    }
    // What is left has no memory: it may be drawn again at any time.
    this.#count(nowMs);
    return this.#relax() ? this.#draw() : left;
  }

  get #pauseMs(): number {
    return this.#activeMs - this.#sampledMs;
  }

  #count(nowMs: number): void {
    this.#activeMs += Math.min(MOST_TURN_MS, nowMs - this.#turnedMs);
    this.#turnedMs = nowMs;
  }

  #relax(): boolean {
    if (this.#bytes === this.sampleBytes || this.#pauseMs < MOST_PAUSE * this.#tookMs) return false;
    this.#bytes = Math.max(this.sampleBytes, this.#bytes / 2);
    return true;
  }

  /** Bytes to the next sample. */
  #draw(): number {
    return -Math.log(1 - Math.random()) * this.#bytes;
  }

  #retire(sample: SiteSample, event: number): void {
    this.live.delete(sample.ptr);
    this.ring.forget(sample.ptr);
    sample.freed = event;
    this.gone.add(sample);
  }

  /** One text for equal sites. */
  #known(site: string): string {
    const known = this.#sites.get(site);
    if (known !== undefined) return known;
    if (this.#sites.size === KEPT_SITES) this.#sites.clear();
    this.#sites.set(site, site);
    return site;
  }
}
