import '../../src/defaults.js';
import { createInterface } from 'node:readline';
import { prepareCall } from './calls.js';
import { readEventFile } from './event-file.js';
import type { ExtraTask } from './extras.js';
import { measureLogging, measureLoggingGarbage } from './logging.js';
import { measureRandomReads } from './random-reads.js';
import { measureRecording } from './recording.js';

// node extras-main.js <task as JSON>: one measurement in a process of its own, so that one does not teach V8 for another.
const task = JSON.parse(process.argv[2] ?? '') as ExtraTask;
if (task.kind === 'call') await serveRounds(prepareCall(task.call, task.bytes).round);
else process.stdout.write(JSON.stringify(await measure(task)));

/** Measures a round for each line of stdin until that ends. */
async function serveRounds(round: () => number): Promise<void> {
  for await (const _line of createInterface({ input: process.stdin }))
    process.stdout.write(`${JSON.stringify({ ns: round() })}\n`);
}

async function measure(task: Exclude<ExtraTask, { kind: 'call' }>): Promise<unknown> {
  switch (task.kind) {
    case 'random reads':
      return measureRandomReads(task.rows);
    case 'hosts':
      // With engines that no other measurement needs.
      return (await import('./hosts.js')).measureHosts(task.root);
    case 'recording':
      return measureRecording(task.spec, readEventFile(task.eventFile), task.rounds);
    case 'logging':
      return measureLogging(task.spec, task.sink, readEventFile(task.eventFile), task.rounds);
    case 'logging garbage':
      return measureLoggingGarbage(task.spec, task.sink, readEventFile(task.eventFile));
  }
}
