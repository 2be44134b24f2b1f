/** A folder or file, by the start of its path, and what it may import beside itself and Node's own modules. */
export interface ImportRule {
  readonly from: string;
  /** Starts of paths, and names of packages. */
  readonly may: readonly string[];
}

const EVERYTHING = ['src/', 'adapters/', 'managers/'];

/** Which folder may import which: complete, and the only place. The first rule that a file fits is its rule. */
export const IMPORT_RULES: readonly ImportRule[] = [
  { from: 'src/core/', may: ['eventemitter3'] },
  { from: 'src/blocks/', may: ['src/core/'] },
  { from: 'managers/', may: ['src/core/', 'src/blocks/'] },
  // The entry points of hosts bring the defaults of the process, so that each works alone.
  { from: 'adapters/ffi/index.ts', may: ['src/defaults.ts', 'adapters/'] },
  ...['arrayfire', 'c-allocator', 'ggml', 'onnxruntime', 'sqlite'].map((host) => ({
    from: `adapters/hosts/${host}/index.ts`,
    may: ['src/defaults.ts', 'adapters/'],
  })),
  { from: 'adapters/ffi/', may: ['src/core/', 'koffi'] },
  { from: 'adapters/', may: ['src/core/', 'adapters/'] },
  { from: 'src/runtime/', may: ['src/core/'] },
  // The ledger that processes share comes from src/shared, through an interface of the budget's own.
  {
    from: 'src/budget/',
    may: ['eventemitter3', 'src/core/', 'src/runtime/', 'adapters/os/memory-limits.ts', 'adapters/os/native-heap.ts'],
  },
  { from: 'src/trace/', may: ['src/core/', 'src/runtime/', 'pprof-format'] },
  { from: 'src/report/', may: ['src/core/', 'src/trace/'] },
  { from: 'src/whatif/', may: ['src/core/', 'src/trace/', 'managers/'] },
  { from: 'src/explain/', may: ['src/core/', 'src/runtime/', 'adapters/os/'] },
  { from: 'src/otel/', may: ['src/core/', '@opentelemetry/api'] },
  { from: 'src/model/', may: ['src/core/', 'src/blocks/', 'src/runtime/', 'adapters/os/', '@huggingface/gguf'] },
  { from: 'src/shared/', may: ['src/core/', 'src/blocks/', 'src/runtime/', 'src/budget/budget-ledger.ts', 'adapters/os/'] },
  {
    from: 'src/conf/',
    may: ['src/core/', 'src/runtime/', 'src/budget/', 'src/trace/', 'managers/', 'adapters/devices/cpu.ts'],
  },
  { from: 'src/defaults.ts', may: EVERYTHING },
  { from: 'src/di/', may: [...EVERYTHING, 'inversify'] },
  { from: 'src/index.ts', may: EVERYTHING },
  { from: 'src/cli/', may: [...EVERYTHING, 'commander', 'cli-progress'] },
];
