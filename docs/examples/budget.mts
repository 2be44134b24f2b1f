// One limit over two runtimes: docs/budget.md goes through it. Needs nothing else.
import { MemoryBudget, MemoryError, MemoryRuntime, MiB } from 'stowage';
import { CpuDevice } from 'stowage/adapters/cpu';
import { SimulatedDevice } from 'stowage/adapters/simulated';
import type { Pressure } from 'stowage/budget';

const images = new MemoryRuntime(new CpuDevice());
const texts = new MemoryRuntime(new CpuDevice());

const budget = new MemoryBudget({ limit: 512 * MiB, name: 'process', watchV8: false });
budget.add(images, { name: 'images', minimumBytes: 64 * MiB });
const membership = budget.add(texts, { name: 'texts', priority: 1 });

const inMiB = (bytes: number) => `${Math.round(bytes / MiB)} MiB`;
budget.events.on('reclaim', ({ asking, from, step, freedBytes }) => {
  console.log(`${from}: ${inMiB(freedBytes)} back for ${asking} (${step})`);
});

const thumbnails = Array.from({ length: 16 }, () => images.allocate(24 * MiB));
for (const block of thumbnails) block.dispose();
console.log(budget);

const book = texts.allocate(200 * MiB);
console.log(budget);

const pages = [texts.allocate(60 * MiB), texts.allocate(60 * MiB)];
const dropPages = (pressure: Pressure) => {
  const page = pages.pop();
  if (page === undefined) return;
  pressure.gaveUp(page.bytes);
  page.dispose();
};
budget.events.on('pressure', dropPages);
const picture = images.allocate(200 * MiB);
console.log(`${pages.length} page is left`);
budget.events.off('pressure', dropPages);

budget.events.on('pressure', (pressure) => {
  if (pages.length > 0) pressure.waitUntil(Promise.resolve().then(() => pages.pop()?.dispose()));
});
const poster = await images.allocateAsync(100 * MiB);
console.log(`${pages.length} pages are left`);

try {
  images.allocate(100 * MiB);
} catch (error) {
  if (!MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY') || error.facts.budget === undefined)
    throw error;
  const { asking, missingBytes, members, tried } = error.facts.budget;
  console.log(`refused: ${asking} lacks ${inMiB(missingBytes)}`);
  for (const { name, heldBytes, cachedBytes } of members) {
    console.log(`  ${name} holds ${inMiB(heldBytes)}, ${inMiB(cachedBytes)} of it cached`);
  }
  console.log(
    `  tried: ${tried.map(({ step, freedBytes }) => `${step} ${inMiB(freedBytes)}`).join(', ')}`,
  );
}
for (const block of [poster, picture, book]) block.dispose();

const job = await budget.reserveAsync(300 * MiB, { signal: AbortSignal.timeout(1000) });
const frames = job.run(() => images.allocate(200 * MiB));
console.log(`${inMiB(job.remainingBytes)} of the reservation are left`);
frames.dispose();
job.dispose();

const alice = budget.tenant('alice', { limit: 100 * MiB });
const bob = budget.tenant('bob', { limit: '50%', minimumBytes: 128 * MiB });
const hers = images.tag('alice', () => images.allocate(80 * MiB));
const his = texts.allocate(80 * MiB, { tag: 'bob' });
try {
  texts.allocate(30 * MiB, { tag: 'alice' });
} catch (error) {
  if (!MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY') || error.facts.budget === undefined)
    throw error;
  const { name, missingBytes } = error.facts.budget;
  console.log(`${name} lacks ${inMiB(missingBytes)}`);
}
console.log(alice);
console.log(bob);
for (const ended of [hers, his, alice, bob]) ended.dispose();

const machine = new MemoryBudget({ limit: '80%', name: 'machine', watchV8: false });
machine.add(budget, { priority: 1 });
for (const { kind, name } of machine.report().members)
  console.log(`${machine.name} has the ${kind} ${name}`);

const card = new SimulatedDevice({ capacityBytes: 1024 * MiB });
const onCard = new MemoryRuntime(card);
const cardBudget = new MemoryBudget({ memory: card, limit: '90%', name: 'card' });
cardBudget.add(onCard, { name: 'models' });
budget.add(onCard.pinnedSlot, { name: 'staging' });
console.log(cardBudget);

budget.events.on('overshoot', ({ asking, overshootBytes }) =>
  console.log(`${asking}: ${inMiB(overshootBytes)} too much`),
);
let decoderBytes = 100 * MiB;
const decoder = budget.watch('decoder', () => decoderBytes);
const film = texts.allocate(300 * MiB);
decoderBytes = 200 * MiB;
budget.refresh();
film.dispose();
budget.refresh();
console.log(budget);

decoder.dispose();
membership.dispose();
for (const ended of [cardBudget, machine, budget]) ended.dispose();
