import { describe, expect, test } from 'vitest';
import * as page from '../../../src/report/page/node-frames.js';
import { framesOfSite, isNodesOwn, programLines } from '../../../src/trace/site-frames.js';

const LINES = [
  'at load (/app/load.mjs:3:7)',
  'at /app/main.mjs:10:1',
  'at async file:///app/main.mjs:12:3',
  'at ModuleJob.run (node:internal/modules/esm/module_job:325:25)',
  'at node:internal/main/run_main_module:36:49',
  'at process.processTicksAndRejections (node:internal/process/task_queues:95:5)',
  'at async node:internal/modules/esm/loader:606:24',
  'at Module._compile (internal/modules/cjs/loader.js:999:30)',
  'at Array.map (<anonymous>)',
  'at async Promise.all (index 0)',
  'at new Promise (<anonymous>)',
  'at internal (/app/internal/index.js:1:1)',
  'forward (train.py:8)',
];

// The scripts of a page are files of their own, which cannot import those of the library.
describe('the frames that a page takes for those of Node', () => {
  test.each(LINES)('are those that profiles leave out: %s', (line) => {
    const [frame] = framesOfSite(line);
    expect(page.isNodesOwn([frame!.name, frame!.filename, frame!.line])).toBe(isNodesOwn(frame!));
    const site = `at app (/app/a.mjs:1:1)\n${line}`;
    expect(page.programLines(site)).toEqual(programLines(site));
  });
});
