import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { NativeSlabs } from '../../adapters/hosts/slabs/native-slabs.js';
import { SqliteHost, type SqliteHostOptions } from '../../adapters/hosts/sqlite/index.js';
import { SQLITE_NAMES } from '../../adapters/hosts/sqlite/sqlite-library.js';
import { FailingMemoryManager, LimitingMemoryManager } from '../../managers/index.js';
import { KiB, MiB } from '../../src/core/index.js';
import '../../src/index.js';
import { codeOf } from '../fixtures/code-of.js';
import { requireLibrary } from '../fixtures/requires.js';
import { describeHost } from './host-suite.js';
import { Database, SQLITE_NOMEM, SQLITE_OK, SqliteError, SqliteLibrary } from './sqlite.js';
import { cachingManager, ExhaustedManager, exactManager, install } from './test-managers.js';

const needed = requireLibrary('SQLite', SQLITE_NAMES);

const fill = (rows: number) =>
  `WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < ${rows})
   INSERT INTO people(name, age, note) SELECT 'name ' || i, i * 7919 % 100, hex(zeroblob(i % 50)) FROM c`;
const SCHEMA = `CREATE TABLE people(id INTEGER PRIMARY KEY, name TEXT, age INT, note TEXT); CREATE INDEX ages ON people(age, name)`;
const REPORT = `SELECT age, count(*), max(name), total(length(note)) FROM people GROUP BY age ORDER BY count(*) DESC, age`;
const CHECK = 'PRAGMA integrity_check';

/** Inserts, updates, deletes, sorts and groups; gives the report. */
function workload(database: Database, during?: () => void): unknown {
  database.run(`${SCHEMA}; BEGIN; ${fill(3000)}; COMMIT; UPDATE people SET note = name || note WHERE age > 60`);
  database.run('DELETE FROM people WHERE age = 13');
  let rows = 0;
  return database.rows(REPORT, () => {
    if (++rows === 1) during?.();
  });
}

/** As the host is by default here, and as it is where there is no machine code. */
const MODES = NativeSlabs.isSupported ? [true, false] : [false];
const nameOf = (nativeSlabs: boolean) =>
  `SqliteHost under ${needed.title}, ${nativeSlabs ? 'native slabs' : 'a callback for each block'}`;

