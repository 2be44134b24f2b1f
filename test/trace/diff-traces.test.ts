import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { diffTraces } from '../../src/trace/index.js';
import { type Leak, LeakingProgram } from './leaking-programs.js';
import { pickled } from './pickled.js';

const EVENTS = 12_000;
const folder = mkdtempSync(join(tmpdir(), 'stowage-diff-'));
afterAll(() => rmSync(folder, { recursive: true }));

const written = (name: string, content: string | Uint8Array): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};
/** What grows from one run of a program without a leak to another run, which may leak. */
const grownIn = async (shape: number, leak: Leak | undefined, longer = 1) => {
  const [before, after] = [join(folder, 'before'), join(folder, 'after')];
  new LeakingProgram(shape).record(before, 1, EVENTS);
  const program = new LeakingProgram(shape, leak);
  program.record(after, 2, EVENTS * longer);
  return { program, grown: (await diffTraces(before, after)).grown };
};
/** A call log in which so many blocks of so many bytes are live at the end. */
const callLog = (blocks: number, bytes = 64): string =>
  `initialize \n${Array.from({ length: blocks }, (_, i) => `alloc ${bytes} 1 ${4096 * (i + 1)} \n`).join('')}`;
const at = (name: string) => [{ name: 'work', filename: name, line: 7 }];
/** A snapshot of PyTorch without a history. */
const snapshot = (blocks: readonly (readonly [bytes: number, file: string])[]): Uint8Array =>
  pickled([
    {
      device: 0,
      address: 2 ** 30,
      total_size: blocks.reduce((sum, [size]) => sum + size, 0),
      stream: 0,
      segment_type: 'large',
      blocks: blocks.map(([size, file]) => ({ size, requested_size: size, state: 'active_allocated', frames: at(file) })),
    },
  ]);

describe('diffTraces', () => {
  test('names the site of at least 95 of 100 leaks first', async () => {
    const kinds = ['slow', 'bursty', 'churn'] as const;
    const missed: string[] = [];
    for (let shape = 0; shape < 100; shape++) {
      const leak: Leak = { kind: kinds[shape % 3]!, blocks: 25 + ((shape * 37) % 200), own: shape % 3 < 2 && shape % 2 === 0 };
      const { program, grown } = await grownIn(shape, leak);
      if (grown[0]?.site !== program.leakSite) missed.push(`${shape} ${JSON.stringify(leak)}: ${grown[0]?.site}`);
    }
    expect(missed.length, missed.join('\n')).toBeLessThanOrEqual(5);
  });

  test('names nothing in 20 pairs of runs without a leak, of which some are longer', async () => {
    for (let shape = 200; shape < 220; shape++) {
      const { grown } = await grownIn(shape, undefined, shape % 4 === 0 ? 2 : 1);
      expect(grown, `shape ${shape}`).toEqual([]);
    }
  });

  test('tells by how much a site grew, and how old its blocks are', async () => {
    const { program, grown } = await grownIn(3, { kind: 'slow', blocks: 100, own: true });
    expect(grown).toHaveLength(1);
    expect(grown[0]).toMatchObject({ site: program.leakSite, tag: expect.any(String), blocks: 100 });
    const { bytes, leastBytes, mostBytes, oldestNs } = grown[0]!;
    expect(bytes).toBeGreaterThanOrEqual(100 * leastBytes);
    expect(bytes).toBeLessThanOrEqual(100 * mostBytes);
    // A slow leak begins with the program.
    expect(oldestNs).toBeLessThan(EVENTS * 1000 * 0.05);
  });

  test('names nothing when a trace is compared with itself', async () => {
    const file = written('same.log', callLog(500));
    expect((await diffTraces(file, file)).grown).toEqual([]);
  });

  test('compares call logs, which have no sites', async () => {
    const { grown } = await diffTraces(written('a.log', callLog(100)), written('b.log', callLog(300)));
    expect(grown).toEqual([expect.objectContaining({ site: '', tag: '', bytes: 200 * 64, blocks: 200 })]);
  });

  test('names a site whose blocks got larger, not more', async () => {
    const { grown } = await diffTraces(written('a.log', callLog(100)), written('b.log', callLog(100, 640)));
    expect(grown).toEqual([expect.objectContaining({ bytes: 100 * 576, blocks: 0 })]);
  });

  test('names a large block at a new site of a snapshot of PyTorch', async () => {
    const weights = Array.from({ length: 20 }, () => [2 ** 20, 'model.py'] as const);
    const before = written('a.pickle', snapshot(weights));
    const after = written('b.pickle', snapshot([...weights, [2 ** 24, 'cache.py']]));
    const { grown } = await diffTraces(before, after);
    expect(grown).toEqual([expect.objectContaining({ site: 'at work (cache.py:7)', bytes: 2 ** 24, blocks: 1 })]);
  });

  test('refuses a bad file with its place', async () => {
    const good = written('good.log', callLog(2));
    const bad = written('bad.log', `${callLog(2)}unlock 5 1 \n`);
    await expect(diffTraces(good, bad)).rejects.toThrow(/bad\.log:4: pointer 5 heads no live block/);
    await expect(diffTraces(join(folder, 'none'), good)).rejects.toThrow('there is no such file');
  });
});
