// Run a trace under two managers, and write the page that compares them.
import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ManagerFactory } from 'stowage';
import { SimulatedDevice } from 'stowage/adapters/simulated';
import { CachingMemoryManager, PoolMemoryManager } from 'stowage/managers';
import { buildReport, observeRun, renderPage } from 'stowage/report';
import { parseTrace } from 'stowage/trace';

const trace = parseTrace(
  '#alloctrace v1 example\na 0 1000000\na 1 3000000\nf 0\na 2 500000\n',
  'example.trace',
);
const managers: Record<string, ManagerFactory> = {
  caching: (deviceCount, table) => new CachingMemoryManager(deviceCount, table),
  pool: (deviceCount, table) => new PoolMemoryManager(deviceCount, table),
};
const runs = Object.entries(managers).map(([name, createManager]) =>
  observeRun(trace, { name, device: new SimulatedDevice({ virtual: true }), createManager }),
);

const report = buildReport(trace, runs);
const { winner } = report.data;
writeFileSync(join(tmpdir(), 'example-report.html'), renderPage(report));
if (winner !== null) console.log(winner.verdict);
