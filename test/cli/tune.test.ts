import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SimulatedDevice } from '../../adapters/devices/simulated.js';
import * as managers from '../../managers/index.js';
import { FAMILIES, type Family, type Settings } from '../../src/cli/tune/candidates.js';
import { frontierOf, isBetter, search } from '../../src/cli/tune/search.js';
import { leastCapacity, timeTrials, tryOut } from '../../src/cli/tune/trial.js';
import { tuneResult } from '../../src/cli/tune.js';
import * as core from '../../src/index.js';
import { loadTrace, replayTrace } from '../../src/trace/index.js';
import { compiled } from '../fixtures/compiled.js';
import { stowage, stowageHere } from './compiled-cli.js';

const RESNET = 'test/traces/resnet.trace.gz';
const resnet = loadTrace(RESNET);
const folder = mkdtempSync(join(tmpdir(), 'stowage-tune-'));
beforeAll(() => void compiled(), 120_000);
afterAll(() => rmSync(folder, { recursive: true }));

/** Evaluates a line of code that `stowage tune` prints, with the package's exports in reach. */
function evaluate(code: string): core.MemoryManagerAdapter {
  const names = { ...core, ...managers };
  return new Function(...Object.keys(names), `return ${code};`)(...Object.values(names)) as core.MemoryManagerAdapter;
}

async function peakUnder(create: (table: core.MemoryManagerDeviceInterface) => core.MemoryManagerAdapter): Promise<number> {
  using runtime = new core.MemoryRuntime(new SimulatedDevice({ virtual: true }));
  new core.MemoryManagerInstaller(create(new core.MemoryManagerDeviceInterface()), runtime).setAsMemoryManager();
  return replayTrace(await resnet, runtime).peakReservedBytes;
}

describe('FAMILIES', () => {
  const corners = FAMILIES.flatMap((family) =>
    [0, 1, -1].map((at) => [family, Object.fromEntries(family.axes.map(({ name, values }) => [name, values.at(at)]))] as const),
  );
  test.each(corners.map(([family, settings]) => [family.code(settings), family, settings] as const))(
    '%s makes what the search tried',
    async (code: string, family: Family, settings: Settings) => {
      const made = await peakUnder(() => evaluate(code));
      expect(made).toBe(await peakUnder((table) => family.create(settings)(1, table)));
    },
  );

  test('begins each search with the defaults', () => {
    for (const { axes } of FAMILIES) {
      for (const { values } of axes) {
        expect(values.filter((value) => value === undefined)).toHaveLength(1);
        expect(new Set(values).size).toBe(values.length);
      }
    }
  });
});

describe('search', () => {
  const family = (least: readonly number[]): Family => ({
    manager: 'made up',
    axes: least.map((_, i) => ({ name: `axis${i}`, values: Array.from({ length: 12 }, (_, n) => (n === 5 ? undefined : n)) })),
    create: () => {
      throw new Error('not made');
    },
    code: () => '',
  });

  test('climbs to the best of a bowl, and tries nothing twice', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 11 }), fc.integer({ min: 0, max: 11 }), (a, b) => {
        const seen = new Set<string>();
        const trials = search(
          [family([a, b])],
          (tried, settings) => {
            const [x = 5, y = 5] = Object.values(settings);
            expect(seen.has(`${x} ${y}`)).toBe(false);
            seen.add(`${x} ${y}`);
            return { family: tried, settings, done: true, score: [(x - a) ** 2 + (y - b) ** 2] };
          },
          1000,
        );
        expect(Math.min(...trials.map(({ score }) => score[0] as number))).toBe(0);
      }),
    );
  });

  test('keeps to its budget, and tries the defaults of each family first', () => {
    const trials = search(
      [family([0]), family([0])],
      (tried, settings) => ({ family: tried, settings, done: true, score: [1] }),
      4,
    );
    expect(trials).toHaveLength(4);
    expect(trials.filter(({ settings }) => settings['axis0'] === undefined)).toHaveLength(2);
  });

  test('passes over settings under which the trace does not end', () => {
    const trials = search([family([0])], (tried, settings) => ({ family: tried, settings, done: false, score: [] }), 100);
    expect(trials.every(({ done }) => !done)).toBe(true);
  });
});

describe('isBetter', () => {
  test('goes by the first difference', () => {
    expect([isBetter([1, 9], [2, 0]), isBetter([1, 2], [1, 3]), isBetter([1, 2], [1, 2]), isBetter([2], [1])]).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });
});

