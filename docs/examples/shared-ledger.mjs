// A process and a worker share one limit. What the worker held comes back, also when it is
// ended in the middle.
import { once } from 'node:events';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { MiB } from 'stowage';
import { SharedLedger } from 'stowage/shared';

if (isMainThread) {
  const ledger = SharedLedger.create(
    { limitBytes: 100 * MiB },
    { name: 'main', priority: 1, minimumBytes: 0 },
  );
  ledger.take(30 * MiB);

  const worker = new Worker(new URL(import.meta.url), { workerData: ledger.token });
  await once(worker, 'message');
  for (const { name, heldBytes } of ledger.members())
    console.log(`${name} holds ${heldBytes / MiB} MiB`);
  console.log(`20 MiB more: ${ledger.take(20 * MiB)}`);

  await worker.terminate();
  console.log(`returned ${ledger.returnDead() / MiB} MiB, 20 MiB more: ${ledger.take(20 * MiB)}`);
  ledger.dispose();
} else {
  const ledger = SharedLedger.open(workerData, { name: 'worker', priority: 0, minimumBytes: 0 });
  ledger.take(60 * MiB);
  parentPort.postMessage('ready');
  parentPort.once('message', () => ledger.dispose());
}
