// node group-program.js --seed <n> --demand-bytes <n> [--limit <bytes or share>]
// What runs in a memory group, with or without a budget. It tells what happened as a line of JSON, a GroupReport.
import { parseArgs } from 'node:util';
import { type BudgetLimit, MemoryBudget } from '../../src/budget/index.js';
import { createRandom } from '../bench/random.js';
import { DemandProgram } from './demand-program.js';
import { openEngines } from './engines.js';
import type { BudgetRefusalReading, GroupReport } from './group-report.js';
import { readMemory } from './memory-readings.js';
import '../../src/index.js';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    'demand-bytes': { type: 'string', default: '0' },
    limit: { type: 'string' },
  },
});
const seed = Number(values.seed);
const random = createRandom(seed + 1);
const limit = values.limit?.endsWith('%') ? (values.limit as BudgetLimit) : Number(values.limit);
const budget = values.limit === undefined ? undefined : new MemoryBudget({ limit });
const engines = await openEngines(random, budget);
const demands = engines.map(({ demand }) => demand);
const hosts = engines.map(({ host }) => host);

const atStart = readMemory(hosts);
let atPeak = atStart;
let mostOtherBytes = 0;
const program = new DemandProgram({
  demands,
  random,
  totalBytes: Number(values['demand-bytes']),
  canBeRefused: budget !== undefined,
  onStep: () => {
    const now = readMemory(hosts);
    if (now.anonymousBytes > atPeak.anonymousBytes) atPeak = now;
    mostOtherBytes = Math.max(mostOtherBytes, now.anonymousBytes - now.reservedBytes);
  },
});

const refusals: BudgetRefusalReading[] = [];
budget?.events.on('refusal', ({ asking, missingBytes, usedBytes, limitBytes }) => {
  refusals.push({ asking, missingBytes, usedShare: usedBytes / limitBytes });
});
budget?.events.on('pressure', (pressure) => {
  // The others are refused, and the program finds its way then.
  if (pressure.asking === 'onnxruntime') pressure.gaveUp(program.giveUp(pressure.asking, pressure.neededBytes));
});
let fallbacks = 0;
for (const host of hosts) host.events.on('fallback', () => fallbacks++);

await program.run();

const told: GroupReport = {
  seed,
  checks: program.checks,
  refused: program.refused,
  refusals,
  fallbacks,
  budget: budget?.report(),
  atStart,
  atPeak,
  mostOtherBytes,
  elapsedMs: performance.now(),
};
for (const { host } of engines) host.dispose();
process.stdout.write(`${JSON.stringify(told)}\n`);
