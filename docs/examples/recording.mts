// Record what a program allocates, and read the recording.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defaultRuntime, KiB } from 'stowage';
import { loadTrace, recordTrace, summariseTrace } from 'stowage/trace';

const folder = mkdtempSync(join(tmpdir(), 'recording-'));
const file = join(folder, 'app.stowtrace');
const runtime = defaultRuntime();

const recorder = recordTrace(runtime, file);
const kept = runtime.allocate(3 * KiB, { tag: 'weights' });
for (let i = 0; i < 10; i++) runtime.allocate(100 + i).dispose();
recorder.dispose();

const events = await loadTrace(file);
console.log(
  `${events.allocations} allocations by ${events.managerOf(0)}, ${events.peakLiveBytes} bytes live at most`,
);
const { live } = await summariseTrace(file);
for (const { tag, blocks, bytes } of live)
  console.log(`never freed: ${blocks} block, ${bytes} bytes, tagged ${tag}`);

kept.dispose();
rmSync(folder, { recursive: true });
