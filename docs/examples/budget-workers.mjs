// Two tenants and three workers that share one limit: the end of docs/budget.md. Needs
// nothing else.
import { once } from 'node:events';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { MemoryBudget, MemoryError, MemoryRuntime, MiB } from 'stowage';
import { CpuDevice } from 'stowage/adapters/cpu';
import { SharedLedger } from 'stowage/shared';

async function start(ledger, member) {
  const worker = new Worker(new URL(import.meta.url), {
    workerData: { token: ledger.token, member },
  });
  await once(worker, 'message');
  return worker;
}

function work() {
  const { token, member } = workerData;
  const ledger = SharedLedger.open(token, member);
  const budget = new MemoryBudget({ ledger, name: member.name, watchV8: false });
  const runtime = new MemoryRuntime(new CpuDevice());
  budget.add(runtime, { name: 'buffers' });
  budget.tenant('alice', { limit: 150 * MiB });
  budget.tenant('bob', { limit: '50%' });

  const blocks = [];
  parentPort.on('message', async ({ tenant, bytes }) => {
    try {
      if (bytes === undefined) for (const block of blocks.splice(0)) block.dispose();
      else {
        // Waits until others have given what is missing.
        const job = await budget.reserveAsync(bytes, { signal: AbortSignal.timeout(30_000) });
        try {
          blocks.push(job.run(() => runtime.allocate(bytes, { tag: tenant })));
        } finally {
          job.dispose();
        }
      }
      parentPort.postMessage(
        `${member.name} has ${blocks.length === 1 ? '1 block' : `${blocks.length} blocks`}`,
      );
    } catch (error) {
      if (!MemoryError.is(error, 'ERR_MEM_OUT_OF_MEMORY')) throw error;
      parentPort.postMessage(
        `${member.name}: ${error.facts.budget.name} has no ${bytes / MiB} MiB`,
      );
    }
  });
  parentPort.postMessage('ready');
}

async function ask(worker, task) {
  worker.postMessage(task);
  const [answer] = await once(worker, 'message');
  console.log(answer);
}

async function lead() {
  const ledger = SharedLedger.create(
    { limitBytes: 512 * MiB },
    { name: 'main', priority: 0, minimumBytes: 0 },
  );
  const web = await start(ledger, { name: 'web', priority: 1, minimumBytes: 64 * MiB });
  const mail = await start(ledger, { name: 'mail', priority: 1, minimumBytes: 64 * MiB });
  const batch = await start(ledger, { name: 'batch', priority: 0, minimumBytes: 0 });
  const show = () => {
    const held = ledger.members().map(({ name, heldBytes }) => `${name} ${heldBytes / MiB}`);
    console.log(
      `${ledger.usedBytes / MiB} of ${ledger.limitBytes / MiB} MiB: ${held.sort().join(', ')}`,
    );
  };

  await ask(batch, { tenant: 'alice', bytes: 100 * MiB });
  await ask(batch, { tenant: 'bob', bytes: 100 * MiB });
  await ask(batch, { tenant: 'bob', bytes: 100 * MiB });
  await ask(batch, { tenant: 'nobody' });
  show();

  await ask(web, { tenant: 'alice', bytes: 150 * MiB });
  await ask(mail, { tenant: 'bob', bytes: 150 * MiB });
  show();

  await ask(mail, { tenant: 'alice', bytes: 200 * MiB });

  await web.terminate();
  ledger.returnDead();
  show();

  await Promise.all([mail.terminate(), batch.terminate()]);
  ledger.dispose();
}

if (isMainThread) await lead();
else work();
