// Turns what `stowage tune --for capacity --json` and `stowage model --json` say into the
// memory part of a pod:
//   node kubernetes.mjs --tune tune.json --model model.json [--mapped] [--heap 256] [--base
// 96] [--margin 15]
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

const MiB = 2 ** 20;
const { values } = parseArgs({
  options: {
    tune: { type: 'string' },
    model: { type: 'string' },
    mapped: { type: 'boolean', default: false }, // the weights stay in the mapped file
    heap: { type: 'string', default: '256' }, // MiB of V8's old space
    base: { type: 'string', default: '96' }, // MiB of Node, libraries and stacks
    margin: { type: 'string', default: '15' }, // percent above all of that
  },
});
const read = (path) => JSON.parse(readFileSync(path, 'utf8'));
const inMiB = (bytes) => Math.ceil(bytes / MiB);

const heapBytes = Number(values.heap) * MiB;
const baseBytes = Number(values.base) * MiB;
/** What it is, its bytes, and whether a budget counts it. */
const parts = [
  ['Node, libraries, stacks', baseBytes, false],
  ["V8's heap", heapBytes, true],
];
if (values.tune !== undefined) {
  const { goal, points, best } = read(values.tune);
  if (goal !== 'capacity')
    throw new Error(`${values.tune}: it is not of stowage tune --for capacity`);
  const { manager, settings, leastCapacityBytes } = points[best];
  parts.push([`buffers, under ${manager} (${settings})`, leastCapacityBytes, true]);
}
if (values.model !== undefined) {
  const { estimate } = read(values.model);
  if (estimate === null)
    throw new Error(`${values.model}: the model names no hyper-parameters to estimate by`);
  parts.push([`weights${values.mapped ? ', mapped' : ''}`, estimate.weightBytes, !values.mapped]);
  parts.push([
    'cache, computation and overhead of the model',
    estimate.totalBytes - estimate.weightBytes,
    true,
  ]);
}

const sum = (of) => of.reduce((total, [, bytes]) => total + bytes, 0);
const neededBytes = sum(parts);
const limitMiB = inMiB(neededBytes * (1 + Number(values.margin) / 100));
const uncounted = sum(parts.filter(([, , isCounted]) => !isCounted));
const share = Math.floor(100 * (1 - uncounted / (limitMiB * MiB)));

for (const [what, bytes, isCounted] of parts) {
  console.log(
    `# ${String(inMiB(bytes)).padStart(6)} MiB  ${what}${isCounted ? '' : ': outside of the budget'}`,
  );
}
console.log(`# ${String(limitMiB - inMiB(neededBytes)).padStart(6)} MiB  margin: ${values.margin} %
resources:
  requests:
    memory: ${inMiB(neededBytes)}Mi
  limits:
    memory: ${limitMiB}Mi
env:
  - name: NODE_OPTIONS
    value: --max-old-space-size=${values.heap}
  - name: MEMORY_BUDGET # new MemoryBudget({ limit: process.env.MEMORY_BUDGET })
    value: ${share}%`);
