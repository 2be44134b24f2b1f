// Put a manager with a limit under SQLite's shared library. Needs libsqlite3 (Debian:
// libsqlite3-0).
import { MemoryError, MemoryManagerDeviceInterface, MemoryManagerInstaller, MiB } from 'stowage';
import { SqliteHost } from 'stowage/adapters/sqlite';
import { cFunction, openLibrary } from 'stowage/ffi';
import { CachingMemoryManager, LimitingMemoryManager } from 'stowage/managers';

const host = new SqliteHost();
host.attach(); // before the first connection of this process
const caching = new CachingMemoryManager(1, new MemoryManagerDeviceInterface());
const limited = new LimitingMemoryManager(caching, { limitBytes: 4 * MiB });
new MemoryManagerInstaller(limited, host).setAsMemoryManager();

const sqlite = openLibrary([host.library?.path ?? '']);
const open = cFunction(sqlite, 'sqlite3_open', 'int', ['const char *', 'uint64_t *']);
const exec = cFunction(sqlite, 'sqlite3_exec', 'int', [
  'uintptr_t',
  'const char *',
  'uintptr_t',
  'uintptr_t',
  'uintptr_t',
]);
const close = cFunction(sqlite, 'sqlite3_close', 'int', ['uintptr_t']);

// Calls that may allocate go through the host, which throws what went wrong in a callback.
const out = new BigUint64Array(1);
host.call(() => open(':memory:', out));
const connection = Number(out[0]);
const run = (sql: string) => host.call(() => exec(connection, sql, 0, 0, 0));

console.log(`small table: ${run('CREATE TABLE t(x); INSERT INTO t VALUES (zeroblob(1000000))')}`);
console.log(`large table: ${run('INSERT INTO t VALUES (zeroblob(10000000))')}`);
const why = host.lastError;
if (MemoryError.is(why, 'ERR_MEM_OUT_OF_MEMORY')) console.log(why.facts.quota?.split(',')[0]);
host.call(() => close(connection));
console.log(`${host.slot.liveBlocks} blocks are live`);
host.dispose();
