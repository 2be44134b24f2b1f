import { expect, test } from 'vitest';
import * as stackRoom from '../../src/core/stack-room.js';
import { overflows } from '../fixtures/full-stack.js';

const { checkStackRoom } = stackRoom;

const FRAMES_BELOW = 6;
let isHalfDone = false;
let isGuarded = true;

function nest(frames: number): number {
  return frames === 0 ? 0 : nest(frames - 1) + 1;
}

function twoSteps(): void {
  if (isGuarded) checkStackRoom();
  isHalfDone = true;
  nest(FRAMES_BELOW);
  isHalfDone = false;
}

function recurse(depth: number): number {
  twoSteps();
  return recurse(depth + 1) + 1;
}

function pad(frames: number): number {
  return frames === 0 ? recurse(0) : pad(frames - 1);
}

/** How often the stack ended between the two steps. From code of all tiers: V8 optimises on the way. */
function halfDone(): number {
  let count = 0;
  for (let round = 0; round < 60; round++) {
    expect(overflows(() => pad(round % 20))).toBe(true);
    if (isHalfDone) count++;
    isHalfDone = false;
  }
  return count;
}

test('what follows a check for stack room runs to its end, in optimised code, too', () => {
  isGuarded = false;
  expect(halfDone()).toBeGreaterThan(0);
  isGuarded = true;
  expect(halfDone()).toBe(0);
  for (let i = 0; i < 200_000; i++) twoSteps();
  expect(halfDone()).toBe(0);
});
