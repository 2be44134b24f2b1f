import { afterAll, describe, expect, test, vi } from 'vitest';
import { SqliteHost } from '../../adapters/hosts/sqlite/index.js';
import { SQLITE_NAMES } from '../../adapters/hosts/sqlite/sqlite-library.js';
import { MemoryError } from '../../src/core/errors.js';
import '../../src/index.js';
import { requireLibrary } from '../fixtures/requires.js';
import { Database, SqliteLibrary } from './sqlite.js';
import { cachingManager, install } from './test-managers.js';

// Nothing on this machine forbids it: Node itself could not run.
vi.mock('../../adapters/os/mapping.js', async (original) => ({
  ...(await original<object>()),
  protectPages: () => {
    throw new MemoryError('ERR_MEM_NATIVE', { functionName: 'mprotect', status: 13, statusName: 'EACCES' });
  },
}));

const needed = requireLibrary('SQLite', SQLITE_NAMES);

describe.skipIf(needed.missing)('SqliteHost, where the system runs no pages that a program has written', () => {
  afterAll(() => new SqliteLibrary(needed.library).shutdown());

  test('serves each block by a callback, unless it is to have native slabs', () => {
    expect(() => new SqliteHost({ nativeSlabs: true }).attach()).toThrow(expect.objectContaining({ code: 'ERR_MEM_NATIVE' }));
    using host = new SqliteHost();
    host.attach();
    install(host, cachingManager());
    const database = new Database(new SqliteLibrary(needed.library), ':memory:');
    database.run('CREATE TABLE t(a); INSERT INTO t VALUES (1), (2)');
    expect([database.rows('SELECT sum(a) FROM t'), host.slabs]).toEqual([[['3']], undefined]);
    expect(host.stats()?.blocks.total).toBeGreaterThan(100);
    database.close();
  });
});
