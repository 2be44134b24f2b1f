import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { compiledExamples } from '../../fixtures/compiled-examples.js';
import { GpuFixture } from '../../fixtures/gpu-fixture.js';

// It stands for cuBLAS, NVRTC and the driver, too.
const { library } = new GpuFixture('cuda');
let folder = '';

beforeAll(() => {
  folder = compiledExamples('gpu-examples');
}, 120_000);

function run(name: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const options = { encoding: 'utf8', env: { ...process.env, ...env } } as const;
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(folder, `${name}.mjs`), ...args], options);
  return { status, stdout, stderr };
}

describe.each([
  ['cublas', 'cuBLAS', 'cuBLAS got 65536 of 65536 numbers right\n'],
  ['cuda-kernel', 'NVRTC', 'the kernel got 4096 of 4096 numbers right\n'],
])('docs/examples/%s.mts', (name, part, output) => {
  test('works on memory of a pool, in the order of its stream', () => {
    expect(run(name, [library, library, library])).toEqual({ status: 0, stdout: output, stderr: '' });
  });

  test('says that there is no card, or no library', () => {
    expect(run(name, [library, library, library], { GPU_FIXTURE_STATUS: '100' })).toEqual({
      status: 0,
      stdout: 'cuda is absent: cudaErrorNoDevice (100): no device is detected\n',
      stderr: '',
    });
    const stdout = expect.stringMatching(`^${part} is absent: /nowhere/lib\\.so: .*\n$`);
    expect(run(name, [library, '/nowhere/lib.so'])).toEqual({ status: 0, stdout, stderr: '' });
  });

  test('finds a card that does not do what it is asked for', () => {
    const { stdout } = run(name, [library, library, library], { GPU_FIXTURE_FORGETS_COPIES: '1' });
    expect(stdout).toMatch(/ got \d+ of \d+ numbers right\n$/);
    expect(stdout).not.toBe(output);
  });
});
