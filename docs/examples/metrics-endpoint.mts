// Serves what Prometheus reads to other machines: the dashboard itself answers this one
// alone.
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { defaultRuntime, MemoryBudget, MiB } from 'stowage';
import { serveDashboard } from 'stowage/report';

const runtime = defaultRuntime();
const budget = new MemoryBudget({ limit: 512 * MiB, name: 'process' });
budget.add(runtime, { name: 'buffers' });
budget.tenant('alice', { limit: 100 * MiB });
const block = runtime.allocate(6 * MiB, { tag: 'alice' });

const dashboard = await serveDashboard(runtime);
const server = createServer(async (request, response) => {
  if (request.url !== '/metrics') return response.writeHead(404).end();
  try {
    const metrics = await fetch(`${dashboard.url}metrics`);
    response.writeHead(metrics.status, {
      'Content-Type': metrics.headers.get('content-type') ?? 'text/plain',
    });
    response.end(await metrics.text());
  } catch (error) {
    response.writeHead(502).end(`${error}\n`);
  }
});
server.listen(Number(process.env.METRICS_PORT ?? 0));
await once(server, 'listening');

// What Prometheus would read.
const { port } = server.address() as AddressInfo;
const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
for (const [line] of text.matchAll(/^stowage_budget_(limit|tenant_live)_bytes.*$/gm))
  console.log(line);

block.dispose();
server.close();
budget.dispose();
await dashboard.dispose();
