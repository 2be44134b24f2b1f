import type { LogSink } from '../core/call-log.js';
import { counted } from '../core/counted.js';
import type { EndsWithProcess } from '../core/exit-hook.js';
import { exactBytes } from '../core/format-bytes.js';
import { statsOf } from '../core/manager-readings.js';
import type { MemoryHost } from '../core/memory-host.js';
import { CONF_VARIABLE } from './conf-variable.js';

/** Writes the exit report of the configured runtime to standard error, and what is in force above it. */
export class ConfExitReport implements LogSink, EndsWithProcess {
  /** The one that was made last. */
  runtime: MemoryHost | undefined;
  readonly #inForce: string;
  #isHeadWritten = false;

  /** @param inForce - the configuration in one line */
  constructor(inForce: string) {
    this.#inForce = inForce;
  }

  write(text: string | Uint8Array): void {
    if (!this.#isHeadWritten) process.stderr.write(`stowage: ${CONF_VARIABLE}: ${this.#inForce}\n`);
    this.#isHeadWritten = true;
    process.stderr.write(text);
  }

  /** Says what the managers of the runtime did, whether or not blocks are live. */
  endWithProcess(): void {
    this.write(this.runtime === undefined ? '' : summary(this.runtime));
  }
}

function summary({ slot, pinnedSlot, deviceCount }: MemoryHost): string {
  if (slot.closed) return 'stowage: the program closed the default runtime\n';
  const uses = [slot, pinnedSlot].flatMap((one) => one.usage());
  if (uses.length === 0) return 'stowage: nothing was allocated\n';
  const lines = uses.flatMap(({ manager }) =>
    Array.from({ length: deviceCount }, (_, device) => statsOf(manager, device)).flatMap((stats) => {
      if (stats === undefined) return [];
      const { blocks, allocatedBytes, reservedBytes, nativeAllocs } = stats;
      const peaks = `peak ${exactBytes(allocatedBytes.peak)} allocated, ${exactBytes(reservedBytes.peak)} reserved`;
      return [
        `stowage: ${manager.name}: ${counted(blocks.total, 'allocation')}, ${peaks}; ${counted(nativeAllocs, 'native allocation')}\n`,
      ];
    }),
  );
  const live = uses.reduce((sum, { liveBlocks }) => sum + liveBlocks, 0);
  return [...lines, ...(live === 0 ? ['stowage: no block was live at exit\n'] : [])].join('');
}
