import type { ExplanationView, MemoryKind } from './memory-explanation.js';

/** By kind. */
export const ADVICE: Readonly<Record<MemoryKind, string>> = {
  'v8-heap': 'V8 sets its size: --max-old-space-size and --max-semi-space-size limit it; a heap snapshot shows what objects keep',
  'v8-code': 'machine code that V8 made; it drops what has not run for a while',
  'array-buffers': 'drop Buffers and typed arrays that are not used any more; the next collection frees them',
  webassembly: 'a WebAssembly.Memory never shrinks: drop its instance',
  'manager-live': 'blocks that the program holds: dispose of them; stowage record --sites shows where they are made',
  'manager-cached': 'trimMemory() gives it back; a budget or a smaller cache keeps it small',
  'manager-fragmented': 'free parts of segments that are in use, and rounding: stowage tune finds settings that waste less',
  'manager-metadata': 'the tables of the managers; they grow with the number of blocks',
  'c-heap-live': 'blocks of native code that it has not freed; fewer arenas (MALLOC_ARENA_MAX=2) waste less beside them',
  'c-heap-free':
    'freed, and kept by the C library: trimMemory() gives back whole pages; MALLOC_ARENA_MAX=2 or jemalloc keeps less',
  'allocator-live': 'blocks of native code that it has not freed',
  'allocator-free': 'freed, and kept by the allocator: trimMemory() has it given back; its own settings limit it',
  'library-memory': "an allocator of the library's own, or its mappings: see the settings of the library",
  shared: 'memory that other processes may share: stowage shm ls shows segments of this library',
  'file-clean': 'the kernel takes these pages back by itself when memory is short',
  'file-dirty': 'written pages of a file: a shared mapping is written back, a private one keeps its copies until it is unmapped',
  stack: 'one for each thread: fewer workers, UV_THREADPOOL_SIZE, or resourceLimits.stackSizeMb',
  binary: 'code and data of programs and libraries; clean pages are shared with other processes and go by themselves',
  gpu: "mappings of a GPU's driver: end contexts that are not used",
  named: 'named by the kernel or by whoever mapped it',
  unknown: 'anonymous memory without a known owner',
};

const OUTSIDE_UNKNOWN = 'V8 and the C library can be asked inside the process alone: stowage explain -- node app.js';

/** Says what could be done about memory of a kind. */
export function adviceFor(view: ExplanationView): (kind: MemoryKind) => string {
  return (kind) => (kind === 'unknown' && view === 'outside' ? OUTSIDE_UNKNOWN : ADVICE[kind]);
}
