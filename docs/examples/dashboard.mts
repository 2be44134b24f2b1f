// Serve the live page and metrics from inside a program.
import { defaultRuntime, MiB } from 'stowage';
import { serveDashboard } from 'stowage/report';

const runtime = defaultRuntime();
const dashboard = await serveDashboard(runtime);
const block = runtime.allocate(1 * MiB, { tag: 'weights' });

// What Prometheus would read; a browser shows the page at dashboard.url.
const metrics = await (await fetch(`${dashboard.url}metrics`)).text();
console.log(/^stowage_requested_bytes.*$/m.exec(metrics)?.[0]);

block.dispose();
await dashboard.dispose();
