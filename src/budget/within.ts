import { setTimeout as sleep } from 'node:timers/promises';

/** Waits for a promise, and no longer than so many milliseconds. */
export async function within(promise: Promise<unknown>, ms: number): Promise<void> {
  const ended = new AbortController();
  await Promise.race([promise, sleep(ms, undefined, { signal: ended.signal }).catch(() => undefined)]);
  ended.abort();
}
