import { describe, expect, test } from 'vitest';
import { within } from '../../src/budget/within.js';

describe('within', () => {
  test('ends with the promise, and without it when that never ends', async () => {
    let isDone = false;
    const slow = new Promise<void>((resolve) => {
      setImmediate(() => {
        isDone = true;
        resolve();
      });
    });
    await within(slow, 60_000);
    expect(isDone).toBe(true);
    await within(new Promise(() => undefined), 1);
  });
});