describe('frontierOf', () => {
  test('marks exactly the points that no other one beats', () => {
    const point = fc.tuple(fc.nat(9), fc.nat(9));
    fc.assert(
      fc.property(fc.array(point, { maxLength: 20 }), (points) => {
        const beats = (a: readonly number[], b: readonly number[]) =>
          a[0]! <= b[0]! && a[1]! <= b[1]! && (a[0]! < b[0]! || a[1]! < b[1]!);
        const expected = points.map(
          (one, i) =>
            !points.some((other) => beats(other, one)) &&
            !points.slice(0, i).some((other) => other[0] === one[0] && other[1] === one[1]),
        );
        expect(frontierOf(points)).toEqual(expected);
      }),
    );
  });
});

describe('tuneResult', () => {
  const [family] = FAMILIES as readonly [Family];
  const trial = (peakReservedBytes: number, nsPerEvent: number, score: readonly number[]) => {
    const facts = { family, settings: {}, code: '', nativeCalls: 1, leastCapacityBytes: null, done: true };
    return { ...facts, peakReservedBytes, nsPerEvent, score };
  };

  test('names the knee beside the extreme that was asked for', () => {
    const numbers = [
      [510, 100],
      [475, 2300],
      [900, 90],
      [920, 95],
    ] as const;
    const byMemory = tuneResult(
      'reserved',
      numbers.map(([bytes, ns]) => trial(bytes, ns, [bytes, 1])),
    );
    expect(byMemory).toMatchObject({ goal: 'reserved', best: 1, knee: 0 });
    expect(byMemory.points.map(({ frontier }) => frontier)).toEqual([true, true, true, false]);
    const byTime = tuneResult(
      'time',
      numbers.map(([bytes, ns]) => trial(bytes, ns, [ns])),
    );
    expect(byTime).toMatchObject({ goal: 'time', best: 2, knee: 0 });
  });

  test('takes times that differ by less than they can be measured as equal', () => {
    const { points } = tuneResult('reserved', [
      trial(475, 11_083, [475, 2]),
      trial(475, 11_060, [475, 2]),
      trial(480, 11_040, [480]),
    ]);
    expect(points.map(({ frontier }) => frontier)).toEqual([true, false, false]);
  });

  test('goes by the least capacity when that was asked for', () => {
    const trials = [trial(100, 10, [90]), trial(100, 10, [80])].map((one, i) => ({ ...one, leastCapacityBytes: [90, 80][i]! }));
    expect(tuneResult('capacity', trials)).toMatchObject({ best: 1, knee: 1 });
  });
});

describe('timeTrials', () => {
  test('gives equal settings their times in turns, and adds what native calls are taken to cost', async () => {
    const trace = await resnet;
    const pool = FAMILIES.find(({ manager }) => manager === 'pool') as Family;
    const options = { goal: 'time', capacityBytes: undefined, nativeCallNs: 1e9 } as const;
    const first = tryOut(trace, pool, {}, options);
    expect(first.nativeCalls).toBe(165);
    const times = timeTrials(trace, [first, first], options);
    // The calls outweigh all else: 165 seconds over the events.
    for (const { nsPerEvent, score } of times) {
      expect(nsPerEvent / ((165 * 1e9) / trace.calls)).toBeCloseTo(1, 2);
      expect(score).toEqual([nsPerEvent]);
    }
  });
});

describe('leastCapacity', () => {
  test('finds the edge to 64 KiB, and asks for nothing below what is live', () => {
    const edge = 123_456_789;
    const found = leastCapacity(100_000_000, 500_000_000, (capacity) => {
      expect(capacity).toBeGreaterThanOrEqual(100_000_000);
      return capacity >= edge;
    });
    expect(found).toBeGreaterThanOrEqual(edge);
    expect(found).toBeLessThanOrEqual(edge + 64 * core.KiB);
    expect(leastCapacity(7, 9, () => true)).toBe(7);
  });
});

