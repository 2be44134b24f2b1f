// Say what a process's memory is made of, and give back what nobody uses.
import { MemoryRuntime } from 'stowage';
import { CpuDevice } from 'stowage/adapters/cpu';
import { explainMemory, trimMemory } from 'stowage/explain';

const MiB = 2 ** 20;
const runtime = new MemoryRuntime(new CpuDevice());
const cache = runtime.allocate(64 * MiB);
cache.view(Uint8Array).fill(1);
cache.dispose();

// What is this process made of? Linux alone can say.
if (process.platform === 'linux') {
  const { categories, namedBytes, residentBytes } = explainMemory();
  console.log(`named: ${namedBytes > 0.95 * residentBytes ? 'at least 95 %' : 'less'}`);
  const cached = categories.find(({ kind }) => kind === 'manager-cached');
  console.log(`${cached?.name} caches ${Math.round((cached?.residentBytes ?? 0) / MiB)} MiB`);
}

// Give back what nobody uses.
const { steps } = trimMemory();
const managers = steps.find(({ step }) => step === 'managers');
console.log(
  `managers gave back ${(managers?.bytes ?? 0) > 60 * MiB ? 'more than 60 MiB' : 'less'}`,
);
