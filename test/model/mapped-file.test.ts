import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { pageBytes } from '../../adapters/os/mapping.js';
import { exactBytes, GiB, KiB, MiB } from '../../src/core/units.js';
import { MappedFile } from '../../src/model/mapped-file.js';
import { codeOf } from '../fixtures/code-of.js';
import { moduleUrl, runChild } from '../fixtures/compiled.js';

const folder = mkdtempSync(join(tmpdir(), 'stowage-mapped-'));
afterAll(() => rmSync(folder, { recursive: true }));

const PAGE = pageBytes();
let files = 0;

/** A file whose every byte tells its place, at least in part. */
function fileOf(bytes: number): string {
  const path = join(folder, `file-${files++}`);
  writeFileSync(
    path,
    Uint8Array.from({ length: bytes }, (_, i) => byteAt(i)),
  );
  return path;
}

function byteAt(place: number): number {
  return ((place % 251) + Math.floor(place / 4096) + 1) & 0xff;
}

/** A file without a byte on the disk. */
function sparseFile(bytes: number): string {
  const path = join(folder, `sparse-${files++}`);
  writeFileSync(path, '');
  truncateSync(path, bytes);
  return path;
}

describe('MappedFile', () => {
  describe('open', () => {
    test.each([
      ['is not there', () => join(folder, 'none'), 'ENOENT'],
      ['is empty', () => sparseFile(0), 'it is empty'],
      ['is a folder', () => folder, 'it is no regular file'],
      ['is a device', () => '/dev/null', 'it is no regular file'],
    ])('says so when the file %s', (_, path, reason) => {
      const before = readFileSync('/proc/self/maps', 'utf8').length;
      expect(() => MappedFile.open(path())).toThrow(
        expect.objectContaining({ code: 'ERR_MEM_BAD_INPUT', message: expect.stringContaining(reason) }),
      );
      expect(readFileSync('/proc/self/maps', 'utf8').length).toBeLessThan(before + 4096);
    });

    test('refuses a prefetch that is no number of bytes', () => {
      for (const prefetch of [-1, 0.5, Number.NaN]) {
        expect(codeOf(() => MappedFile.open(fileOf(10), { prefetch }))).toBe('ERR_MEM_INVALID_ARGUMENT');
      }
    });

    test.each([
      { prefetch: true },
      { prefetch: 100 },
      { prefetch: 2 ** 40 },
      { numa: true, prefetch: true },
      { access: 'random' as const },
      { access: 'normal' as const },
    ])('shows the same bytes with %o', (options) => {
      const path = fileOf(3 * PAGE + 17);
      using file = MappedFile.open(path, options);
      expect(file.bytes).toBe(3 * PAGE + 17);
      expect(Buffer.compare(file.bytesAt(0, file.bytes), readFileSync(path))).toBe(0);
    });

    test('reads ahead what prefetch says, and nothing with numa', () => {
      const resident = (options: { prefetch: number; numa?: boolean }) => {
        using file = MappedFile.open(sparseFile(64 * MiB), { access: 'random', ...options });
        return file.residentBytes();
      };
      expect(resident({ prefetch: 0 })).toBe(0);
      expect(resident({ prefetch: 8 * MiB, numa: true })).toBe(0);
      expect(resident({ prefetch: 8 * MiB })).toBeGreaterThan(0);
    });
  });

  describe('view', () => {
    test('shows numbers where they lie', () => {
      const path = join(folder, 'floats');
      writeFileSync(path, new Uint8Array(Float32Array.of(1, 2.5, -3, 4).buffer));
      using file = MappedFile.open(path);
      expect([...file.view(Float32Array, 4, 2)]).toEqual([2.5, -3]);
      expect(codeOf(() => file.view(Float32Array, 2, 1))).toBe('ERR_MEM_INVALID_ARGUMENT');
    });

    test.each([
      [0, 101],
      [100, 1],
      [-1, 2],
      [0.5, 1],
      [0, -1],
      [0, Number.NaN],
      [2 ** 53, 1],
    ])('throws for offset %d and %d bytes of a file of 100', (offset, bytes) => {
      using file = MappedFile.open(fileOf(100));
      const thrown = ['ERR_MEM_OUT_OF_RANGE', 'ERR_MEM_INVALID_ARGUMENT'];
      expect(thrown).toContain(codeOf(() => file.bytesAt(offset, bytes)));
      expect(thrown).toContain(codeOf(() => file.addressOf(offset, bytes)));
    });

    test('never changes the file: what is written is seen by this mapping alone', () => {
      const path = fileOf(2 * PAGE);
      using file = MappedFile.open(path);
      using other = MappedFile.open(path);
      file.bytesAt(10, 4).fill(99);
      expect([...file.bytesAt(9, 6)]).toEqual([byteAt(9), 99, 99, 99, 99, byteAt(14)]);
      expect([...other.bytesAt(9, 2)]).toEqual([byteAt(9), byteAt(10)]);
      expect(readFileSync(path)[10]).toBe(byteAt(10));
    });

    test('reaches every place of a file of 9 GiB, across the borders of 2 and 4 GiB', () => {
      const path = sparseFile(9 * GiB + 5);
      const places = [0, 2 * GiB - 2, 4 * GiB - 2, 5 * GiB, 6 * GiB + 1, 8 * GiB - 3, 9 * GiB];
      const fd = openSync(path, 'r+');
      for (const place of places) writeSync(fd, Uint8Array.of(place / GiB + 1, 7, 8, 9, 10), 0, 5, place);
      closeSync(fd);
      using file = MappedFile.open(path, { access: 'random' });
      expect(file.bytes).toBe(9 * GiB + 5);
      for (const place of places) expect([...file.bytesAt(place, 5)]).toEqual([Math.floor(place / GiB + 1), 7, 8, 9, 10]);
      const large = file.bytesAt(GiB, 4 * GiB);
      expect([large.length, large[4 * GiB - 1], large[3 * GiB - 2]]).toEqual([4 * GiB, 0, 4]);
      expect(codeOf(() => file.bytesAt(0, 4 * GiB + 1))).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(file.addressOf(1, 9 * GiB)).toBe(file.base + 1);
    });
  });

  describe('dispose', () => {
    test('leaves arrays that show zeros and can be written', () => {
      const file = MappedFile.open(fileOf(5 * PAGE));
      const array = file.bytesAt(PAGE, 3 * PAGE);
      expect(array[0]).toBe(byteAt(PAGE));
      file.dispose();
      file.dispose();
      expect(array.every((byte) => byte === 0)).toBe(true);
      array.fill(1);
      expect(file.disposed).toBe(true);
    });

    test('makes every other method throw', () => {
      const file = MappedFile.open(fileOf(100));
      file[Symbol.dispose]();
      const calls = [
        () => file.base,
        () => file.mappedRanges,
        () => file.lockedBytes,
        () => file.bytesAt(0, 1),
        () => file.view(Uint8Array, 0, 1),
        () => file.addressOf(0, 1),
        () => file.prefetch(),
        () => file.populate(),
        () => file.advise('random'),
        () => file.unmapFragment(0, 1),
        () => file.lock(),
        () => file.residentBytes(),
        () => file.move(),
      ];
      for (const call of calls) expect(codeOf(call), String(call)).toBe('ERR_MEM_DISPOSED');
    });

    test('closes the file', () => {
      const open = () => readFileSync('/proc/self/maps', 'utf8').split(folder).length;
      const path = fileOf(100);
      const before = open();
      const file = MappedFile.open(path);
      expect(open()).toBe(before + 1);
      file.dispose();
      expect(open()).toBe(before);
    });
  });

  describe('move', () => {
    test('hands everything over', () => {
      const first = MappedFile.open(fileOf(3 * PAGE));
      first.unmapFragment(0, PAGE);
      const array = first.bytesAt(PAGE, 10);
      using second = first.move();
      expect(first.disposed).toBe(true);
      first.dispose();
      expect(array[0]).toBe(byteAt(PAGE));
      expect([second.bytes, second.mappedRanges]).toEqual([3 * PAGE, [{ first: PAGE, last: 3 * PAGE }]]);
      expect(second.bytesAt(PAGE, 1)[0]).toBe(byteAt(PAGE));
    });
  });

  describe('unmapFragment', () => {
    test('takes whole pages inside of the part, and tracks what is left', () => {
      using file = MappedFile.open(fileOf(8 * PAGE + 100));
      const array = file.bytesAt(0, file.bytes);
      expect(file.unmapFragment(PAGE + 1, 4 * PAGE + 1)).toBe(2 * PAGE);
      expect(file.unmapFragment(PAGE + 1, 4 * PAGE + 1)).toBe(0);
      expect(file.unmapFragment(PAGE + 1, 2 * PAGE - 1)).toBe(0);
      expect(file.unmapFragment(8 * PAGE, 8 * PAGE + 99)).toBe(0);
      expect(file.unmapFragment(7 * PAGE + 1, 8 * PAGE + 100)).toBe(100);
      expect(file.mappedRanges).toEqual([
        { first: 0, last: 2 * PAGE },
        { first: 4 * PAGE, last: 8 * PAGE },
      ]);
      expect([array[2 * PAGE - 1], array[2 * PAGE], array[4 * PAGE - 1], array[4 * PAGE], array[8 * PAGE]]).toEqual([
        byteAt(2 * PAGE - 1),
        0,
        0,
        byteAt(4 * PAGE),
        0,
      ]);
      expect(codeOf(() => file.bytesAt(2 * PAGE - 1, 2))).toBe('ERR_MEM_DISPOSED');
      expect(codeOf(() => file.unmapFragment(0, file.bytes + 1))).toBe('ERR_MEM_OUT_OF_RANGE');
      expect(codeOf(() => file.unmapFragment(5, 4))).toBe('ERR_MEM_OUT_OF_RANGE');
    });

    test('gives the memory back', () => {
      using file = MappedFile.open(fileOf(MiB));
      file.populate();
      expect(file.residentBytes()).toBe(MiB);
      file.unmapFragment(0, MiB / 2);
      expect(file.residentBytes()).toBe(MiB / 2);
      expect(file.residentBytes(0, MiB / 2)).toBe(0);
    });

    test('agrees with a model over any program', () => {
      const pages = 12;
      const path = fileOf(pages * PAGE - 7);
      const bytes = pages * PAGE - 7;
      const place = fc.integer({ min: 0, max: bytes });
      fc.assert(
        fc.property(fc.array(fc.tuple(place, place), { maxLength: 12 }), (cuts) => {
          using file = MappedFile.open(path);
          const there = new Array<boolean>(pages).fill(true);
          for (const [a, b] of cuts) {
            const [first, last] = [Math.min(a, b), Math.max(a, b)];
            file.unmapFragment(first, last);
            for (let page = 0; page < pages; page++) {
              if (page * PAGE >= first && Math.min((page + 1) * PAGE, bytes) <= last) there[page] = false;
            }
          }
          for (let page = 0; page < pages; page++) {
            const read = () => file.bytesAt(page * PAGE + 5, 1)[0];
            if (there[page]) expect(read()).toBe(byteAt(page * PAGE + 5));
            else expect(codeOf(read)).toBe('ERR_MEM_DISPOSED');
          }
        }),
        { numRuns: 60 },
      );
    });
  });

  describe('bytesAt of a file that was truncated', () => {
    test('throws before the bytes are touched, and arrays show zeros from then on', () => {
      const path = fileOf(10 * PAGE);
      using file = MappedFile.open(path);
      const array = file.bytesAt(0, file.bytes);
      truncateSync(path, 3 * PAGE + 10);
      expect(() => file.bytesAt(3 * PAGE, 11)).toThrow(
        expect.objectContaining({
          code: 'ERR_MEM_BAD_INPUT',
          message: `${path}: it was truncated from ${exactBytes(10 * PAGE)} to ${exactBytes(3 * PAGE + 10)} while it was mapped`,
        }),
      );
      expect([array[3 * PAGE], array[3 * PAGE + 10], array[5 * PAGE], array[10 * PAGE - 1]]).toEqual([byteAt(3 * PAGE), 0, 0, 0]);
      expect(file.bytesAt(3 * PAGE, 10)[9]).toBe(byteAt(3 * PAGE + 9));
      for (const call of [() => file.lock(), () => file.populate(), () => file.addressOf(5 * PAGE, 1)]) {
        expect(codeOf(call)).toBe('ERR_MEM_BAD_INPUT');
      }
      // What grows again is not what was mapped: those pages stay given up.
      truncateSync(path, 10 * PAGE);
      expect(file.mappedRanges).toEqual([{ first: 0, last: 4 * PAGE }]);
      expect(codeOf(() => file.bytesAt(5 * PAGE, 1))).toBe('ERR_MEM_DISPOSED');
    });

    test('goes on with the old file when another one takes its name', () => {
      const path = fileOf(2 * PAGE);
      using file = MappedFile.open(path);
      rmSync(path);
      writeFileSync(path, 'short');
      expect(file.bytesAt(PAGE, 1)[0]).toBe(byteAt(PAGE));
    });
  });

  describe('residentBytes', () => {
    test('counts pages that were touched', () => {
      using file = MappedFile.open(sparseFile(256 * KiB), { access: 'random' });
      expect(file.residentBytes()).toBe(0);
      expect(file.bytesAt(9 * PAGE, 1)[0]).toBe(0);
      expect(file.residentBytes()).toBe(PAGE);
      expect(file.residentBytes(9 * PAGE + 1, 9 * PAGE + 2)).toBe(PAGE);
      expect(file.residentBytes(0, 9 * PAGE)).toBe(0);
    });
  });

  describe('lock', () => {
    const locked = () => Number(/VmLck:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * KiB;

    test('grows page by page, without a copy of a page', () => {
      const before = locked();
      using file = MappedFile.open(fileOf(8 * PAGE + 1));
      expect([file.lock(0), file.lockedBytes]).toEqual([true, 0]);
      expect([file.lock(1), file.lockedBytes, locked() - before]).toEqual([true, PAGE, PAGE]);
      expect([file.lock(PAGE), file.lockedBytes]).toEqual([true, PAGE]);
      expect([file.lock(3 * PAGE + 1), locked() - before]).toEqual([true, 4 * PAGE]);
      expect([file.lock(2 * PAGE), file.lockedBytes]).toEqual([true, 4 * PAGE]);
      file.unmapFragment(0, 2 * PAGE);
      expect([file.lockedBytes, locked() - before]).toEqual([2 * PAGE, 2 * PAGE]);
      expect([file.lock(), file.lockedBytes, locked() - before]).toEqual([true, 6 * PAGE + 1, 7 * PAGE]);
      const entry = readFileSync('/proc/self/smaps', 'utf8')
        .split(/(?=^[0-9a-f]+-[0-9a-f]+ )/m)
        .find((text) => text.includes(file.path))!;
      expect(/Anonymous:\s+(\d+) kB/.exec(entry)?.[1]).toBe('0');
      // It can still be written without harm.
      file.bytesAt(4 * PAGE, 1)[0] = 1;
      file.dispose();
      expect(locked()).toBe(before);
    });

    test('warns once with a hint and goes on when the system refuses', () => {
      const { stdout, stderr, status } = runChild(
        `import { MappedFile } from '${moduleUrl('src/model/mapped-file.js')}';
        const file = MappedFile.open(${JSON.stringify(fileOf(64 * PAGE))});
        file.residentBytes(file.bytesAt(0, 1)[0]);
        // Everything is loaded now: root may lock as much as it likes, and after the change of user nothing may be readable.
        if (process.getuid() === 0) { process.setgroups([]); process.setgid(65534); process.setuid(65534); }
        const first = file.lock(${PAGE}), then = file.lock(), again = file.lock();
        console.log(first, then, again, file.lockedBytes, file.bytesAt(5, 1)[0]);`,
        { shell: `ulimit -l ${(PAGE * 4) / KiB}` },
      );
      expect(status).toBe(0);
      expect(stdout).toBe(`true false false ${PAGE} ${byteAt(5)}\n`);
      expect(stderr.match(/the system refused to lock 252\.00 KiB in memory: mlock2? failed/g)).toHaveLength(1);
      expect(stderr).toContain('the limit is 16.00 KiB: raise it with "ulimit -l"');
    });
  });

  test('is unmapped with a warning when it was dropped', () => {
    const { stdout, stderr } = runChild(
      `import { MappedFile } from '${moduleUrl('src/model/mapped-file.js')}';
      import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
      const path = ${JSON.stringify(fileOf(PAGE))};
      const mappings = () => readFileSync('/proc/self/maps', 'utf8').split(path).length - 1;
      const target = (fd) => { try { return readlinkSync('/proc/self/fd/' + fd); } catch { return ''; } };
      const open = () => readdirSync('/proc/self/fd').filter((fd) => target(fd) === path).length;
      const settle = async () => { for (let i = 0; i < 10; i++) { gc(); await new Promise((r) => setTimeout(r, 5)); } };
      let array;
      (() => { MappedFile.open(path); array = MappedFile.open(path).bytesAt(3, 1); MappedFile.open(path).dispose(); })();
      console.log(mappings(), open());
      await settle();
      console.log(mappings(), open(), array[0]);
      array = undefined;
      await settle();
      console.log(mappings(), open());`,
      { nodeArguments: ['--expose-gc'] },
    );
    expect(stdout).toBe(`2 2\n1 1 ${byteAt(3)}\n0 0\n`);
    expect(stderr.match(/a mapped file of \d+ bytes \(.*\) was dropped without dispose\(\)/g)).toHaveLength(2);
  });

  test('cannot be mapped when the system has no room, and leaves nothing open', () => {
    const { stdout } = runChild(
      `import { MappedFile } from '${moduleUrl('src/model/mapped-file.js')}';
      import { readdirSync } from 'node:fs';
      MappedFile.open(${JSON.stringify(fileOf(PAGE))}).dispose();
      const files = readdirSync('/proc/self/fd').length;
      let code;
      try { MappedFile.open(${JSON.stringify(sparseFile(2 ** 40))}); } catch (error) { code = error.code + ' ' + error.facts.statusName; }
      console.log(code, readdirSync('/proc/self/fd').length - files);`,
      { shell: 'ulimit -v 33554432' },
    );
    expect(stdout).toBe('ERR_MEM_NATIVE ENOMEM 0\n');
  });
});
