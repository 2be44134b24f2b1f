import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import '../../src/defaults.js';
import { ContestantProcess } from './contestant-process.js';
import { type Contestant, lineUp } from './contestants.js';
import { type BenchEvents, readEventFile, writeEventFile } from './event-file.js';
import { type GrowthRow, LIVE_BLOCKS, measureGrowth } from './growth.js';
import { growthEvents, type SizeProgram } from './growth-events.js';
import { ManagerSubject } from './manager-subject.js';
import { buildNativePeers } from './native-peers.js';
import { ROW_BYTES, randomCycle } from './random-reads.js';
import { answerTo } from './serve.js';
import { extrasText, GROWTH_HEADINGS, growthCells } from './text-report.js';

const ROOT = resolve(import.meta.dirname, '../..');
const native = buildNativePeers(join(import.meta.dirname, 'peers'), join(ROOT, 'node_modules/.cache/stowage-bench-peers'));
const { caching, mallocLoop } = native;
const reason = 'reason' in caching ? caching.reason : 'reason' in mallocLoop ? mallocLoop.reason : undefined;
if (reason !== undefined && process.env['CI'] !== undefined) throw new Error(`CI compiles the peers, but ${reason}`);
const PROGRAMS: readonly SizeProgram[] = ['one size', 'mixed sizes'];

const temp = mkdtempSync(join(tmpdir(), 'stowage-growth-test-'));
afterAll(() => rmSync(temp, { recursive: true, force: true }));

function digestOf({ length, slotCount, peakLiveBytes, slots, bytes }: BenchEvents): string {
  const hash = createHash('sha1').update(JSON.stringify([length, slotCount, peakLiveBytes]));
  return hash.update(slots).update(bytes).digest('hex');
}

describe.each(PROGRAMS)('growthEvents of %s', (program) => {
  test.each([10, 1000, 100_000])('frees only what is live, of %i blocks a tenth at once', (liveBlocks) => {
    const events = growthEvents(program, liveBlocks);
    const live = new Map<number, number>();
    const faults: string[] = [];
    let liveBytes = 0;
    let peakLiveBytes = 0;
    for (let i = 0; i < events.length; i++) {
      const code = events.slots[i]!;
      const bytes = events.bytes[i]!;
      if (code >= 0) {
        if (code >= liveBlocks || live.has(code)) faults.push(`event ${i} fills slot ${code}, which is not empty`);
        if (program === 'one size' ? bytes !== 1024 : bytes < 32 || bytes >= 16 * 1024) faults.push(`event ${i}: ${bytes} bytes`);
        live.set(code, bytes);
        liveBytes += bytes;
      } else {
        // A block that a batch drew twice would be freed twice.
        if (live.get(~code) !== bytes)
          faults.push(`event ${i} frees ${bytes} bytes of slot ${~code}, which has ${live.get(~code)}`);
        live.delete(~code);
        liveBytes -= bytes;
      }
      peakLiveBytes = Math.max(peakLiveBytes, liveBytes);
      if (i >= liveBlocks && live.size < liveBlocks * 0.9) faults.push(`event ${i} leaves ${live.size} live`);
    }
    expect(faults.slice(0, 3)).toEqual([]);
    expect(events).toMatchObject({ slotCount: liveBlocks, peakLiveBytes });
  });

  test.each(LIVE_BLOCKS)('times parts of equal length that begin and end with %i live blocks', (liveBlocks) => {
    const { slots, length, untimed, parts } = growthEvents(program, liveBlocks);
    const partEvents = (length - untimed) / parts;
    expect(partEvents / 2).toBeGreaterThanOrEqual(20_000);
    expect(Number.isInteger(partEvents)).toBe(true);
    let live = slots.subarray(0, untimed).reduce((sum, code) => sum + (code >= 0 ? 1 : -1), 0);
    for (let part = 0; part <= parts; part++) {
      expect(live).toBe(liveBlocks);
      const from = untimed + part * partEvents;
      for (const code of slots.subarray(from, from + partEvents)) live += code >= 0 ? 1 : -1;
    }
  });

  test('is the same each time', () => {
    expect(digestOf(growthEvents(program, 1000))).toBe(digestOf(growthEvents(program, 1000)));
  });
});

describe('randomCycle', () => {
  test.each([1, 2, 1000])('comes by each of %i rows before it is back', (rows) => {
    const table = randomCycle(rows);
    expect(table.byteLength).toBe(rows * ROW_BYTES);
    const seen = new Set<number>();
    for (let row = 0; !seen.has(row); row = table[(row * ROW_BYTES) / 4]!) seen.add(row);
    expect(seen.size).toBe(rows);
    expect(table[[...seen].at(-1)! * (ROW_BYTES / 4)]).toBe(0);
  });
});

