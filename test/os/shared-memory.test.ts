import { closeSync, fstatSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { addressOf } from '../../adapters/os/bytes.js';
import { withFileLock } from '../../adapters/os/file-lock.js';
import { mapPages, pageBytes, replacePages, residentBytes, unmapPages } from '../../adapters/os/mapping.js';
import { nativeView } from '../../adapters/os/native-view.js';
import {
  closeSharedMemoryObject,
  createSharedMemoryObject,
  mapShared,
  openSharedMemoryObject,
  syncPages,
  unlinkSharedMemoryObject,
} from '../../adapters/os/shared-memory-object.js';
import { GiB } from '../../src/core/units.js';
import { codeOf } from '../fixtures/code-of.js';

const NAME = `/stowage-test-os-${process.pid}`;
const page = pageBytes();

describe.skipIf(process.platform === 'win32')('shared memory objects', () => {
  afterEach(() => {
    if (codeOf(() => unlinkSharedMemoryObject(NAME)) === 'none') throw new Error('a test left its object');
  });

  test('two mappings of one object show the same bytes', () => {
    const fd = createSharedMemoryObject(NAME);
    ftruncateSync(fd, page);
    const other = openSharedMemoryObject(NAME);
    const first = mapShared(fd, page);
    const second = mapShared(other, page);
    closeSharedMemoryObject(fd);
    closeSharedMemoryObject(other);
    unlinkSharedMemoryObject(NAME);
    new Uint8Array(nativeView(first, page))[17] = 42;
    expect(new Uint8Array(nativeView(second, page))[17]).toBe(42);
    unmapPages(first, page);
    unmapPages(second, page);
  });

  test('are for their owner alone, and empty at first', () => {
    const fd = createSharedMemoryObject(NAME);
    const { mode, size } = fstatSync(fd);
    closeSharedMemoryObject(fd);
    unlinkSharedMemoryObject(NAME);
    expect(mode & 0o777).toBe(0o600);
    expect(size).toBe(0);
  });

  test('creating one that exists fails, and so does opening one that does not', () => {
    closeSharedMemoryObject(createSharedMemoryObject(NAME));
    expect(() => createSharedMemoryObject(NAME)).toThrow(
      expect.objectContaining({ facts: expect.objectContaining({ statusName: 'EEXIST' }) }),
    );
    unlinkSharedMemoryObject(NAME);
    expect(() => openSharedMemoryObject(NAME)).toThrow(
      expect.objectContaining({ facts: expect.objectContaining({ statusName: 'ENOENT' }) }),
    );
  });
});

describe.skipIf(process.platform === 'win32')('syncPages', () => {
  test('writes a mapped file', () => {
    const folder = mkdtempSync(join(tmpdir(), 'stowage-'));
    const path = join(folder, 'file');
    const fd = openSync(path, 'w+');
    ftruncateSync(fd, page);
    const address = mapShared(fd, page);
    new Uint8Array(nativeView(address, page)).fill(7);
    syncPages(address, page);
    unmapPages(address, page);
    closeSync(fd);
    const bytes = readFileSync(path);
    rmSync(folder, { recursive: true });
    expect(bytes.every((byte) => byte === 7)).toBe(true);
    expect(codeOf(() => syncPages(address, page))).toBe('ERR_MEM_NATIVE');
  });
});

describe.skipIf(process.platform === 'win32')('residentBytes', () => {
  test('counts the pages that were touched', () => {
    const bytes = 64 * page;
    const address = mapPages(bytes);
    const view = new Uint8Array(nativeView(address, bytes));
    expect(residentBytes(address, bytes)).toBe(0);
    for (const i of [0, 5, 63]) view[i * page] = 1;
    expect(residentBytes(address, bytes)).toBe(3 * page);
    replacePages(address, bytes);
    expect(residentBytes(address, bytes)).toBe(0);
    expect(view[5 * page]).toBe(0);
    unmapPages(address, bytes);
    expect(codeOf(() => residentBytes(address, bytes))).toBe('ERR_MEM_NATIVE');
  });

  test('counts across its steps of 1 GiB', () => {
    const bytes = GiB + 4 * page;
    const address = mapPages(bytes);
    new Uint8Array(nativeView(address + GiB - page, 2 * page)).fill(1);
    expect(residentBytes(address, bytes)).toBe(2 * page);
    unmapPages(address, bytes);
  });
});

describe('nativeView', () => {
  test('refuses more than 4 GiB, which would abort the process', () => {
    expect(codeOf(() => nativeView(4096, 4 * GiB + 1))).toBe('ERR_MEM_INVALID_ARGUMENT');
  });
});

describe('addressOf', () => {
  test.each([
    ['an ArrayBuffer', new ArrayBuffer(64)],
    ['a SharedArrayBuffer', new SharedArrayBuffer(64)],
  ])('gives where the bytes of %s lie', (_name, buffer) => {
    const bytes = new Uint8Array(buffer);
    bytes[3] = 9;
    const seen = new Uint8Array(nativeView(addressOf(buffer), 64));
    expect(seen[3]).toBe(9);
    seen[4] = 8;
    expect(bytes[4]).toBe(8);
  });
});

// Linux alone tells who has a lock.
const OWNER = process.platform === 'linux' ? { ownerPid: process.pid } : {};

describe.skipIf(process.platform === 'win32')('withFileLock', () => {
  test('gives the lock back, also when the work throws', () => {
    const folder = mkdtempSync(join(tmpdir(), 'stowage-'));
    const first = openSync(join(folder, 'file'), 'w+');
    const second = openSync(join(folder, 'file'), 'r');
    expect(() =>
      withFileLock(first, 1000, () => {
        throw new RangeError('work');
      }),
    ).toThrow(RangeError);
    // It would wait if the first were not given back.
    expect(withFileLock(second, 1000, () => withFileLock(second, 1000, () => 5))).toBe(5);
    const blocked = () => withFileLock(first, 1000, () => withFileLock(second, 30, () => 0));
    expect(blocked).toThrow(expect.objectContaining({ code: 'ERR_MEM_LOCK_TIMEOUT', facts: expect.objectContaining(OWNER) }));
    closeSync(first);
    closeSync(second);
    rmSync(folder, { recursive: true });
    expect(codeOf(() => withFileLock(-1, 1000, () => 0))).toBe('ERR_MEM_NATIVE');
  });
});
