import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { beforeAll, describe, expect, test } from 'vitest';
import { GiB, MiB } from '../../../src/core/units.js';
import { Cell, Control } from '../../../src/shared/budget/ledger-layout.js';
import { SharedLedger } from '../../../src/shared/budget/shared-ledger.js';
import { codeOf } from '../../fixtures/code-of.js';
import { compiled, moduleUrl, runChild } from '../../fixtures/compiled.js';
import { expectNothingLeft, freshName } from '../names.js';
import { aroundLoads, claim, LedgerScene, LIMIT_PAGES, made, member, PAGE } from './ledgers.js';

expectNothingLeft();

beforeAll(() => {
  compiled();
}, 120_000);

describe('SharedLedger', () => {
  describe('take', () => {
    test('counts whole pages of all that a member holds', () => {
      using ledger = made();
      for (let i = 0; i < 10; i++) expect(ledger.take(1000)).toBe(true);
      expect(ledger.usedBytes).toBe(3 * PAGE);
      ledger.give(9999);
      expect(ledger.usedBytes).toBe(PAGE);
      ledger.give(1);
      expect(ledger.usedBytes).toBe(0);
    });

    test('changes nothing when it does not fit', () => {
      using ledger = made();
      expect(ledger.take(99.5 * PAGE)).toBe(true);
      expect(ledger.take(PAGE)).toBe(false);
      expect(ledger.take(8 * GiB * 1024 * 8)).toBe(false);
      expect(ledger.usedBytes).toBe(100 * PAGE);
      expect(ledger.take(0.5 * PAGE)).toBe(true);
      expect(ledger.take(0)).toBe(true);
      expect(ledger.take(1)).toBe(false);
    });

    test.each([-1, 0.5, Number.NaN, 2 ** 53])('refuses %s as a size', (bytes) => {
      using ledger = made();
      for (const call of [ledger.take, ledger.force, ledger.give, ledger.want, ledger.publishCached]) {
        expect(codeOf(() => call.call(ledger, bytes))).toBe('ERR_MEM_INVALID_SIZE');
      }
    });

    test('is not refused for what goes from one member to another while it looks', () => {
      const scene = new LedgerScene(30);
      const [a, b, c] = [1, 2, 3].map((id) => scene.join(id)) as [SharedLedger, SharedLedger, SharedLedger];
      a.take(10 * PAGE);
      const heldOfA = scene.words.cellAt(0) + Cell.held;
      let moves = 0;
      const move = (from: SharedLedger, to: SharedLedger) => {
        from.give(10 * PAGE);
        expect(to.take(10 * PAGE)).toBe(true);
        moves++;
      };
      // Each of the first sums finds the ten pages in both cells.
      const around = (index: number, load: () => number): number => {
        if (index !== heldOfA || moves >= 9) return load();
        if (moves % 2 === 1) move(b, a);
        const value = load();
        move(a, b);
        return value;
      };
      aroundLoads(around, () => expect(c.take(15 * PAGE)).toBe(true));
      expect(moves).toBe(9);
    });

    test('returns what a dead member has claimed when that is in the way', () => {
      const scene = new LedgerScene(LIMIT_PAGES);
      scene.join(1);
      claim(scene, 0, 60);
      scene.threads.kill(1);
      expect(scene.join(2).take(70 * PAGE)).toBe(true);
    });

    test('is refused after some milliseconds when a living member claims what is left', () => {
      const scene = new LedgerScene(LIMIT_PAGES);
      const ledgers = [1, 2, 3].map((id) => scene.join(id));
      claim(scene, 1, 60);
      for (const ledger of [ledgers[0]!, ledgers[2]!]) {
        const start = performance.now();
        expect(ledger.take(50 * PAGE)).toBe(false);
        expect(performance.now() - start).toBeGreaterThan(5);
        expect(ledger.take(40 * PAGE)).toBe(true);
        ledger.give(40 * PAGE);
      }
      // What is claimed is not held.
      expect(ledgers[0]!.usedBytes).toBe(0);
    });
  });

  describe('force', () => {
    test('counts above the limit', () => {
      using ledger = made();
      ledger.force(150 * PAGE);
      expect(ledger.usedBytes).toBe(150 * PAGE);
      expect(ledger.take(1)).toBe(false);
      ledger.give(51 * PAGE);
      expect(ledger.take(PAGE)).toBe(true);
    });
  });

  describe('give', () => {
    test('refuses more than is held', () => {
      using ledger = made();
      ledger.take(10);
      expect(codeOf(() => ledger.give(11))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(ledger.usedBytes).toBe(PAGE);
    });
  });

  describe('setLimit', () => {
    test('holds for all members', () => {
      using ledger = made();
      using other = SharedLedger.open(ledger.token, member('b'));
      other.take(90 * PAGE);
      ledger.setLimit(50 * PAGE);
      expect(other.limitBytes).toBe(50 * PAGE);
      expect(other.take(1)).toBe(false);
      expect(codeOf(() => ledger.setLimit(0))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(ledger.limitBytes).toBe(50 * PAGE);
    });
  });

  describe('wantedHere', () => {
    test('divides what is wanted and was not given since over those of lowest priority, above their minimum', () => {
      const scene = new LedgerScene(LIMIT_PAGES);
      const high = scene.join(1, { priority: 2 });
      const low = scene.join(2, { priority: 1, minimumBytes: 15 * PAGE });
      const lowest = scene.join(3, { priority: -1 });
      const wanter = scene.join(4);
      const shares = () => [high, low, lowest, wanter].map((ledger) => ledger.wantedHere() / PAGE);
      high.take(40 * PAGE);
      low.take(30 * PAGE);
      lowest.take(20 * PAGE);
      high.publishCached(40 * PAGE);
      low.publishCached(30 * PAGE);
      lowest.publishCached(7 * PAGE);
      expect(shares()).toEqual([0, 0, 0, 0]);
      wanter.want(5 * PAGE);
      expect(shares()).toEqual([0, 0, 5, 0]);
      expect(wanter.members()[3]!.wantedBytes).toBe(5 * PAGE);
      lowest.give(3 * PAGE);
      lowest.publishCached(4 * PAGE);
      expect(shares()).toEqual([0, 0, 2, 0]);
      lowest.give(2 * PAGE);
      lowest.publishCached(2 * PAGE);
      expect(shares()).toEqual([0, 0, 0, 0]);
      wanter.want(40 * PAGE);
      expect(shares()).toEqual([23, 15, 2, 0]);
      wanter.want(200 * PAGE);
      expect(shares()).toEqual([40, 15, 2, 0]);
      wanter.want(0);
      expect(shares()).toEqual([0, 0, 0, 0]);
    });

    test('asks for what is over the limit as well', () => {
      const scene = new LedgerScene(10);
      const [a, b] = [scene.join(1), scene.join(2)];
      a.take(8 * PAGE);
      a.publishCached(8 * PAGE);
      b.force(5 * PAGE);
      b.want(4 * PAGE);
      expect(a.wantedHere()).toBe(4 * PAGE);
      a.give(3 * PAGE);
      a.publishCached(5 * PAGE);
      expect(a.wantedHere()).toBe(PAGE);
    });

    test('asks the lower cell first among equals, and nobody for itself', () => {
      const scene = new LedgerScene(10);
      const [a, b, c] = [1, 2, 3].map((id) => scene.join(id)) as [SharedLedger, SharedLedger, SharedLedger];
      for (const ledger of [a, b]) {
        ledger.take(5 * PAGE);
        ledger.publishCached(5 * PAGE);
      }
      c.want(3 * PAGE);
      expect([a.wantedHere(), b.wantedHere(), c.wantedHere()]).toEqual([3 * PAGE, 0, 0]);
      a.want(PAGE);
      expect([a.wantedHere(), b.wantedHere(), c.wantedHere()]).toEqual([3 * PAGE, PAGE, 0]);
    });
  });

  describe('changed', () => {
    const isSettled = (promise: Promise<void>) => Promise.race([promise.then(() => true), sleep(60, false)]);

    test.each<[string, (other: SharedLedger) => void]>([
      ['gives something back', (other) => other.give(PAGE)],
      ['wants something', (other) => other.want(1)],
      ['changes the limit', (other) => other.setLimit(50 * PAGE)],
      ['ends', (other) => other.dispose()],
      ['detaches a segment', (other) => other.detachSegment('shm:a')],
    ])('resolves when another member %s', async (_, act) => {
      using ledger = made();
      using other = SharedLedger.open(ledger.token, member('b'));
      other.take(2 * PAGE);
      other.attachSegment('shm:a', PAGE);
      await ledger.changed(0);
      const change = ledger.changed(60_000);
      expect(await isSettled(change)).toBe(false);
      act(other);
      await change;
    });

    test('resolves at once for what came before, and not for what this member does', async () => {
      using ledger = made();
      using other = SharedLedger.open(ledger.token, member('b'));
      other.want(1);
      await ledger.changed(60_000);
      const change = ledger.changed(60_000);
      ledger.take(PAGE);
      ledger.give(PAGE);
      ledger.want(1);
      expect(await isSettled(change)).toBe(false);
      other.want(0);
      await change;
    });

    test('resolves after its time, and at the end', async () => {
      const ledger = made();
      const start = performance.now();
      await ledger.changed(20);
      expect(performance.now() - start).toBeGreaterThan(18);
      const change = ledger.changed(60_000);
      ledger.dispose();
      await change;
    });

    test('does not keep the process alive', () => {
      const source = `
        import { SharedLedger } from '${moduleUrl('src/shared/index.js')}';
        const ledger = SharedLedger.create({ limitBytes: 1e6 }, { name: 'a', priority: 0, minimumBytes: 0 });
        ledger.changed(1e9).then(() => console.log('changed'));`;
      expect(runChild(source)).toMatchObject({ stdout: '', stderr: '' });
    });
  });

  describe('attachSegment', () => {
    test('counts a segment once for all, until the last one detaches it', () => {
      const scene = new LedgerScene(LIMIT_PAGES);
      const [a, b] = [scene.join(1), scene.join(2)];
      expect(a.attachSegment('shm:x', 30 * PAGE)).toBe(true);
      expect(b.attachSegment('shm:x', 30 * PAGE)).toBe(true);
      expect(b.attachSegment('shm:y', 20 * PAGE - 1)).toBe(true);
      expect(a.usedBytes).toBe(50 * PAGE);
      expect(a.members().map(({ heldBytes }) => heldBytes)).toEqual([0, 0]);
      a.detachSegment('shm:x');
      expect(a.usedBytes).toBe(50 * PAGE);
      b.detachSegment('shm:x');
      expect(a.usedBytes).toBe(20 * PAGE);
      b.dispose();
      expect(a.usedBytes).toBe(0);
    });

    test('is refused when it does not fit, and changes nothing', () => {
      const scene = new LedgerScene(LIMIT_PAGES);
      const [a, b] = [scene.join(1), scene.join(2)];
      a.take(90 * PAGE);
      expect(b.attachSegment('shm:x', 11 * PAGE)).toBe(false);
      expect(codeOf(() => b.detachSegment('shm:x'))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(a.usedBytes).toBe(90 * PAGE);
      expect(b.attachSegment('shm:x', 8 * PAGE)).toBe(true);
      expect(a.attachSegment('shm:x', 11 * PAGE)).toBe(false);
      expect(a.attachSegment('shm:x', 10 * PAGE)).toBe(true);
      expect(a.usedBytes).toBe(100 * PAGE);
    });

    test('is to be taken back as often as it was done', () => {
      using ledger = made();
      ledger.attachSegment('shm:x', PAGE);
      ledger.attachSegment('shm:x', PAGE);
      ledger.detachSegment('shm:x');
      expect(ledger.usedBytes).toBe(PAGE);
      ledger.detachSegment('shm:x');
      expect(ledger.usedBytes).toBe(0);
    });

    test('throws for one segment too many', () => {
      using ledger = made(1000);
      for (let i = 0; i < 256; i++) expect(ledger.attachSegment(`shm:${i}`, PAGE)).toBe(true);
      expect(codeOf(() => ledger.attachSegment('shm:more', PAGE))).toBe('ERR_MEM_OUT_OF_MEMORY');
      expect(ledger.usedBytes).toBe(256 * PAGE);
      ledger.detachSegment('shm:100');
      expect(ledger.attachSegment('shm:more', PAGE)).toBe(true);
    });
  });

  describe('returnDead', () => {
    test('returns what members held that have ended, and no others', () => {
      const scene = new LedgerScene(LIMIT_PAGES);
      const [a, b, c] = [1, 2, 3].map((id) => scene.join(id)) as [SharedLedger, SharedLedger, SharedLedger];
      a.take(10 * PAGE);
      b.take(20 * PAGE);
      c.take(30 * PAGE);
      b.attachSegment('shm:x', 5 * PAGE);
      c.attachSegment('shm:x', 5 * PAGE);
      b.attachSegment('shm:y', 3 * PAGE);
      expect(a.returnDead()).toBe(0);
      scene.threads.kill(2);
      expect(a.returnDead()).toBe(23 * PAGE);
      expect(a.usedBytes).toBe(45 * PAGE);
      scene.threads.kill(3);
      expect(a.returnDead()).toBe(35 * PAGE);
      expect(a.members().map(({ name }) => name)).toEqual(['m1']);
    });

    test('finds a worker that was terminated; one that ends by itself gives back what it holds', async () => {
      for (const named of [{}, { name: freshName() }]) {
        using ledger = SharedLedger.create({ limitBytes: 10 * MiB, ...named }, member('main'));
        const source = `
          import { parentPort, workerData } from 'node:worker_threads';
          import { SharedLedger } from '${moduleUrl('src/shared/index.js')}';
          const ledger = SharedLedger.open(workerData, { name: 'worker', priority: 1, minimumBytes: 0 });
          parentPort.postMessage(ledger.take(${3 * MiB}));
          parentPort.once('message', () => {});`;
        for (const isTerminated of [true, false]) {
          const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), { workerData: ledger.token });
          expect(await once(worker, 'message')).toEqual([true]);
          expect(ledger.usedBytes).toBe(3 * MiB);
          if (isTerminated) {
            await worker.terminate();
            await expect.poll(() => ledger.returnDead(), { timeout: 1000 }).toBe(3 * MiB);
          } else {
            worker.postMessage('end');
            await once(worker, 'exit');
          }
          expect(ledger.usedBytes).toBe(0);
          expect(ledger.members().length).toBe(1);
        }
      }
    });
  });

  describe('members', () => {
    test('shows whole characters of 31 bytes of a name, and none that a terminal obeys', () => {
      const scene = new LedgerScene(LIMIT_PAGES);
      const names = ['', 'x'.repeat(40), `${'x'.repeat(29)}äö`, 'Größe', 'a\n\u001b[31mb'];
      for (const [i, name] of names.entries()) scene.join(i + 1, { name });
      expect(
        scene
          .join(9)
          .members()
          .map(({ name }) => name),
      ).toEqual(['', 'x'.repeat(31), `${'x'.repeat(29)}ä`, 'Größe', 'a\ufffd\ufffd[31mb', 'm9']);
    });

    test('reads a damaged cell without harm', () => {
      const scene = new LedgerScene(LIMIT_PAGES);
      const ledger = scene.join(1);
      const { words } = scene;
      words.int32.fill(-1, words.cellAt(1), words.cellAt(2));
      words.int32[Control.usedCells] = 2 ** 31 - 1;
      words.int32[Control.usedSegments] = 2 ** 31 - 1;
      expect(ledger.members().length).toBe(2);
      expect(ledger.members()[1]!.name.length).toBeLessThanOrEqual(31);
      expect(ledger.usedBytes).toBe(0);
      // Its owner does not live: it is returned.
      expect(ledger.take(PAGE)).toBe(true);
    });
  });

  describe('dispose', () => {
    test('gives back all that the member holds, once', () => {
      const scene = new LedgerScene(LIMIT_PAGES);
      const [a, b] = [scene.join(1), scene.join(2)];
      b.take(10 * PAGE);
      b.want(5 * PAGE);
      b.attachSegment('shm:x', PAGE);
      b.dispose();
      b.dispose();
      expect(b.disposed).toBe(true);
      expect(a.usedBytes).toBe(0);
      expect(a.members().length).toBe(1);
      for (const call of [
        () => b.take(1),
        () => b.give(0),
        () => b.usedBytes,
        () => b.limitBytes,
        () => b.members(),
        () => b.changed(1),
      ]) {
        expect(codeOf(call)).toBe('ERR_MEM_DISPOSED');
      }
    });
  });
});
