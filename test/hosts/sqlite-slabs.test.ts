import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { NativeSlabs } from '../../adapters/hosts/slabs/native-slabs.js';
import { SqliteHost, type SqliteHostOptions } from '../../adapters/hosts/sqlite/index.js';
import { SQLITE_NAMES } from '../../adapters/hosts/sqlite/sqlite-library.js';
import { LimitingMemoryManager } from '../../managers/index.js';
import { MiB } from '../../src/core/index.js';
import '../../src/index.js';
import { requireLibrary } from '../fixtures/requires.js';
import { Database, SqliteLibrary } from './sqlite.js';
import { CHECK, fill, REPORT, SCHEMA, workload } from './sqlite-workload.js';
import { cachingManager, exactManager, install } from './test-managers.js';

const needed = requireLibrary('SQLite', SQLITE_NAMES);

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
