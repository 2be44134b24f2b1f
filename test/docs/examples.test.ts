import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { SQLITE_NAMES } from '../../adapters/hosts/sqlite/sqlite-library.js';
import { compiled } from '../fixtures/compiled.js';
import { compiledExamples, EXAMPLES, runnable } from '../fixtures/compiled-examples.js';
import { openCl } from '../fixtures/opencl.js';
import { requireLibrary } from '../fixtures/requires.js';
import { needed as onnxRuntime } from '../hosts/onnxruntime.js';
import { SHOWN_EXAMPLES } from './shown-examples.js';

const ROOT = resolve(import.meta.dirname, '../..');
const names = readdirSync(EXAMPLES).filter((name) => /\.m[jt]s$/.test(name));

/** What an example prints, where that does not depend on the machine. */
const OUTPUT: Record<string, RegExp> = {
  'quick-start.mjs': /^262144 floats at \d+, the first is 42\n/,
  'logging.mts': /^initialize nativeAlloc alloc unlock shutdown nativeFree\n$/,
  'swapping.mts': /the old block still holds 7\nCachingMemoryManager stopped\nCachingMemoryManager stopped\n$/,
  'dependency-injection.mts':
    /^MyManager gave 4096 bytes\ninitialize \nnativeAlloc 2097152 (\d+) \nalloc 4096 1 \1 \nallocated \1 \nunlock \1 1 \nalloc 16384 1 \1 \nunlock \1 1 \nshutdown \nnativeFree \1 \nnow DefaultMemoryManager serves\nnow TlsfMemoryManager serves\n/,
  'arrayfire.mts': /^(arrayfire is absent: .+|1 M floats: status 0, 1 live\n8 M floats: status 101, ERR_MEM_OUT_OF_MEMORY)\n$/,
  'ggml.mts':
    /^(ggml is absent: .+|1000 numbers in \d+ bytes of ggml\n1 buffer in a CachingMemoryManager\nrefused: ERR_MEM_OUT_OF_MEMORY)\n$/,
  'decorators.mts': /^refused: limited to 16777216 bytes \(16\.00 MiB\), rounding included; 1 block live\nheld by loadWeights\n$/,
  'shared-memory.mjs': /^the worker says 524288, and left 42\n$/,
  'shared-ledger.mjs': /^main holds 30 MiB\nworker holds 60 MiB\n20 MiB more: false\nreturned 60 MiB, 20 MiB more: true\n$/,
  'explain.mts':
    /^named: at least 95 %\nCachingMemoryManager of MemoryRuntime caches 64 MiB\nmanagers gave back more than 60 MiB\n$/,
  'recording.mts':
    /^11 allocations by CachingMemoryManager, 3181 bytes live at most\nnever freed: 1 block, 3072 bytes, tagged weights\n$/,
  'handles.mts': /^the table begins with 42\n0 blocks are live\n1048576 bytes have 1 owner\n0 blocks are live\n$/,
  'injected-classes.mts': /^an average of 0, by MyManager\n$/,
  'scopes.mts': /^the sum is 4096, 1 block is live\n$/,
  'devices.mts': /^(cuda is absent: .+|.+ sent 42 back)\n$/,
  'cublas.mts': /^((cuda|cuBLAS) is absent: .+|cuBLAS got 65536 of 65536 numbers right)\n$/,
  'cuda-kernel.mts': /^((cuda|NVRTC|libcuda\.so\.1) is absent: .+|the kernel got 4096 of 4096 numbers right)\n$/,
  'opencl-kernel.mts': /^4096 of 4096 numbers are right, 16384 bytes apart\n$/,
  'report.mts': /^pool holds the least memory at its peak, 3\.\d\d MiB, and no other makes fewer native calls: 2\.\n$/,
  'dashboard.mts': /^stowage_requested_bytes\{manager="CachingMemoryManager",id="\d+",slot="ordinary",device="0"\} 1048576\n$/,
  'open-telemetry.mts': /^CachingMemoryManager 1048576\n$/,
  'tensors.mts':
    /^the first column is 1 and 4\n2 tensors, 144.02 KiB\n {2}q4_K: .* \(100.0 %\)\n {2}f32: .*\n0 tensors are live\n$/,
  'model.mts':
    /^the file says 1 2 3 4\nlayer input: 16 bytes\nlayer 0: 8 bytes\n2 copies outlive the file: 1 2 3 4\n\d.* GiB for all; in 16 GiB: \d+ layers, a context of 1024\ncontextLength: .*\ngpuLayers: /,
  'graph-allocator.mts': /^17 tensors of 17825792 bytes fit into 2097152\nthe input lies at \d+, 8 nodes overwrite theirs\n$/,
  'onnxruntime.mjs':
    /^1,4: 0\.7616\npast the manager: 160000 bytes\n10000,4: 0\.7616\n1 block from LimitingMemoryManager, 0 are live\n$/,
  'sqlite.mts': /^small table: 0\nlarge table: 7\nlimited to 4194304 bytes \(4\.00 MiB\)\n0 blocks are live\n$/,
  'change-one-thing.mts': /^1572864 bytes in a block of 2097152\n$/,
  'wrap-a-manager.mts': /^3 MiB from TlsfMemoryManager\n$/,
  'foreign-allocator.mts': /^4096 bytes of the C library, 0 bytes off a page\n$/,
  'budget-engines.mjs': /^tanh\(1\) is 0\.7616\nbuffers,database,models,v8 hold memory\n$/,
  'metrics-endpoint.mts':
    /^stowage_budget_limit_bytes\{budget="process",memory="host"\} 536870912\nstowage_budget_tenant_live_bytes\{.*,tenant="alice"\} 6291456\n$/,
  'fleet-telemetry.mts':
    /^\{ 'host\.name': 'node-7', 'k8s\.pod\.name': 'app-0' \}\n\{ budget: 'process', .*tenant: 'alice' \} 6291456\n$/,
  'kubernetes.mjs': /^# {5}96 MiB {2}Node, libraries, stacks: outside of the budget\n(.*\n)+ {4}value: \d+%\n$/,
  'arrow.mjs':
    /^1048576 rows in 8 MiB, the first is 42\nthe other process read 1048576 rows, their sum is 524336\n8 MiB went from the block to the pipe\n$/,
};