for (const nativeSlabs of MODES) {
  describeHost(nameOf(nativeSlabs), {
    skip: needed.missing,
    expected: () => {
      const sqlite = new SqliteLibrary(needed.library);
      const database = new Database(sqlite, ':memory:');
      const report = workload(database);
      database.close();
      sqlite.shutdown();
      return report;
    },
    open: () => {
      const sqlite = new SqliteLibrary(needed.library);
      const host = new SqliteHost({ nativeSlabs });
      host.attach();
      return {
        host,
        whenRefused: 'fails',
        work: (during) => {
          const database = new Database(sqlite, ':memory:', (native) => host.call(native));
          try {
            return workload(database, during);
          } finally {
            database.close();
          }
        },
        close: () => host.dispose(),
      };
    },
  });

  describe.skipIf(needed.missing)(nameOf(nativeSlabs), () => {
    const folder = mkdtempSync(join(tmpdir(), 'stowage-sqlite-'));
    let files = 0;
    const newFile = (): string => join(folder, `${files++}.db`);
    let sqlite: SqliteLibrary;
    let host: SqliteHost;

    beforeEach(() => {
      sqlite = new SqliteLibrary(needed.library);
      host = new SqliteHost({ nativeSlabs });
      host.attach();
    });

    afterEach(() => {
      host.dispose();
      expect(host.slot.nativeFrees).toBe(host.slot.nativeAllocs);
      expect(host.device.liveBytes).toBe(0);
    });

    afterAll(() => rmSync(folder, { recursive: true }));

    const open = (path: string): Database => new Database(sqlite, path, (native) => host.call(native));
    const statusOf = (action: () => unknown): number => {
      try {
        action();
      } catch (error) {
        if (error instanceof SqliteError) return error.status;
        throw error;
      }
      return SQLITE_OK;
    };

    describe('attach', () => {
      test('is refused when SQLite has started already, and possible after its shutdown', () => {
        host.dispose();
        const database = new Database(sqlite, ':memory:');
        const late = new SqliteHost({ nativeSlabs });
        expect(() => late.attach()).toThrow(
          expect.objectContaining({
            code: 'ERR_MEM_ENGINE_IN_USE',
            message: expect.stringContaining('before its first connection'),
          }),
        );
        expect(late.library).toBeUndefined();
        database.close();
        expect(codeOf(() => late.attach())).toBe('ERR_MEM_ENGINE_IN_USE');
        sqlite.shutdown();
        late.attach();
        const hosted = new Database(sqlite, ':memory:');
        expect(late.slot.liveBlocks).toBeGreaterThan(0);
        hosted.close();
        late.dispose();
      });

      test('is refused while another host is attached, which goes on', () => {
        using other = new SqliteHost();
        expect(() => other.attach()).toThrow(
          expect.objectContaining({ message: expect.stringContaining('dispose of it first') }),
        );
        open(':memory:').close();
        expect(host.stats()?.blocks.total).toBeGreaterThan(0);
      });

      test('does nothing the second time, and names the library', () => {
        host.attach();
        expect(host.library).toMatchObject({ version: expect.stringMatching(/^3\.\d+\.\d+$/), path: needed.library.path });
      });

      test('tells when the library is not there, and after dispose', () => {
        expect(codeOf(() => new SqliteHost({ library: 'libno-such.so' }).attach())).toBe('ERR_MEM_DEVICE_ABSENT');
        host.dispose();
        expect(codeOf(() => host.attach())).toBe('ERR_MEM_DISPOSED');
      });
    });

    describe('dispose', () => {
      test('is refused while a connection is open', () => {
        const database = open(':memory:');
        expect(codeOf(() => host.dispose())).toBe('ERR_MEM_DEVICE_BUSY');
        database.run(SCHEMA);
        database.close();
      });

      test('is refused inside a native call, and changes nothing', () => {
        expect(codeOf(() => host.call(() => host.dispose()))).toBe('ERR_MEM_REENTRANT');
        open(':memory:').close();
        expect(host.stats()?.blocks.total).toBeGreaterThan(0);
      });

      test("gives SQLite its own functions back, and SQLite's own count of memory", () => {
        open(':memory:').close();
        const served = host.stats()?.blocks.total;
        host.dispose();
        const database = new Database(sqlite, ':memory:');
        expect(workload(database)).toHaveLength(99);
        expect(sqlite.memoryUsed()).toBeGreaterThan(100 * KiB);
        database.close();
        expect(sqlite.memoryUsed()).toBe(0);
        expect(served).toBeGreaterThan(0);
        sqlite.shutdown();
      });
    });

    describe('running', () => {
      test('ends with sqlite3_shutdown, which gives cached memory back; the next connection starts SQLite again', () => {
        const manager = install(host, cachingManager());
        expect(host.running).toBe(false);
        for (let round = 0; round < 2; round++) {
          const database = open(':memory:');
          expect(host.running).toBe(true);
          database.run(SCHEMA);
          database.close();
          expect(manager.stats(0)?.reservedBytes.current).toBeGreaterThan(0);
          host.call(() => sqlite.shutdown());
          expect(host.running).toBe(false);
          expect(manager.stats(0)?.reservedBytes.current).toBe(0);
        }
      });
    });

    describe('memoryStatus', () => {
      test.each([true, false])('has SQLite count its memory: %s', (memoryStatus) => {
        host.dispose();
        host = new SqliteHost({ memoryStatus, nativeSlabs });
        host.attach();
        const database = open(':memory:');
        const allocated = host.stats()!.allocatedBytes.current;
        const used = sqlite.memoryUsed();
        if (memoryStatus && nativeSlabs) expect(used).toBeGreaterThan(allocated / 20);
        if (memoryStatus && nativeSlabs) expect(used).toBeLessThan(allocated);
        else if (memoryStatus) expect(used).toBe(allocated);
        else expect(sqlite.memoryUsed()).toBe(0);
        database.close();
      });
    });

    describe('without memory', () => {
      test('a large transaction fails at a limit, the database stays whole, and the same succeeds without it', () => {
        const file = newFile();
        const database = open(file);
        database.run(`${SCHEMA}; ${fill(100)}`);
        const before = database.rows(REPORT);
        // One statement that sorts 100,000 rows in memory.
        database.run('PRAGMA temp_store = MEMORY; PRAGMA cache_size = -65536');
        const limiting = install(host, new LimitingMemoryManager(cachingManager(), { limitBytes: 2 * MiB }));
        expect(statusOf(() => database.run(fill(100_000)))).toBe(SQLITE_NOMEM);
        expect(host.lastError?.facts).toMatchObject({ quota: expect.stringContaining('limited to 2097152 bytes') });
        expect(limiting.usedBytes).toBeLessThanOrEqual(2 * MiB);
        expect([database.rows(CHECK), database.rows(REPORT)]).toEqual([[['ok']], before]);
        install(host, cachingManager());
        database.run(fill(100_000));
        expect(database.rows('SELECT count(*) FROM people')).toEqual([['100100']]);
        expect(database.rows(CHECK)).toEqual([['ok']]);
        database.close();
        // With its own allocator SQLite reads the same.
        host.dispose();
        const plain = new Database(sqlite, file);
        expect([plain.rows(CHECK), plain.rows('SELECT count(*) FROM people')]).toEqual([[['ok']], [['100100']]]);
        plain.close();
        sqlite.shutdown();
      });

      test('a transaction happens or does not, from whichever allocation on there is none', () => {
        const file = newFile();
        let database = open(file);
        database.run(`${SCHEMA}; ${fill(20)}`);
        database.close();
        const statuses = new Set<number>();
        let done = 0;
        for (let from = 1; ; from += nativeSlabs ? 1 : 3) {
          const manager = install(host, new ExhaustedManager(exactManager()));
          manager.from = from;
          const status = statusOf(() => {
            database = open(file);
            try {
              database.run("BEGIN; UPDATE people SET note = note || 'x'; INSERT INTO people(name) VALUES ('one more'); COMMIT");
            } finally {
              database.close();
            }
          });
          statuses.add(status);
          const { refusals } = manager;
          manager.from = Number.POSITIVE_INFINITY;
          if (status === SQLITE_OK) done++;
          database = open(file);
          expect(database.rows(CHECK)).toEqual([['ok']]);
          expect(database.rows('SELECT count(*) FROM people')).toEqual([[`${20 + done}`]]);
          database.close();
          if (refusals === 0) break;
        }
        expect([...statuses].sort()).toEqual([SQLITE_OK, SQLITE_NOMEM]);
      });

      test('every n-th refusal is an error of SQLite or none, never a wrong result', () => {
        const database = new Database(sqlite, ':memory:');
        database.run(`${SCHEMA}; ${fill(200)}`);
        const expected = database.rows(REPORT);
        for (const every of [2, 3, 5, 11, 29, 97]) {
          const failing = install(host, new FailingMemoryManager(cachingManager(), { every }));
          for (let round = 0; round < 10; round++) {
            let rows: unknown;
            const status = statusOf(() => {
              rows = database.rows(REPORT);
            });
            if (status === SQLITE_OK) expect(rows).toEqual(expected);
            else expect(status).toBe(SQLITE_NOMEM);
          }
          if (every < 20) expect(failing.failures).toBeGreaterThan(0);
        }
        install(host, cachingManager());
        expect([database.rows(CHECK), database.rows(REPORT)]).toEqual([[['ok']], expected]);
        database.close();
      });
    });
  });
}

