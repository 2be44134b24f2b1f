import { readdirSync } from 'node:fs';
import { systemText } from '../../adapters/os/system-text.js';

/** A thread of this process: its name, and an address in its stack. */
export interface OwnThread {
  readonly name: string;
  readonly stackPointer: number;
}

// "202 0x7f… 0x… 0x7ffd…(stack pointer) 0x…(program counter)"; "running" for one that runs.
const CALL = /^-?\d+ (?:0x[0-9a-f]+ )*(0x[0-9a-f]+) 0x[0-9a-f]+$/;

/** The threads that wait in the kernel, which tells where their stacks are. The one that asks is not among them. */
export function ownThreads(): OwnThread[] {
  return readdirSync('/proc/self/task').flatMap((id) => {
    const pointer = CALL.exec(systemText(`/proc/self/task/${id}/syscall`).trim())?.[1];
    if (pointer === undefined) return [];
    return [{ name: systemText(`/proc/self/task/${id}/comm`).trim(), stackPointer: Number(pointer) }];
  });
}