describe('stowage tune', () => {
  test('prints the frontier, and as the last line code that makes the best manager', async () => {
    const { code, stdout, stderr } = await stowageHere(['tune', RESNET, '--manager', 'caching,pool', '--budget', '30']);
    expect([code, stderr]).toEqual([0, '']);
    const lines = stdout.trimEnd().split('\n');
    expect(lines[0]).toMatch(/^resnet: \d+ settings tried; peak live 474\.99 MiB$/);
    const best = lines.at(-1) as string;
    expect(best).toMatch(/^new PoolMemoryManager\(1, new MemoryManagerDeviceInterface\(\), \{ slack: 0/);
    const row = lines.find((line) => line.startsWith('* ')) as string;
    expect(row).toContain(core.formatBytes(await peakUnder(() => evaluate(best))));
  });

  test.each(['time', 'capacity'])('searches for %s, and prints the documented JSON', async (goal) => {
    const { code, stdout } = await stowageHere([
      'tune',
      RESNET,
      '--for',
      goal,
      '--manager',
      'pool,tlsf',
      '--budget',
      '10',
      '--json',
    ]);
    const result = JSON.parse(stdout) as {
      version: number;
      goal: string;
      best: number;
      knee: number;
      points: Record<string, number | string | boolean>[];
    };
    expect([code, result.version, result.goal]).toEqual([0, 1, goal]);
    expect(Object.keys(result.points[0] as object).sort()).toEqual(
      ['code', 'frontier', 'leastCapacityBytes', 'manager', 'nativeCalls', 'nsPerEvent', 'peakReservedBytes', 'settings'].sort(),
    );
    const key = goal === 'time' ? 'nsPerEvent' : 'leastCapacityBytes';
    const values = result.points.map((point) => point[key] as number);
    expect(values[result.best]).toBe(Math.min(...values));
    expect(result.points[result.best]?.['frontier']).toBe(true);
    const memory = (point: (typeof result.points)[number]) =>
      (point['leastCapacityBytes'] ?? point['peakReservedBytes']) as number;
    const products = result.points.map((point) => memory(point) * (point['nsPerEvent'] as number));
    expect(products[result.knee]).toBe(Math.min(...products));
  });

  test('does not crown a cache that keeps nothing: it names the knee, and what each has that the other lacks', async () => {
    const { code, stdout } = await stowageHere(['tune', RESNET, '--manager', 'lru,tlsf']);
    expect(code).toBe(0);
    const lines = stdout.trimEnd().split('\n');
    expect(lines.at(-1)).toContain('new LruMemoryManager(');
    expect(lines).toContain('The knee: new TlsfMemoryManager(1, new MemoryManagerDeviceInterface())');
    expect(stdout).toMatch(
      /^lru \(capacityLayouts: 0\) holds 6\.9 % less memory at its peak than tlsf \(474\.99 MiB against 510\.00 MiB\); tlsf is [\d,.]+ times faster/m,
    );
    expect(stdout).toMatch(/^\+ tlsf /m);
  });

  test('runs in the least capacity that it found', async () => {
    const { stdout } = await stowageHere(['tune', RESNET, '--for', 'capacity', '--manager', 'tlsf', '--json']);
    const [point] = (JSON.parse(stdout) as { points: { leastCapacityBytes: number }[] }).points;
    const replay = async (capacity: number) =>
      (await stowageHere(['replay', RESNET, '-m', 'tlsf', '--capacity', String(capacity)])).code;
    expect(await replay(point!.leastCapacityBytes)).toBe(0);
    expect(await replay(point!.leastCapacityBytes - 64 * core.KiB)).toBe(1);
  });

  test('writes a page with the frontier', async () => {
    const file = join(folder, 'tune.html');
    expect((await stowageHere(['tune', RESNET, '--manager', 'pool,tlsf', '--budget', '6', '--report', file])).code).toBe(0);
    const page = readFileSync(file, 'utf8');
    expect(page).toContain('"tune":{"goal":"reserved"');
    expect(page).toMatch(/"best":\d+,"knee":\d+/);
    expect(readdirSync(folder)).toEqual(['tune.html']);
  });

  test('fails when the capacity is too little for any setting', () => {
    const { code, stdout, stderr } = stowage(['tune', RESNET, '--manager', 'tlsf', '--capacity', '1MiB']);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toContain('under none of the settings (1 tried)');
  });

  test.each([
    [['--for', 'speed'], '--for is "speed", but must be one of reserved, time, capacity'],
    [['--manager', 'polo'], '--manager is "polo"'],
    [['--budget', '0'], '--budget is "0", but must be a positive integer'],
    [['--native-call', 'x'], '--native-call is "x"'],
    [['--report', RESNET], 'it is the input, too: name another file'],
    [['--report', '/nonexistent/x.html'], '/nonexistent/x.html'],
  ])('refuses %j', async (args, message) => {
    const { code, stdout, stderr } = await stowageHere(['tune', RESNET, ...args]);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/^stowage: [^\n]+\n$/);
    expect(stderr).toContain(message);
  });
});
