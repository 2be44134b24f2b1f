import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { SharedLedger } from '../../../src/shared/budget/shared-ledger.js';
import { LedgerScene, PAGE } from './ledgers.js';

const LIMIT = 60;
const MEMBERS = 4;
const URLS = ['shm:a', 'shm:b', 'shm:c'];

/** What one member holds. */
interface Holding {
  readonly id: number;
  readonly ledger: SharedLedger;
  bytes: number;
  wanted: number;
  readonly attached: Map<string, number>;
  isAlive: boolean;
}

/** The same as a ledger, by plain numbers. */
class LedgerModel {
  readonly scene = new LedgerScene(LIMIT, MEMBERS);
  limit = LIMIT;
  /** All that have a cell. */
  holdings: Holding[] = [];
  readonly segments = new Map<string, number>();
  #ids = 0;

  get used(): number {
    const held = this.holdings.reduce((sum, { bytes }) => sum + Math.ceil(bytes / PAGE), 0);
    return held + [...this.segments.values()].reduce((a, b) => a + b, 0);
  }

  get living(): Holding[] {
    return this.holdings.filter(({ isAlive }) => isAlive);
  }

  join(): void {
    if (this.holdings.length === MEMBERS && this.living.length < MEMBERS) this.bury();
    this.#ids++;
    const id = this.#ids;
    const enter = () => this.scene.join(id);
    if (this.holdings.length === MEMBERS) expect(enter).toThrow('members of one ledger');
    else this.holdings.push({ id, ledger: enter(), bytes: 0, wanted: 0, attached: new Map(), isAlive: true });
  }

  /** Forgets who is gone. */
  bury(): void {
    this.holdings = this.living;
    this.dropSegments();
  }

  dropSegments(): void {
    for (const url of this.segments.keys())
      if (!this.holdings.some(({ attached }) => attached.has(url))) this.segments.delete(url);
  }
}

type Step = (model: LedgerModel, on: Holding) => void;

const bytes = fc.oneof(
  fc.nat(3 * PAGE),
  fc.nat(20).map((pages) => pages * PAGE),
  fc.nat(LIMIT * PAGE),
);

const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: bytes.map(taking) },
  { weight: 4, arbitrary: fc.double({ min: 0, max: 1, noNaN: true }).map(giving) },
  bytes.map((size) => (_model: LedgerModel, on: Holding) => {
    on.bytes += size;
    on.ledger.force(size);
  }),
  fc.tuple(fc.constantFrom(...URLS), fc.nat(25)).map(([url, pages]) => attaching(url, pages)),
  fc.constantFrom(...URLS).map(detaching),
  bytes.map((size) => (_model: LedgerModel, on: Holding) => {
    on.wanted = Math.ceil(size / PAGE);
    on.ledger.want(size);
  }),
  fc.integer({ min: 1, max: 2 * LIMIT }).map((pages) => (model: LedgerModel, on: Holding) => {
    model.limit = pages;
    on.ledger.setLimit(pages * PAGE + 1);
  }),
  fc.constant((model: LedgerModel) => model.join()),
  fc.constant((model: LedgerModel, on: Holding) => {
    on.ledger.dispose();
    model.holdings.splice(model.holdings.indexOf(on), 1);
    model.dropSegments();
  }),
  fc.constant((model: LedgerModel, on: Holding) => {
    model.scene.threads.kill(on.id);
    on.isAlive = false;
  }),
  fc.constant((model: LedgerModel, on: Holding) => {
    const before = model.used;
    model.bury();
    expect(on.ledger.returnDead()).toBe((before - model.used) * PAGE);
  }),
);

function taking(size: number): Step {
  return (model, on) => {
    const more = Math.ceil((on.bytes + size) / PAGE) - Math.ceil(on.bytes / PAGE);
    const fits = more === 0 || model.used + more <= model.limit;
    expect(on.ledger.take(size)).toBe(fits);
    if (fits) on.bytes += size;
  };
}

function giving(share: number): Step {
  return (_model, on) => {
    const size = Math.round(share * on.bytes);
    on.ledger.give(size);
    on.bytes -= size;
  };
}

function attaching(url: string, pages: number): Step {
  return (model, on) => {
    const more = Math.max(0, pages - (model.segments.get(url) ?? 0));
    const fits = more === 0 || model.used + more <= model.limit;
    expect(on.ledger.attachSegment(url, pages * PAGE)).toBe(fits);
    if (!fits) return;
    on.attached.set(url, (on.attached.get(url) ?? 0) + 1);
    model.segments.set(url, Math.max(pages, model.segments.get(url) ?? 0));
  };
}

function detaching(url: string): Step {
  return (model, on) => {
    const times = on.attached.get(url);
    if (times === undefined) {
      expect(() => on.ledger.detachSegment(url)).toThrow('attached');
      return;
    }
    on.ledger.detachSegment(url);
    if (times > 1) on.attached.set(url, times - 1);
    else on.attached.delete(url);
    model.dropSegments();
  };
}

function check({ holdings, used, limit }: LedgerModel): void {
  const ledger = holdings.find(({ isAlive }) => isAlive)?.ledger;
  if (ledger === undefined) return;
  expect(ledger.usedBytes).toBe(used * PAGE);
  expect(ledger.limitBytes).toBe(limit * PAGE);
  const readings = new Map(ledger.members().map(({ name, ...reading }) => [name, reading]));
  expect(readings.size).toBe(holdings.length);
  for (const { id, bytes, wanted } of holdings) {
    expect(readings.get(`m${id}`)).toMatchObject({ heldBytes: Math.ceil(bytes / PAGE) * PAGE, wantedBytes: wanted * PAGE });
  }
}

describe('SharedLedger', () => {
  test('does what plain numbers do, whoever joins, leaves and dies', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(steps, fc.nat(MEMBERS - 1)), { maxLength: 80 }), (program) => {
        const model = new LedgerModel();
        model.join();
        for (const [step, who] of program) {
          if (model.living.length === 0) model.join();
          step(model, model.living[who % model.living.length]!);
          check(model);
        }
      }),
      { numRuns: 300 },
    );
  });
});
