import type { LedgerMember } from '../../../src/budget/budget-ledger.js';
import type { MemoryBackend } from '../../../src/shared/backends/memory-backend.js';
import { Cell } from '../../../src/shared/budget/ledger-layout.js';
import { createLedgerMemory } from '../../../src/shared/budget/ledger-memory.js';
import { formatLedger, LedgerWords } from '../../../src/shared/budget/ledger-words.js';
import { LedgerEnding, SharedLedger } from '../../../src/shared/budget/shared-ledger.js';
import { MortalRegion } from '../crashes.js';
import { FakeThreads } from '../regions.js';

export const PAGE = 4096;

export function member(name: string, values: Partial<LedgerMember> = {}): LedgerMember {
  return { name, priority: 0, minimumBytes: 0, ...values };
}

/** A ledger in this process whose members live as long as a test says. */
export class LedgerScene {
  readonly threads = new FakeThreads();
  readonly #backend: MemoryBackend;

  constructor(limitPages: number, members = 8) {
    const limitBytes = limitPages * PAGE;
    this.#backend = createLedgerMemory({ limitBytes }, members).backend;
    formatLedger(this.#backend, members, limitPages);
  }

  /** Another member, on a thread of its own. */
  join(id: number, values: Partial<LedgerMember> = {}): SharedLedger {
    return this.#open(new LedgerWords(this.#backend.region), id, values);
  }

  /** A region whose thread dies before a chosen store. */
  mortalRegion(): MortalRegion {
    return new MortalRegion(this.#backend.region);
  }

  /** A member on such a region. */
  joinMortal(region: MortalRegion, id: number, values: Partial<LedgerMember> = {}): SharedLedger {
    const words = new LedgerWords(region);
    Object.defineProperty(words, 'int64', { value: region.mortal(words.int64) });
    return this.#open(words, id, values);
  }

  /** The words of the ledger, to be damaged. */
  get words(): LedgerWords {
    return new LedgerWords(this.#backend.region);
  }

  #open(words: LedgerWords, id: number, values: Partial<LedgerMember>): SharedLedger {
    const memory = { backend: { ...keeping, region: this.#backend.region } as MemoryBackend, token: new SharedArrayBuffer(0) };
    return new SharedLedger(memory, member(`m${id}`, values), {
      ending: new LedgerEnding(),
      words,
      watch: this.threads.watch(id),
    });
  }
}

/** The memory outlives its members. */
const keeping = { dispose: () => undefined };

/** Counts pages as claimed by the member of a cell, as one does that is in the middle of taking. */
export function claim({ words }: LedgerScene, cell: number, pages: number): void {
  words.int32[words.cellAt(cell) + Cell.claim] = pages;
  words.int32[words.cellAt(cell) + Cell.held]! += pages;
}

/** Runs `work` with something before and after loads; what that loads itself is left alone. */
export function aroundLoads(around: (index: number, load: () => number) => number, work: () => void): void {
  const { load } = Atomics;
  let isInside = false;
  const wrapped = (words: Int32Array, index: number): number => {
    if (isInside) return load(words, index);
    isInside = true;
    try {
      return around(index, () => load(words, index));
    } finally {
      isInside = false;
    }
  };
  Object.assign(Atomics, { load: wrapped });
  try {
    work();
  } finally {
    Object.assign(Atomics, { load });
  }
}

/** The limit of {@link made} in pages. */
export const LIMIT_PAGES = 100;

/** A ledger for the workers of this process. */
export function made(limitPages = LIMIT_PAGES): SharedLedger {
  return SharedLedger.create({ limitBytes: limitPages * PAGE }, member('creator'));
}
