import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compiled } from '../fixtures/compiled.js';
import { compiledLibrary } from '../fixtures/compiled-c.js';
import { HURRIED, stowage } from './compiled-cli.js';

// The fixture in the place of the runtime that the loader finds.
const libraries = mkdtempSync(join(tmpdir(), 'stowage-gpu-'));
/** A few hundred blocks, of which some 440 MiB live at once: the fixture takes long for a call. */
const TRACE = join(libraries, 'small.trace');
const CARD = { ...HURRIED, LD_LIBRARY_PATH: libraries, GPU_FIXTURE_DEVICES: '2' };
const NO_DRIVER = { LD_LIBRARY_PATH: libraries, GPU_FIXTURE_STATUS: '35' };

beforeAll(() => {
  compiled();
  writeFileSync(TRACE, smallTrace());
  symlinkSync(compiledLibrary('gpu'), join(libraries, 'libcudart.so.13'));
  symlinkSync(compiledLibrary('gpu', ['-DGPU_HIP']), join(libraries, 'libamdhip64.so.7'));
}, 120_000);

function smallTrace(): string {
  const lines = ['#alloctrace v1 small'];
  for (let id = 0; id < 300; id++) {
    lines.push(`a ${id} ${id % 5 === 0 ? 7_600_000 + 4096 * id : 100 * (id + 1)}`);
    if (id % 5 === 4 && id > 250) lines.push(`f ${id - 4}`);
    if (id % 5 !== 0 && id > 50) lines.push(`f ${id}`);
  }
  return `${lines.join('\n')}\n`;
}

afterAll(() => rmSync(libraries, { recursive: true }));

describe('stowage doctor', () => {
  test('uses the cards of CUDA and HIP', () => {
    const { stdout, code } = stowage(['doctor'], CARD);
    for (const name of ['cuda', 'hip']) {
      expect(stdout).toMatch(new RegExp(`^device +${name} +yes +(a fixture on the CPU, 2.00 GiB(; |$)){2}`, 'm'));
    }
    expect(code).toBe(0);
  });

  test('says why they are absent', () => {
    const { stdout, code } = stowage(['doctor'], NO_DRIVER);
    expect(stdout).toMatch(
      /^device +cuda +no +cuda is absent: cudaErrorInsufficientDriver \(35\): driver version is insufficient/m,
    );
    expect(stdout).toMatch(/^device +hip +no +hip is absent: hipErrorInsufficientDriver \(35\)/m);
    expect(code).toBe(0);
  });
});

describe('stowage replay', () => {
  test('replays on a card', () => {
    const { stdout, stderr, code } = stowage(['replay', TRACE, '--device', 'cuda', '-m', 'caching,pool', '--json'], CARD);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(JSON.parse(stdout).results).toMatchObject([{ device: 'cuda', manager: 'caching' }, { manager: 'pool' }]);
  });

  test('verifies memory that the host cannot see, and finds a card that does not keep it', () => {
    const replay = ['replay', TRACE, '--device', 'cuda', '-m', 'pool', '--verify'];
    const { stdout, stderr, code } = stowage(replay, CARD);
    expect({ stderr, code }).toEqual({ stderr: '', code: 0 });
    expect(stdout).toMatch(/verified .*the first and last byte of 300 blocks/);
    const forgetting = stowage(replay, { ...CARD, GPU_FIXTURE_FORGETS_COPIES: '1' });
    expect(forgetting).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/the first byte of allocation \d+ is \d+, but \d+ was written/),
    });
  });

  test('takes no more of a card than it is told', () => {
    for (const device of ['cuda', 'hip']) {
      const replay = ['replay', TRACE, '--device', device, '-m', 'caching,pool', '--json', '--capacity'];
      const [enough, little] = [stowage([...replay, '1GiB'], CARD), stowage([...replay, '300MiB'], CARD)];
      expect({ code: enough.code, stderr: enough.stderr }).toEqual({ code: 0, stderr: '' });
      expect(little.code).toBe(1);
      expect(little.stderr).toMatch(/^stowage: caching: .* out of memory: .* capacity 314572800 bytes \(300\.00 MiB\)$/m);
      expect(little.stderr).toMatch(/^stowage: pool: .* out of memory: .* capacity 314572800 bytes \(300\.00 MiB\)$/m);
    }
  });

  test('says in one line that there is none', () => {
    const { stderr, code } = stowage(['replay', TRACE, '--device', 'cuda'], NO_DRIVER);
    expect(stderr).toMatch(/^stowage: cuda is absent: cudaErrorInsufficientDriver \(35\): .*\n$/);
    expect(code).not.toBe(0);
  });
});
