import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { NativeSlabs } from '../../adapters/hosts/slabs/native-slabs.js';
import { SqliteHost } from '../../adapters/hosts/sqlite/index.js';
import { SQLITE_NAMES } from '../../adapters/hosts/sqlite/sqlite-library.js';
import { FailingMemoryManager, LimitingMemoryManager } from '../../managers/index.js';
import { KiB, MiB } from '../../src/core/index.js';
import '../../src/index.js';
import { codeOf } from '../fixtures/code-of.js';
import { requireLibrary } from '../fixtures/requires.js';
import { describeHost } from './host-suite.js';
import { Database, SQLITE_NOMEM, SQLITE_OK, SqliteError, SqliteLibrary } from './sqlite.js';
import { CHECK, fill, REPORT, SCHEMA, workload } from './sqlite-workload.js';
import { cachingManager, ExhaustedManager, exactManager, install } from './test-managers.js';

const needed = requireLibrary('SQLite', SQLITE_NAMES);

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
        // One statement that sorts 40,000 rows in memory.
        database.run('PRAGMA temp_store = MEMORY; PRAGMA cache_size = -65536');
        const limiting = install(host, new LimitingMemoryManager(cachingManager(), { limitBytes: 2 * MiB }));
        expect(statusOf(() => database.run(fill(40_000)))).toBe(SQLITE_NOMEM);
        expect(host.lastError?.facts).toMatchObject({ quota: expect.stringContaining('limited to 2097152 bytes') });
        expect(limiting.usedBytes).toBeLessThanOrEqual(2 * MiB);
        expect([database.rows(CHECK), database.rows(REPORT)]).toEqual([[['ok']], before]);
        install(host, cachingManager());
        database.run(fill(40_000));
        expect(database.rows('SELECT count(*) FROM people')).toEqual([['40100']]);
        expect(database.rows(CHECK)).toEqual([['ok']]);
        database.close();
        // With its own allocator SQLite reads the same.
        host.dispose();
        const plain = new Database(sqlite, file);
        expect([plain.rows(CHECK), plain.rows('SELECT count(*) FROM people')]).toEqual([[['ok']], [['40100']]]);
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
