import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { findGroupPlace } from './memory-group.js';

// In a folder that stands for the machine's root: the kernel's own groups are for the soak.
describe('findGroupPlace', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'stowage-group-'));
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  const file = (path: string, text: string) => {
    mkdirSync(join(root, path, '..'), { recursive: true });
    writeFileSync(join(root, path), text);
  };

  test('says why there is none when no memory controller is mounted', () => {
    file('proc/self/cgroup', '0::/\n');
    file('sys/fs/cgroup/cgroup.controllers', 'cpu pids');
    expect(findGroupPlace(root)).toEqual({
      version: 'none',
      reason: 'no memory group can be made (no memory controller is mounted)',
    });
  });

  test.each([
    ['version 1', '4:memory:/a/b\n0::/\n', 'sys/fs/cgroup/memory/a/b/memory.limit_in_bytes', 'sys/fs/cgroup/memory'],
    ['version 2', '0::/a/b\n', 'sys/fs/cgroup/cgroup.controllers', 'sys/fs/cgroup'],
  ])(
    'tries its own group and those above it in %s, says what went wrong in each, and leaves nothing',
    (_, groups, path, mount) => {
      file('proc/self/cgroup', groups);
      file(path, 'memory');
      mkdirSync(join(root, mount, 'a/b'), { recursive: true });
      const place = findGroupPlace(root);
      expect(place.version).toBe('none');
      // A folder that is no group has no file of the kernel's.
      for (const group of ['/a/b', '/a', '']) expect(place.reason).toContain(`${join(root, mount)}${group}`);
      expect(readdirSync(join(root, mount), { recursive: true }).filter((name) => String(name).includes('stowage'))).toEqual([]);
    },
  );
});
