import { closeSync, openSync, statSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { MiB } from '../../../src/core/units.js';
import { HEADER_BYTES } from '../../../src/shared/backends/backend-header.js';
import { PosixShmBackend } from '../../../src/shared/backends/named-backends.js';
import { ArrayBackend } from '../../../src/shared/backends/nameless-backends.js';
import { Control } from '../../../src/shared/budget/ledger-layout.js';
import { checkLedgerSpace } from '../../../src/shared/budget/ledger-words.js';
import { SharedLedger } from '../../../src/shared/budget/shared-ledger.js';
import { MemoryRegistry } from '../../../src/shared/memory-registry.js';
import { listSegments, removeListed } from '../../../src/shared/segment-list.js';
import { codeOf } from '../../fixtures/code-of.js';
import { compiled, moduleUrl, runChild } from '../../fixtures/compiled.js';
import { expectNothingLeft, freshName, pathOfName } from '../names.js';
import { LedgerScene, LIMIT_PAGES, made, member, PAGE } from './ledgers.js';

expectNothingLeft();

beforeAll(() => {
  compiled();
}, 120_000);

describe('SharedLedger', () => {
  describe('create', () => {
    test('makes a ledger of one member, which holds nothing', () => {
      using ledger = SharedLedger.create({ limitBytes: 10 * MiB }, member('a', { priority: 2.5, minimumBytes: 2 * MiB }));
      expect(ledger.limitBytes).toBe(10 * MiB);
      expect(ledger.usedBytes).toBe(0);
      expect(ledger.token).toBeInstanceOf(SharedArrayBuffer);
      const rest = { heldBytes: 0, cachedBytes: 0, wantedBytes: 0, pid: process.pid, isSelf: true };
      expect(ledger.members()).toEqual([{ name: 'a', priority: 2.5, minimumBytes: 2 * MiB, ...rest }]);
    });

    test('rounds the limit down to whole pages', () => {
      using ledger = SharedLedger.create({ limitBytes: 3 * PAGE - 1 }, member('a'));
      expect(ledger.limitBytes).toBe(2 * PAGE);
    });

    test.each([
      [{ limitBytes: PAGE - 1 }, {}, 'ERR_MEM_INVALID_ARGUMENT'],
      [{ limitBytes: 2 ** 50 }, {}, 'ERR_MEM_INVALID_ARGUMENT'],
      [{ limitBytes: Number.NaN }, {}, 'ERR_MEM_INVALID_SIZE'],
      [{ limitBytes: MiB, members: 0 }, {}, 'ERR_MEM_INVALID_ARGUMENT'],
      [{ limitBytes: MiB, members: 1025 }, {}, 'ERR_MEM_INVALID_ARGUMENT'],
      [{ limitBytes: MiB, name: 'no/name' }, {}, 'ERR_MEM_INVALID_ARGUMENT'],
      [{ limitBytes: MiB, limit: MiB }, {}, 'ERR_MEM_INVALID_ARGUMENT'],
      [{ limitBytes: MiB }, { minimumBytes: 2 * MiB }, 'ERR_MEM_INVALID_ARGUMENT'],
      [{ limitBytes: MiB }, { minimumBytes: -1 }, 'ERR_MEM_INVALID_SIZE'],
      [{ limitBytes: MiB }, { priority: Number.NaN }, 'ERR_MEM_INVALID_ARGUMENT'],
      [{ limitBytes: MiB }, { name: 7 as unknown as string }, 'ERR_MEM_INVALID_ARGUMENT'],
    ])('refuses %j with a member %j', (options, values, code) => {
      expect(codeOf(() => SharedLedger.create(options, member('a', values)))).toBe(code);
    });

    test('makes a segment of mode 0600 under a name, which its end unlinks', () => {
      const name = freshName();
      const ledger = SharedLedger.create({ limitBytes: MiB, name }, member('a'));
      expect(statSync(pathOfName(name)).mode & 0o777).toBe(0o600);
      expect(ledger.token).toBe(`shm:${name}`);
      expect(codeOf(() => SharedLedger.create({ limitBytes: MiB, name }, member('b')))).toBe('ERR_MEM_SEGMENT_EXISTS');
      const other = SharedLedger.open(ledger.token, member('b'));
      ledger.dispose();
      expect(codeOf(() => SharedLedger.open(`shm:${name}`, member('c')))).toBe('ERR_MEM_SEGMENT_ABSENT');
      expect(other.take(MiB)).toBe(true);
      other.dispose();
    });

    test('takes the place of a segment whose creator was killed', () => {
      const name = freshName();
      const source = `
        import { SharedLedger } from '${moduleUrl('src/shared/index.js')}';
        SharedLedger.create({ limitBytes: 1e6, name: '${name}' }, { name: 'a', priority: 0, minimumBytes: 0 }).take(5e5);
        process.kill(process.pid, 'SIGKILL');`;
      expect(runChild(source).signal).toBe('SIGKILL');
      expect(codeOf(() => SharedLedger.create({ limitBytes: MiB, name }, member('a')))).toBe('ERR_MEM_SEGMENT_EXISTS');
      using ledger = SharedLedger.create({ limitBytes: MiB, name, replaceStale: true }, member('a'));
      expect(ledger.usedBytes).toBe(0);
    });
  });

  describe('open', () => {
    test('counts with the others, by a buffer and by a url', () => {
      for (const named of [{}, { name: freshName() }, { name: `file:///tmp/${freshName()}` }]) {
        using ledger = SharedLedger.create({ limitBytes: LIMIT_PAGES * PAGE, ...named }, member('a'));
        using other = SharedLedger.open(ledger.token, member('b'));
        expect(ledger.take(60 * PAGE)).toBe(true);
        expect(other.usedBytes).toBe(60 * PAGE);
        expect(other.take(41 * PAGE)).toBe(false);
        expect(other.take(40 * PAGE)).toBe(true);
        expect(ledger.usedBytes).toBe(LIMIT_PAGES * PAGE);
      }
    });

    test.each<[string, () => SharedArrayBuffer]>([
      ['an empty buffer', () => new SharedArrayBuffer(0)],
      ['a buffer of zeros', () => new SharedArrayBuffer(65536)],
      ['a backend without a ledger', () => backendIn(65536)],
      ['a backend with an allocator', () => allocatorIn(MiB)],
      ['a ledger without members', () => damaged(Control.members, 0)],
      ['a ledger of too many members', () => damaged(Control.members, 1025)],
      ['a ledger of more members than it has room for', () => damaged(Control.members, 900)],
      ['a ledger of more segments', () => damaged(Control.segments, 1_000_000)],
      ['a ledger of another boot', () => damaged(Control.boot, -7)],
      ['a ledger of another pid namespace', () => damaged(Control.namespace, 3)],
    ])('refuses %s', (_, token) => {
      expect(codeOf(() => SharedLedger.open(token(), member('a')))).toBe('ERR_MEM_BAD_SEGMENT');
    });

    test('refuses a segment that was truncated or written over', () => {
      const name = freshName();
      const path = pathOfName(name);
      const ledger = SharedLedger.create({ limitBytes: MiB, name }, member('a'));
      const file = openSync(path, 'r+');
      writeSync(file, Buffer.alloc(64, 7), 0, 64, 0);
      closeSync(file);
      expect(codeOf(() => SharedLedger.open(`shm:${name}`, member('b')))).toBe('ERR_MEM_BAD_SEGMENT');
      ledger.dispose();
      writeFileSync(path, Buffer.alloc(5000, 1), { mode: 0o600 });
      truncateSync(path, 100);
      expect(codeOf(() => SharedLedger.open(`shm:${name}`, member('b')))).toBe('ERR_MEM_BAD_SEGMENT');
      expect(removeListed(name, true)).toBeUndefined();
    });

    test.each([7, null, undefined, {}, new ArrayBuffer(8)])('refuses %s as a token', (token) => {
      expect(codeOf(() => SharedLedger.open(token as never, member('a')))).toBe('ERR_MEM_INVALID_ARGUMENT');
    });

    test('refuses a member whose minimum is above the limit', () => {
      using ledger = made();
      const code = codeOf(() => SharedLedger.open(ledger.token, member('a', { minimumBytes: (LIMIT_PAGES + 1) * PAGE })));
      expect(code).toBe('ERR_MEM_INVALID_ARGUMENT');
      expect(ledger.members().length).toBe(1);
    });

    test('refuses a member more than there can be, unless one has ended', () => {
      const scene = new LedgerScene(LIMIT_PAGES, 2);
      const a = scene.join(1);
      const b = scene.join(2);
      b.take(PAGE);
      expect(codeOf(() => scene.join(3))).toBe('ERR_MEM_OUT_OF_MEMORY');
      scene.threads.kill(2);
      expect(scene.join(3).usedBytes).toBe(0);
      a.dispose();
    });
  });
});

describe('checkLedgerSpace', () => {
  test('takes a ledger of this boot and pid namespace', () => {
    using ledger = made();
    using backend = ArrayBackend.attach(ledger.token as SharedArrayBuffer);
    checkLedgerSpace(backend);
    expect(codeOf(() => checkLedgerSpace(backend, { boot: 1, namespace: 1 }))).toBe('ERR_MEM_BAD_SEGMENT');
  });
});

describe('listSegments', () => {
  test('shows a ledger, with how much of its limit is used', () => {
    const name = freshName();
    using ledger = SharedLedger.create({ limitBytes: 10 * MiB, name }, member('a'));
    ledger.take(3 * MiB);
    const found = listSegments().find((segment) => segment.name === name);
    expect(found).toMatchObject({ reason: '', usage: { usedBytes: 3 * MiB, freeBytes: 7 * MiB }, users: [process.pid] });
    expect(found?.inspection?.allocator?.type).toBe('budget-ledger');
    using attached = PosixShmBackend.attach(name);
    expect(codeOf(() => new MemoryRegistry().attachBackend(attached.url))).toBe('ERR_MEM_BAD_SEGMENT');
  });
});

function backendIn(bytes: number): SharedArrayBuffer {
  const memory = new SharedArrayBuffer(bytes);
  ArrayBackend.create(1, memory);
  return memory;
}

function allocatorIn(bytes: number): SharedArrayBuffer {
  const memory = new SharedArrayBuffer(bytes);
  const registry = new MemoryRegistry();
  registry.createBackend('array', 1, bytes - HEADER_BYTES, undefined, { memory });
  registry.createAllocator('scalable-page', 1, { major: 1, minor: 1 });
  return memory;
}

/** A ledger of which one word is wrong. */
function damaged(word: number, value: number): SharedArrayBuffer {
  const { token } = made();
  new Int32Array(token as SharedArrayBuffer, HEADER_BYTES)[word] = value;
  return token as SharedArrayBuffer;
}
