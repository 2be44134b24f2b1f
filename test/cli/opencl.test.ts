import { beforeAll, describe, expect, test } from 'vitest';
import { compiled } from '../fixtures/compiled.js';
import { openCl } from '../fixtures/opencl.js';
import { HURRIED, stowage } from './compiled-cli.js';

const RESNET = 'test/traces/resnet.trace.gz';
const WITHOUT = { OCL_ICD_VENDORS: '/nowhere' };

beforeAll(() => void compiled(), 120_000);

describe.skipIf(openCl.missing)(openCl.title('stowage on OpenCL'), () => {
  test('replays on its memory as on any', () => {
    const { code, stdout, stderr } = stowage(['replay', RESNET, '--device', 'opencl', '--capacity', '1GiB', '--json'], HURRIED);
    expect([code, stderr]).toEqual([0, '']);
    const [result] = JSON.parse(stdout).results;
    expect(result).toMatchObject({ manager: 'caching', device: 'opencl', events: 26_012, allocations: 13_327, nativeFrees: 0 });
  });

  test('keeps to a capacity, and verifies memory that the host cannot see', () => {
    const full = stowage(['replay', RESNET, '--device', 'opencl', '--capacity', '100MiB']);
    expect([full.code, full.stderr]).toEqual([
      1,
      expect.stringMatching(/: out of memory: .*capacity 104857600 bytes \(100\.00 MiB\)\n$/),
    ]);
    const verified = stowage(['replay', RESNET, '--device', 'opencl', '--capacity', '1GiB', '--verify'], HURRIED);
    expect([verified.code, verified.stderr]).toEqual([0, '']);
    expect(verified.stdout).toMatch(/verified .*the first and last byte of 13,327 blocks/);
  });

  test('says in one line that there is none', () => {
    const { code, stdout, stderr } = stowage(['replay', RESNET, '--device', 'opencl'], WITHOUT);
    expect([code, stdout, stderr]).toEqual([1, '', 'stowage: OpenCL is absent: no platform: CL_PLATFORM_NOT_FOUND_KHR\n']);
  });

  test('is found by the doctor, or missed with the reason', () => {
    const finding = (env: NodeJS.ProcessEnv) =>
      JSON.parse(stowage(['doctor', '--json'], env).stdout).findings.find(({ name }: { name: string }) => name === 'opencl');
    expect(finding({})).toMatchObject({
      works: true,
      detail: expect.stringMatching(/Portable Computing Language\), \d+\.\d\d GiB/),
    });
    expect(finding(WITHOUT)).toMatchObject({ works: false, detail: 'OpenCL is absent: no platform: CL_PLATFORM_NOT_FOUND_KHR' });
  });
});
