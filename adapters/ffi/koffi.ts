import { AsyncLocalStorage } from 'node:async_hooks';
import { createRequire } from 'node:module';
import type * as Koffi from 'koffi';
import { MemoryError } from '../../src/core/errors.js';
import { MiB } from '../../src/core/units.js';

let loaded: typeof Koffi | undefined;

/**
 * Runs `fn` outside of every scope of the program. koffi runs callbacks of foreign threads in the asynchronous context of
 * the first registration: inside a scope of the program, that scope would own their allocations for good.
 */
export const outsideOfScopes: <T>(fn: () => T) => T = AsyncLocalStorage.snapshot();

/**
 * Gives koffi, and loads it at the first call. The only place that does: importing an adapter loads no native code.
 *
 * Its call stacks are raised first (2 MiB and 128 KiB by default), because C libraries call back into JavaScript on them.
 *
 * @throws ERR_MEM_DEVICE_ABSENT when koffi has no binary for this platform
 */
export function koffi(): typeof Koffi {
  if (loaded === undefined) {
    try {
      // Outside: from Node 22 on, loading it opens the standard error, which would keep the context of the first caller for good.
      // A bundle for CommonJS has no import.meta.url, but has the name of its file.
      const module = outsideOfScopes(() => createRequire(import.meta.url ?? __filename)('koffi') as typeof Koffi);
      raiseStacks(module);
      loaded = module;
    } catch (error) {
      throw new MemoryError('ERR_MEM_DEVICE_ABSENT', { device: 'koffi', reason: reasonOf(error) }, error);
    }
  }
  return loaded;
}

/** What koffi says of a failure. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Tells whether koffi was loaded through this module. */
export function isKoffiLoaded(): boolean {
  return loaded !== undefined;
}

function raiseStacks(module: typeof Koffi): void {
  const { sync_stack_size: sync = 0, async_stack_size: async = 0 } = module.config();
  try {
    module.config({ sync_stack_size: Math.max(sync, 8 * MiB), async_stack_size: Math.max(async, MiB) });
  } catch {
    // Someone else in this process has used koffi before: its stacks are fixed then, and large enough for most.
  }
}
