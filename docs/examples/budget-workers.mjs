// Two tenants and three workers that share one limit: the end of docs/budget.md. Runs with Node alone.
import { once } from 'node:events';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { MemoryBudget, MemoryRuntime, MiB } from 'stowage';
import { CpuDevice } from 'stowage/adapters/cpu';
import { SharedLedger } from 'stowage/shared';

if (isMainThread) await lead();
else work();

async function lead() {
  const ledger = SharedLedger.create({ limitBytes: 512 * MiB }, { name: 'main', priority: 0, minimumBytes: 0 });
  const start = async (member) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: { token: ledger.token, member } });
    await once(worker, 'message');
    return worker;
  };
  const web = await start({ name: 'web', priority: 1, minimumBytes: 64 * MiB });
  const mail = await start({ name: 'mail', priority: 1, minimumBytes: 64 * MiB });
  const batch = await start({ name: 'batch', priority: 0, minimumBytes: 0 });

  const ask = async (worker, task) => {
    worker.postMessage(task);
    const [answer] = await once(worker, 'message');
    console.log(answer);
  };
  const show = () => {
    const held = ledger.members().map(({ name, heldBytes }) => `${name} ${heldBytes / MiB}`);
    console.log(`${ledger.usedBytes / MiB} of ${ledger.limitBytes / MiB} MiB: ${held.sort().join(', ')}`);
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
      parentPort.postMessage(`${member.name} has ${blocks.length === 1 ? '1 block' : `${blocks.length} blocks`}`);
    } catch (error) {
      parentPort.postMessage(`${member.name}: ${error.facts?.budget?.name ?? error} has no ${bytes / MiB} MiB`);
    }
  });
  parentPort.postMessage('ready');
}
