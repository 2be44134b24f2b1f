// node model-contestant-main.js <contestant> <shape as JSON>: loads a model in one way, and prints what that took as JSON.
import '../../src/defaults.js';
import { readFileSync } from 'node:fs';
import { KiB } from '../../src/core/units.js';
import { MODEL_CONTESTANTS, type ModelShape } from './model-contestants.js';

const PAGE_BYTES = 4096;
const ACCESSES = 2000;

const contestant = MODEL_CONTESTANTS.find(({ name }) => name === process.argv[2])!;
const shape = JSON.parse(process.argv[3]!) as ModelShape;
const before = resident();
const start = performance.now();
const model = await contestant.open(shape);
let sum = model.tensor(0)[0]!;
const firstTensorMs = performance.now() - start;
for (let at = 0; at < shape.tensors; at++) sum += touch(model.tensor(at));
const wholeMs = performance.now() - start;
const after = resident();
let random = 12345;
const accessStart = performance.now();
for (let i = 0; i < ACCESSES; i++) {
  random = (Math.imul(random, 1103515245) + 12345) & 0x7fffffff;
  const place = (random * PAGE_BYTES) % (shape.tensorBytes - PAGE_BYTES);
  sum += model.tensor((random >>> 4) % shape.tensors)[place]!;
}
const accessUs = ((performance.now() - accessStart) * 1000) / ACCESSES;
model.end();
const ownBytes = after.anonymous - before.anonymous;
const fileBytes = after.file - before.file;
process.stdout.write(JSON.stringify({ firstTensorMs, wholeMs, accessUs, ownBytes, fileBytes, sum }));

/** Looks at every page. */
function touch(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += PAGE_BYTES) sum += bytes[at]!;
  return sum;
}

/** What this process has in memory: for itself alone, and of files that the system can drop and share. */
function resident(): { anonymous: number; file: number } {
  const status = readFileSync('/proc/self/status', 'utf8');
  const bytesOf = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0) * KiB;
  return { anonymous: bytesOf('RssAnon'), file: bytesOf('RssFile') };
}
