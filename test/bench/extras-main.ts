import '../../src/defaults.js';
import { readEventFile } from './event-file.js';
import type { ExtraTask } from './extras.js';
import { measureGrowth } from './growth.js';
import { measureLogging } from './logging.js';
import { measureRecording } from './recording.js';

// node extras-main.js <task as JSON>: one measurement in a process of its own, so that one does not teach V8 for another.
const task = JSON.parse(process.argv[2] ?? '') as ExtraTask;
const result =
  task.kind === 'growth'
    ? measureGrowth(task.spec, task.program, task.liveBlocks)
    : task.kind === 'recording'
      ? measureRecording(task.spec, readEventFile(task.eventFile), task.rounds)
      : measureLogging(task.spec, readEventFile(task.eventFile), task.rounds);
process.stdout.write(JSON.stringify(result));
