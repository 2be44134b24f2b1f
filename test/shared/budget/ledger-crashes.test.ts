import { describe, expect, test } from 'vitest';
import { CELL_WORDS, Cell, Control } from '../../../src/shared/budget/ledger-layout.js';
import type { SharedLedger } from '../../../src/shared/budget/shared-ledger.js';
import { atLeast, is } from '../../fixtures/same.js';
import { ThreadDied, withMortalAtomics } from '../crashes.js';
import { LedgerScene, PAGE } from './ledgers.js';

const LIMIT = 100;
const SURVIVOR = 1;
const MORTAL = 2;
const HELPER = 3;
const NEXT = 4;
const OTHERS = 'shm:others';
const COMMON = 'shm:common';
const OWN = 'shm:own';
/** What the survivor holds: 10 pages of its own, and two segments. */
const SURVIVORS = 10 + 4 + 6;

type Operation = (mortal: SharedLedger, scene: LedgerScene) => void;

const OPERATIONS: readonly [string, Operation][] = [
  ['taking', (mortal) => expect(mortal.take(7 * PAGE)).toBe(true)],
  ['taking what does not fit', (mortal) => expect(mortal.take(90 * PAGE)).toBe(false)],
  [
    'taking while another claims what is left',
    (mortal, scene) => {
      claim(scene, 0, 70);
      expect(mortal.take(20 * PAGE)).toBe(false);
      claim(scene, 0, 0);
    },
  ],
  ['forcing', (mortal) => mortal.force(500 * PAGE)],
  ['giving', (mortal) => mortal.give(3 * PAGE)],
  ['telling what is cached', (mortal) => mortal.publishCached(3 * PAGE)],
  ['wanting', (mortal) => mortal.want(3 * PAGE)],
  ['attaching a segment that another has', (mortal) => expect(mortal.attachSegment(OTHERS, 4 * PAGE)).toBe(true)],
  ['attaching one that nobody has', (mortal) => expect(mortal.attachSegment('shm:new', 9 * PAGE)).toBe(true)],
  ['attaching one for more', (mortal) => expect(mortal.attachSegment(COMMON, 15 * PAGE)).toBe(true)],
  ['attaching one that does not fit', (mortal) => expect(mortal.attachSegment('shm:new', 99 * PAGE)).toBe(false)],
  ['detaching one that another has as well', (mortal) => mortal.detachSegment(COMMON)],
  ['detaching one that nobody else has', (mortal) => mortal.detachSegment(OWN)],
  ['changing the limit', (mortal) => mortal.setLimit(LIMIT * PAGE)],
  ['leaving', (mortal) => mortal.dispose()],
  [
    'returning what another held',
    (mortal, scene) => {
      const other = scene.join(5, { name: 'other' });
      other.attachSegment(OTHERS, 4 * PAGE);
      other.attachSegment('shm:of the other', 2 * PAGE);
      other.take(3 * PAGE);
      scene.threads.kill(5);
      mortal.returnDead();
    },
  ],
];

/** Counts pages as claimed by the member of a cell, as one does that is in the middle of taking. */
function claim({ words }: LedgerScene, cell: number, pages: number): void {
  const at = Control.cells + cell * CELL_WORDS;
  words.int32[at + Cell.held]! += pages - words.int32[at + Cell.claim]!;
  words.int32[at + Cell.claim] = pages;
}

/** Has a member die before its store `lastStore` of an operation, or of entering. @returns whether it died; what is left is checked */
function dieAt(operate: Operation | 'entering', lastStore: number, helpUntil = Number.POSITIVE_INFINITY): boolean {
  const scene = new LedgerScene(LIMIT, 6);
  const survivor = scene.join(SURVIVOR, { name: 'survivor' });
  survivor.take(10 * PAGE);
  survivor.attachSegment(OTHERS, 4 * PAGE);
  survivor.attachSegment(COMMON, 6 * PAGE);
  const region = scene.mortalRegion();
  if (operate === 'entering') region.lastStore = lastStore;
  const died = diesOf(() => {
    const mortal = scene.joinMortal(region, MORTAL, { name: 'mortal', minimumBytes: PAGE });
    mortal.take(5 * PAGE);
    mortal.attachSegment(COMMON, 6 * PAGE);
    mortal.attachSegment(OWN, 8 * PAGE);
    if (operate === 'entering') return;
    region.stores = 0;
    region.lastStore = lastStore;
    operate(mortal, scene);
  });
  if (!died) return false;
  // Until it is returned, nothing that the living hold is missing.
  atLeast(survivor.usedBytes, SURVIVORS * PAGE);
  scene.threads.kill(MORTAL);
  claim(scene, 0, 0);
  if (helpUntil < Number.POSITIVE_INFINITY) {
    const helpers = scene.mortalRegion();
    const helper = scene.joinMortal(helpers, HELPER);
    helpers.stores = 0;
    helpers.lastStore = helpUntil;
    const helperDied = diesOf(() => void helper.returnDead());
    scene.threads.kill(HELPER);
    if (!helperDied) return false;
  }
  survivor.returnDead();
  survivor.returnDead();
  // What one has said to be larger stays so for the others that have it.
  survivor.detachSegment(COMMON);
  is(survivor.attachSegment(COMMON, 6 * PAGE), true);
  is(survivor.usedBytes, SURVIVORS * PAGE, `after dying at store ${lastStore}, helped until ${helpUntil}`);
  is(
    survivor
      .members()
      .map(({ name }) => name)
      .join(),
    'survivor',
  );
  // The others go on: all cells are free, all that is left can be taken, and all segments can be counted.
  const next = [0, 1, 2, 3, 4].map((i) => scene.join(NEXT + 10 + i));
  is(next[0]!.take((LIMIT - SURVIVORS) * PAGE), true);
  is(next[1]!.take(1), false);
  next[0]!.give((LIMIT - SURVIVORS) * PAGE);
  is(next[1]!.attachSegment(OWN, (LIMIT - SURVIVORS) * PAGE), true);
  for (const ledger of next) ledger.dispose();
  survivor.detachSegment(COMMON);
  survivor.dispose();
  const { words } = scene;
  is(words.countedPages(), 0);
  is(
    words.int32.subarray(Control.cells, words.parts.entries).every((word) => word === 0),
    true,
  );
  return true;
}

/** @returns whether `work` was broken off */
function diesOf(work: () => void): boolean {
  try {
    work();
    return false;
  } catch (error) {
    if (!(error instanceof ThreadDied)) throw error;
    return true;
  }
}

describe('SharedLedger', () => {
  describe('a member that dies before any store of', () => {
    test.each([['entering', 'entering'] as const, ...OPERATIONS])('%s leaves nothing behind', (_, operate) => {
      withMortalAtomics(() => {
        let store = 0;
        while (dieAt(operate, store)) store++;
        expect(store).toBeGreaterThan(0);
      });
    });
  });

  describe('a member that dies before any store of returning', () => {
    // How many stores there are while another claims depends on the time.
    const counted = OPERATIONS.filter(([name]) => !name.includes('another claims'));
    test.each([['entering', 'entering'] as const, ...counted])(
      'lets the next one do it again, after a death while %s',
      (_, operate) => {
        withMortalAtomics(() => {
          let deaths = 0;
          for (let store = 0; dieAt(operate, store); store++) {
            let helped = 0;
            while (dieAt(operate, store, helped)) helped++;
            deaths += helped;
          }
          // Behind the last store that matters, there is nothing to return.
          expect(deaths).toBeGreaterThan(10);
        });
      },
    );
  });
});