describe.skipIf(needed.missing || !NativeSlabs.isSupported)(`native slabs of SqliteHost under ${needed.title}`, () => {
  const sqlite = needed.missing ? undefined! : new SqliteLibrary(needed.library);
  const malloc = (host: SqliteHost, bytes: number) => host.call(() => sqlite.malloc(bytes));
  const free = (host: SqliteHost, ptr: number) => host.call(() => sqlite.free(ptr));
  let host: SqliteHost;

  beforeEach(() => {
    host = new SqliteHost();
    host.attach();
  });

  afterEach(() => {
    expect(host.slabs).toEqual({ slabs: 0, slabBytes: 0, liveCells: 0 });
    host.dispose();
    expect(host.slabs).toBeUndefined();
    expect(host.device.liveBytes).toBe(0);
  });

  const open = (): Database => new Database(sqlite, ':memory:', (native) => host.call(native));

  test('ask the manager for a small part of the blocks that SQLite asks for', () => {
    const asked = (options: SqliteHostOptions) => {
      host.dispose();
      host = new SqliteHost(options);
      host.attach();
      const manager = install(host, cachingManager());
      const database = open();
      for (let i = 0; i < 200; i++) database.run(`CREATE TABLE t${i}(a, b TEXT, c); INSERT INTO t${i} VALUES (1, 'two', 3)`);
      database.close();
      return manager.stats(0)!.blocks.total;
    };
    const byCallbacks = asked({ nativeSlabs: false });
    expect(asked({})).toBeLessThan(byCallbacks / 20);
  });

  test('lie in blocks that the log accounts for, as all that SQLite gets', () => {
    const lines: string[] = [];
    const manager = cachingManager();
    manager.setLogStream({ write: (chunk) => lines.push(...String(chunk).split('\n')) });
    manager.setLoggingEnabled(true);
    install(host, manager);
    const database = open();
    const pointers = [1, 50, 500, 5000, 50_000].map((bytes) => [malloc(host, bytes), bytes] as const);
    host.slot.flushLogs();
    const blocks = lines.filter((line) => line.startsWith('alloc ')).map((line) => line.split(' ').slice(1).map(Number));
    for (const [ptr, bytes] of pointers) {
      expect(blocks.filter(([size = 0, , block = 0]) => ptr >= block && ptr + bytes <= block + size)).toHaveLength(1);
    }
    for (const [ptr] of pointers) free(host, ptr);
    database.close();
    manager.setLoggingEnabled(false);
    const frees = lines.filter((line) => line.startsWith('unlock '));
    expect(frees).toHaveLength(lines.filter((line) => line.startsWith('alloc ')).length);
  });

  test('serve no new connection after a swap, and a replaced manager stops with the last connection of before', () => {
    const [first, second] = [install(host, cachingManager()), cachingManager()];
    const before = open();
    before.run(SCHEMA);
    install(host, second);
    const held = first.stats(0)!.blocks.current;
    const after = open();
    workload(after);
    expect(first.stats(0)!.blocks.current).toBeLessThanOrEqual(held);
    expect(second.stats(0)!.blocks.current).toBeGreaterThan(0);
    before.run(`INSERT INTO people(name) VALUES ('one')`);
    expect(first.lifecycle.state).toBe('draining');
    before.close();
    expect(first.lifecycle.state).toBe('stopped');
    after.close();
  });

  test('of a manager that is replaced while it makes one serve nothing: it stops, and the next one is asked', () => {
    const other = malloc(host, 10);
    const [first, second] = [new LimitingMemoryManager(exactManager(), { limitBytes: MiB }), exactManager()];
    install(host, first);
    const swap = vi.spyOn(host.device, 'nativeAlloc');
    swap.mockImplementationOnce((...request) => {
      const ptr = host.device.nativeAlloc(...request);
      install(host, second);
      return ptr;
    });
    const ptr = malloc(host, 5000);
    swap.mockRestore();
    expect([first.lifecycle.state, second.stats(0)?.blocks.current, host.slabs?.slabs]).toEqual(['stopped', 1, 2]);
    free(host, ptr);
    free(host, other);
  });

  test('that are kept go back where the manager has no memory', () => {
    const manager = install(host, new LimitingMemoryManager(cachingManager(), { limitBlocks: 2 }));
    const ptr = malloc(host, 10);
    free(host, malloc(host, 1000));
    expect([manager.usedBlocks, host.slabs?.slabs]).toEqual([2, 2]);
    const other = malloc(host, 5000);
    expect(other).toBeGreaterThan(0);
    expect(malloc(host, 3000)).toBe(0);
    expect(host.lastError?.code).toBe('ERR_MEM_OUT_OF_MEMORY');
    expect(host.trim()).toBe(0);
    free(host, other);
    expect(host.trim()).toBe(1);
    free(host, ptr);
  });

  test('tell of a second free, and of a free of what is no block', () => {
    const [ptr, other] = [malloc(host, 100), malloc(host, 100)];
    free(host, ptr);
    expect(() => free(host, ptr)).toThrow(expect.objectContaining({ code: 'ERR_MEM_DOUBLE_FREE', facts: { pointer: ptr } }));
    expect(() => free(host, other + 32)).toThrow(expect.objectContaining({ code: 'ERR_MEM_UNKNOWN_POINTER' }));
    free(host, other);
  });

  test('serve several threads', async () => {
    const databases = [1, 2, 3, 4].map(() => open());
    const script = `${SCHEMA}; ${fill(2000)}; UPDATE people SET note = name || note; DELETE FROM people WHERE age % 3 = 0;`;
    await Promise.all(databases.map((database) => host.callAsync(() => database.runAsync(script))));
    const reports = databases.map((database) => [database.rows(CHECK), database.rows(REPORT)]);
    expect(reports[0]![0]).toEqual([['ok']]);
    for (const report of reports) expect(report).toEqual(reports[0]);
    expect(host.callbacks.foreignCalls).toBeGreaterThan(0);
    for (const database of databases) database.close();
  });
});