describe('ManagerSubject', () => {
  const events = growthEvents('mixed sizes', 1000);

  test('takes the same native memory in parts as at once', () => {
    const whole = new ManagerSubject({ manager: 'caching' }, events);
    whole.replay();
    const inParts = new ManagerSubject({ manager: 'caching' }, events);
    for (let from = 0; from < events.length; from += 1001) inParts.replayPart(from, Math.min(from + 1001, events.length));
    expect(inParts.warmFacts()).toEqual(whole.warmFacts());
  });

  test('answers with the time of an event when parts are asked for', () => {
    const answer = answerTo(`parts ${events.untimed} ${events.parts}`, new ManagerSubject({ manager: 'tlsf' }, events), events);
    expect(answer).toEqual({ nsPerEvent: expect.any(Number) });
    expect((answer as { nsPerEvent: number }).nsPerEvent).toBeGreaterThan(0);
  });

  test.each([`parts ${events.untimed} 7`, `parts ${events.length + 1} 1`, 'parts 0 0', 'parts -2 1', 'parts x'])(
    'refuses %j',
    (command) => {
      const answer = answerTo(command, new ManagerSubject({ manager: 'tlsf' }, events), events);
      expect(answer).toEqual({ error: 'no such parts' });
    },
  );
});

describe.skipIf(reason !== undefined)(`a native peer${reason === undefined ? '' : ` (skipped: ${reason})`}`, () => {
  const peers = lineUp([], native).contestants.filter((contestant) => contestant.native !== undefined);
  const events = growthEvents('mixed sizes', 1000);
  const eventFile = join(temp, 'peer.events');

  beforeAll(() => writeEventFile(eventFile, events));

  test('reads the events that were written', () => {
    expect(digestOf(readEventFile(eventFile))).toBe(digestOf(events));
  });

  test.each(peers)('times parts: $name', async (peer) => {
    const process = new ContestantProcess(peer, eventFile, '');
    try {
      expect(await process.parts(events.untimed, events.parts)).toBeGreaterThan(0);
      // Nothing is left of the first time.
      expect(await process.parts(0, 1)).toBeGreaterThan(0);
      await expect(process.parts(events.untimed, 7)).rejects.toThrow('no such parts');
      await expect(process.parts(events.length + 1, 1)).rejects.toThrow('no such parts');
      await expect(process.parts(0, 0)).rejects.toThrow('no such parts');
    } finally {
      process.stop();
    }
  });

  test('has rows beside the managers, and one that fails keeps its row with the reason', async () => {
    const bad: Contestant = { name: 'tlsf', isPeer: false, javaScript: { manager: 'tlsf' } };
    const skipped: Contestant = { name: 'koffi', isPeer: true, javaScript: 'koffi' };
    const rows = await measureGrowth({
      contestants: [peers[0]!, bad, skipped],
      liveBlocks: [10, 100],
      folder: temp,
      main: join(temp, 'no-such-main.js'),
      onProgress: () => undefined,
    });
    expect(rows.map(({ allocator, program }) => [allocator, program])).toEqual(
      [peers[0]!.name, 'tlsf'].flatMap((name) => PROGRAMS.map((program) => [name, program])),
    );
    for (const { allocator, ns, failures } of rows) {
      if (allocator === 'tlsf') {
        expect(ns).toEqual([null, null]);
        expect(failures).toEqual([expect.stringMatching(/^10 live: failed: /), expect.stringMatching(/^100 live: failed: /)]);
      } else {
        expect(ns.every((value) => value !== null && value > 0)).toBe(true);
        expect(failures).toEqual([]);
      }
    }
  });

  test('is not measured where no manager is that it could be compared with', async () => {
    const plan = { contestants: peers, folder: join(temp, 'nowhere'), main: '', onProgress: () => undefined };
    expect(await measureGrowth(plan)).toEqual([]);
  });
});

describe('the table of growth', () => {
  const row: GrowthRow = {
    allocator: 'a',
    program: 'one size',
    ns: [4.25, 10, 42.5, null],
    failures: ['1000000 live: failed: why'],
  };

  test('shows how many times as much a hundred times as many blocks take', () => {
    expect(growthCells({ ...row, ns: [4.25, 10, 42.5, 55] })).toEqual(['a', 'one size', '4.3', '10', '43', '55', '10.0, 5.5']);
    expect(growthCells(row)).toEqual(['a', 'one size', '4.3', '10', '43', '-', '10.0, -']);
    expect(growthCells(row)).toHaveLength(GROWTH_HEADINGS.length);
  });

  test('says below why a figure is not there', () => {
    expect(extrasText({ growth: [row], logging: [], recording: [], calls: [], hosts: undefined })).toContain(
      '\n  a, one size, 1000000 live: failed: why\n',
    );
  });
});
