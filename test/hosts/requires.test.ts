import { afterEach, describe, expect, test, vi } from 'vitest';
import { libcNames } from '../../adapters/os/libc.js';
import { codeOf } from '../fixtures/code-of.js';
import { requireLibrary } from '../fixtures/requires.js';

describe('requireLibrary', () => {
  afterEach(() => vi.unstubAllEnvs());

  test('opens the first candidate that is here', () => {
    const { missing, title, library } = requireLibrary('C library', ['libno-such.so', ...libcNames()]);
    expect([missing, title]).toEqual([false, 'C library']);
    expect(library.path).not.toBe('libno-such.so');
  });

  test('tells why a library is missing, outside of CI', () => {
    vi.stubEnv('CI', undefined);
    const needed = requireLibrary('nothing', ['libno-such.so']);
    expect(needed.missing).toBe(true);
    expect(needed.title).toMatch(/^nothing \(skipped: .*libno-such\.so/);
    expect(codeOf(() => needed.library)).toBe('ERR_MEM_DEVICE_ABSENT');
  });

  test('throws in CI', () => {
    vi.stubEnv('CI', 'true');
    expect(codeOf(() => requireLibrary('nothing', ['libno-such.so']))).toBe('ERR_MEM_DEVICE_ABSENT');
  });
});
