import { describe, expect, test } from 'vitest';
import { moduleUrl, runChild } from '../fixtures/compiled.js';
import { leftSegments } from './names.js';

const onLinux = process.platform === 'linux';

/** Runs a creation that fails under a limit of the system; prints the code and the size limit's name. */
function create(options: string, shell: string, backend = 'named-backends.js'): string {
  const source = `
    const module = await import(${JSON.stringify(moduleUrl(`src/shared/backends/${backend}`))});
    const Backend = Object.values(module)[0];
    try {
      Backend.create('/test-${process.pid}-limited'.slice(Backend.name === 'FileBackend' ? 0 : 1), ${options});
      console.log('created');
    } catch (error) {
      console.log(error.code, error.cause?.facts?.statusName ?? error.facts?.statusName ?? error.cause?.code);
    }`;
  const { stdout, stderr } = runChild(source, { shell });
  return stderr + stdout;
}

describe.skipIf(!onLinux)('creating a segment that the system refuses', () => {
  test('for a limit of the size of files leaves nothing', () => {
    // 8 blocks of 512 bytes: the size of the header alone.
    expect(create('{ id: 0, bytes: 1 << 20 }', 'ulimit -f 8')).toBe('ERR_MEM_OUT_OF_MEMORY EFBIG\n');
    expect(leftSegments()).toEqual([]);
  });

  test('for want of address space leaves nothing', () => {
    const outcome = create('{ id: 0, bytes: 8 * 2 ** 30 }', 'ulimit -v 6000000');
    expect(outcome).toBe('ERR_MEM_OUT_OF_MEMORY ENOMEM\n');
    expect(leftSegments()).toEqual([]);
  });
});
