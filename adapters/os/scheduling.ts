import { libcFunction } from './libc.js';

const schedYield = libcFunction('sched_yield', 'int', []);

/** Lets another thread run first. Does nothing on Windows. Cost: about 1 us. */
export function yieldThread(): void {
  if (process.platform !== 'win32') schedYield();
}
