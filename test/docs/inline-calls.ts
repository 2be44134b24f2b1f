import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Source } from './strict-programs.js';

const ROOT = resolve(import.meta.dirname, '../..');
/** What names stand for in the text of every page. Other names, such as `bytes`, are of any type. */
const NAMES = `
import { defaultRuntime, MemoryBudget, MemoryManagerDeviceInterface, MemoryRuntime } from 'stowage';
import type { Allocation, ManagerSlot, MemoryManagerAdapter } from 'stowage';
import { ArrayFireHost } from 'stowage/adapters/arrayfire';
import { CudaDevice } from 'stowage/adapters/cuda';
import { DefaultMemoryManager, LimitingMemoryManager, PoolMemoryManager, type PyTorchMemoryManager } from 'stowage/managers';
import { ArrayBackend, memoryRegistry, SharedAllocation, SharedLedger, SharedMemoryDevice, SharedMemoryManager, type PageAllocator } from 'stowage/shared';
declare const runtime: MemoryRuntime, slot: ManagerSlot, block: Allocation, manager: PyTorchMemoryManager, table: MemoryManagerDeviceInterface;
declare const budget: MemoryBudget, ledger: SharedLedger, allocator: PageAllocator, stream: number, tag: string;
declare const allocate: MemoryRuntime['allocate'], alloc: MemoryManagerAdapter['alloc'], allocBytes: MemoryManagerAdapter['allocBytes'];
`.trimStart();
/** A call on, or of, one of them; or a new object of a class. */
const CALL =
  /^(?:(?:await|using \w+ =|const \w+ =) )?(?:(?:runtime|slot|block|manager|budget|ledger|allocator|SharedAllocation|SharedLedger|ArrayBackend|ArrayFireHost)\.[\w.]+\(|(?:allocate|alloc|allocBytes|memoryRegistry|defaultRuntime)\(|new (?:MemoryRuntime|MemoryBudget|CudaDevice|DefaultMemoryManager|LimitingMemoryManager|PoolMemoryManager|SharedMemory\w+)\()/;

/** A call that a page shows in its text, beside the blocks. */
export interface InlineCall {
  /** `docs/budget.md:12`. */
  readonly place: string;
  readonly code: string;
}

/** Gives the calls in the text of pages whose names are known here. Those with `…` leave something to the reader. */
export function inlineCalls(pages: readonly string[]): InlineCall[] {
  return pages.flatMap((page) => {
    const text = readFileSync(join(ROOT, page), 'utf8').replaceAll(/^( *)```.*?^\1```$/gms, (fence) =>
      fence.replaceAll(/[^\n]/g, ''),
    );
    return text.split('\n').flatMap((line, n) =>
      Array.from(line.matchAll(/`([^`]+)`/g), ([, code = '']) => code)
        .filter((code) => CALL.test(code) && !code.includes('…'))
        .map((code) => ({ place: `${page}:${n + 1}`, code })),
    );
  });
}

/** Makes a program of calls, one in a line. A parameter that may be left out, `bytes?`, is given. */
export function inlineSource(calls: readonly InlineCall[]): Source {
  const lines = calls.map(({ code }) => `void (async () => { ${code.replaceAll(/(\w)\?(?=[,) }])/g, '$1')}; });`);
  return { path: join(ROOT, 'inline-calls.mts'), code: `${NAMES}${lines.join('\n')}\n` };
}

/** The lines in front of the first call. */
export const NAME_LINES = NAMES.split('\n').length - 1;
