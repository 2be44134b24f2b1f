import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { formatBytes, MiB } from '../../src/core/units.js';
import type { GroupReport } from '../cgroup/group-report.js';
import { findGroupPlace, type GroupResult, runInGroup } from '../cgroup/memory-group.js';
import { LIMIT_MS } from '../config/limits.js';
import { compiledTests } from '../fixtures/compiled-tests.js';
import { needed } from '../hosts/onnxruntime.js';

// ONNX Runtime, ggml, SQLite and a program's own buffers in a container that has room for two thirds of what they want.
// STOWAGE_GROUP_RUNS says how often: `npm run soak:budget` runs 200.
const RUNS = Number(process.env['STOWAGE_GROUP_RUNS'] ?? 20);
const GROUP_BYTES = 512 * MiB;
const DEMAND_BYTES = 1.5 * GROUP_BYTES;
/** What the budget of the program may hold of its group: also what it is by itself. */
const LIMIT = '80%';
const LEAST_USED_SHARE = 0.95;

const place = findGroupPlace();
// Where CI runs, a proof that did not run is none.
if (place.version === 'none' && process.env['CI'] !== undefined) throw new Error(place.reason);
const reasons = [...(place.version === 'none' ? [place.reason] : []), ...(needed.missing ? [needed.title] : [])];
const title = reasons.length === 0 ? '' : ` (skipped: ${reasons.join(', ')})`;

describe.skipIf(reasons.length > 0)(`MemoryBudget in a memory group of 512 MiB${title}`, () => {
  const results: { readonly result: GroupResult; readonly report: GroupReport }[] = [];
  let programs: ReturnType<typeof compiledTests>;

  beforeAll(() => {
    programs = compiledTests(['cgroup', 'hosts', 'fixtures', 'bench']);
  });

  afterAll(() => {
    programs?.remove();
    if (results.length > 0) process.stdout.write(`${summary()}\n`);
  });

  const run = (seed: number, options: { readonly groupBytes?: number; readonly limit?: string } = {}): Promise<GroupResult> => {
    const { groupBytes = GROUP_BYTES, limit } = options;
    const program = [join(programs.folder, 'cgroup/group-program.js'), '--seed', `${seed}`, '--demand-bytes', `${DEMAND_BYTES}`];
    return runInGroup(place, groupBytes, limit === undefined ? program : [...program, '--limit', limit], { timeoutMs: LIMIT_MS });
  };

  test('the program is killed without a budget', async () => {
    const { status, signal, oomKills, peakBytes, stderr } = await run(1);
    expect({ status, signal, oomKills }, stderr).toEqual({ status: null, signal: 'SIGKILL', oomKills: 1 });
    if (peakBytes !== undefined) expect(peakBytes).toBeGreaterThan(GROUP_BYTES - MiB);
  });

  test('it wants one and a half times as much without a budget, and ends well where there is so much', async () => {
    const { status, oomKills, stdout, stderr } = await run(1, { groupBytes: 2 * DEMAND_BYTES });
    expect({ status, oomKills }, stderr).toEqual({ status: 0, oomKills: 0 });
    const report = JSON.parse(stdout) as GroupReport;
    expect(report.atPeak.reservedBytes).toBeGreaterThan(DEMAND_BYTES);
    expect(report.refused).toEqual([]);
  });

  test.concurrent.each(Array.from({ length: RUNS }, (_, i) => ({ seed: i + 1 })))(
    'nothing is killed or wrong with a budget, and nobody is refused before 95 percent of it are used, in order $seed',
    async ({ seed }) => {
      const result = await run(seed, { limit: LIMIT });
      const { status, signal, oomKills, stdout, stderr } = result;
      expect({ status, signal, oomKills }, stderr).toEqual({ status: 0, signal: null, oomKills: 0 });
      const report = JSON.parse(stdout) as GroupReport;
      results.push({ result, report });
      expect(report.checks).toBeGreaterThan(0);
      expect(report.budget?.reclaimCount).toBeGreaterThan(0);
      // Each run has some grow until they are refused.
      expect(report.refusals.length).toBeGreaterThan(0);
      for (const refusal of report.refusals) expect(refusal.usedShare).toBeGreaterThanOrEqual(LEAST_USED_SHARE);
    },
  );

  function summary(): string {
    const shares = results.flatMap(({ report }) => report.refusals.map(({ usedShare }) => usedShare));
    const most = (values: readonly number[]) => formatBytes(Math.max(...values));
    return [
      `${results.length} runs in ${place.reason}`,
      `limit ${formatBytes(results[0]?.report.budget?.limitBytes ?? 0)}`,
      `most in the group ${most(results.map(({ result }) => result.peakBytes ?? 0))}`,
      `most beside what managers had reserved ${most(results.map(({ report }) => report.mostOtherBytes))}`,
      `${shares.length} refusals, the earliest at ${(100 * Math.min(...shares)).toFixed(1)} % of the budget`,
      `most past the limit ${most(results.map(({ report }) => report.budget?.overshootBytes ?? 0))}`,
      `${(results.reduce((sum, { result }) => sum + result.elapsedMs, 0) / results.length / 1000).toFixed(1)} s a run`,
    ].join('; ');
  }
});