/** Whether Node runs TypeScript. */
const STRIPS_TYPES = 'typescript' in process.features && process.features.typescript !== false;

const sqlite = requireLibrary('SQLite', SQLITE_NAMES);

/** What an example needs beside this package. */
const NEEDS: Record<string, { readonly missing: boolean; readonly title: string }> = {
  'opencl-kernel.mts': { missing: openCl.missing, title: openCl.title('OpenCL') },
  'onnxruntime.mjs': onnxRuntime,
  'sqlite.mts': sqlite,
  'budget-engines.mjs': { missing: onnxRuntime.missing || sqlite.missing, title: `${onnxRuntime.title} and ${sqlite.title}` },
};

describe('docs/examples', () => {
  let folder = '';
  beforeAll(() => {
    folder = compiledExamples('examples');
  }, 120_000);

  const runs = (name: string) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(folder, runnable(name))], { encoding: 'utf8' });
    expect(stderr).toBe('');
    expect(status).toBe(0);
    expect(stdout).toMatch(OUTPUT[name] ?? /^$/);
  };
  // What pages show whole test/docs/blocks.test.ts runs, and compares with what the page says that it prints.
  const others = [...Object.keys(NEEDS), ...Object.values(SHOWN_EXAMPLES).flat()];

  test.each(names.filter((name) => !others.includes(name)))('%s runs and prints what it says', runs);

  for (const [name, { missing, title }] of Object.entries(NEEDS)) {
    test.skipIf(missing)(`${name} runs and prints what it says, with ${title}`, () => runs(name));
  }

  test('docs/examples/README.md names each', () => {
    const listed = readFileSync(join(EXAMPLES, 'README.md'), 'utf8').matchAll(/^\| \[(.*)\]\(\1\) \|/gm);
    expect(Array.from(listed, ([, name]) => name).sort()).toEqual(names.sort());
  });

  // Those in TypeScript are compiled by test/docs/blocks.test.ts.

  // From Node 22.18 on. Not below node_modules, where Node strips none.
  test('Node runs scopes.mts as it is where it strips types, and refuses its ending elsewhere', () => {
    const project = mkdtempSync(join(tmpdir(), 'stowage-examples-'));
    try {
      mkdirSync(join(project, 'node_modules'));
      symlinkSync(compiled(), join(project, 'node_modules/stowage'));
      copyFileSync(join(EXAMPLES, 'scopes.mts'), join(project, 'scopes.mts'));
      const { stdout, stderr } = spawnSync(process.execPath, ['scopes.mts'], { cwd: project, encoding: 'utf8' });
      if (STRIPS_TYPES) expect(stdout).toMatch(OUTPUT['scopes.mts']!);
      else expect(stderr).toContain('ERR_UNKNOWN_FILE_EXTENSION');
    } finally {
      rmSync(project, { recursive: true });
    }
  });

  test("the README's quick start is quick-start.mjs", () => {
    const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
    expect(readme).toContain(`\`\`\`js\n${readFileSync(join(EXAMPLES, 'quick-start.mjs'), 'utf8')}\`\`\``);
  });
});
