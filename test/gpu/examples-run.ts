import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

/** What an example printed. */
export interface ExampleResult {
  readonly name: string;
  /** Its last line, or why it failed. */
  readonly text: string;
  readonly isDone: boolean;
}

/** The examples that need a card of CUDA, and what each prints where it worked; without its library it says so. */
const EXAMPLES: Readonly<Record<string, RegExp>> = {
  devices: / sent 42 back$/,
  cublas: /^(cuBLAS got 65536 of 65536 numbers right|cuBLAS is absent: .*)$/,
  'cuda-kernel': /^(the kernel got 4096 of 4096 numbers right|(NVRTC|libcuda\.so\.1) is absent: .*)$/,
};
const TIMEOUT_MS = 60_000;

/** Runs the examples in processes of their own. @param library - of the runtime; undefined for what the loader finds */
export function runExamples(library: string | undefined): ExampleResult[] {
  // Beside the compiled sources, which they import: see compile.mjs.
  const folder = join(import.meta.dirname, '../../examples');
  return Object.entries(EXAMPLES).map(([example, expected]) => {
    const name = `${example}.mts`;
    const args = [join(folder, `${example}.mjs`), ...(library === undefined ? [] : [library])];
    const { status, stdout, stderr, error } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: TIMEOUT_MS });
    const text = stdout.trim();
    if (status === 0 && expected.test(text)) return { name, text, isDone: true };
    return { name, text: `${text} ${stderr} ${error?.message ?? ''}`.trim() || `it ended with ${status}`, isDone: false };
  });
}
