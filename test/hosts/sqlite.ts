import type { NativeLibrary } from '../../adapters/ffi/library.js';
import type { Caller } from './zlib.js';

export const SQLITE_OK = 0;
export const SQLITE_NOMEM = 7;
const SQLITE_ROW = 100;
const SQLITE_DONE = 101;
const READ_WRITE_CREATE = 6;
const TO_THE_END = -1;
/** SQLITE_TRANSIENT. */
const COPY_IT = -1;

/** What SQLite answered where it is not what was asked for. */
export class SqliteError extends Error {
  readonly status: number;

  constructor(status: number, text: string) {
    super(`SQLite answers ${status}: ${text}`);
    this.status = status;
  }
}

type Exec = (connection: number, sql: string, callback: number, context: number, error: number) => number;

/** The functions of SQLite's shared library that tests use. */
export class SqliteLibrary {
  readonly openV2: (path: string, out: BigUint64Array, flags: number, vfs: null) => number;
  readonly closeV2: (connection: number) => number;
  readonly exec: Exec & { async(...values: [...Parameters<Exec>, done: (error: Error | null, status: number) => void]): void };
  readonly prepare: (connection: number, sql: string, bytes: number, out: BigUint64Array, tail: number) => number;
  readonly step: (statement: number) => number;
  readonly columnCount: (statement: number) => number;
  readonly columnText: (statement: number, column: number) => string | null;
  readonly finalize: (statement: number) => number;
  readonly reset: (statement: number) => number;
  readonly bindInt: (statement: number, parameter: number, value: number) => number;
  readonly bindText: (statement: number, parameter: number, value: string, bytes: number, destructor: number) => number;
  readonly message: (connection: number) => string;
  readonly shutdown: () => number;
  readonly memoryUsed: () => number;
  readonly malloc: (bytes: number) => number;
  readonly free: (ptr: number) => void;

  constructor(library: NativeLibrary) {
    this.openV2 = library.func('sqlite3_open_v2', 'int', ['const char *', 'uint64_t *', 'int', 'const char *']);
    this.closeV2 = library.func('sqlite3_close', 'int', ['uintptr_t']);
    this.exec = library.func('sqlite3_exec', 'int', ['uintptr_t', 'const char *', 'uintptr_t', 'uintptr_t', 'uintptr_t']);
    this.prepare = library.func('sqlite3_prepare_v2', 'int', ['uintptr_t', 'const char *', 'int', 'uint64_t *', 'uintptr_t']);
    this.step = library.func('sqlite3_step', 'int', ['uintptr_t']);
    this.columnCount = library.func('sqlite3_column_count', 'int', ['uintptr_t']);
    this.columnText = library.func('sqlite3_column_text', 'const char *', ['uintptr_t', 'int']);
    this.finalize = library.func('sqlite3_finalize', 'int', ['uintptr_t']);
    this.reset = library.func('sqlite3_reset', 'int', ['uintptr_t']);
    this.bindInt = library.func('sqlite3_bind_int', 'int', ['uintptr_t', 'int', 'int']);
    this.bindText = library.func('sqlite3_bind_text', 'int', ['uintptr_t', 'int', 'const char *', 'int', 'intptr_t']);
    this.message = library.func('sqlite3_errmsg', 'const char *', ['uintptr_t']);
    this.shutdown = library.func('sqlite3_shutdown', 'int', []);
    this.malloc = library.func('sqlite3_malloc', 'uintptr_t', ['int']);
    this.free = library.func('sqlite3_free', 'void', ['uintptr_t']);
    this.memoryUsed = library.func('sqlite3_memory_used', 'int64_t', []);
  }
}

/** An open database. What SQLite refuses is thrown as a {@link SqliteError}. */
export class Database {
  readonly #sqlite: SqliteLibrary;
  readonly #call: Caller;
  readonly #connection: number;

  constructor(sqlite: SqliteLibrary, path: string, call: Caller = (native) => native()) {
    const out = new BigUint64Array(1);
    const status = call(() => sqlite.openV2(path, out, READ_WRITE_CREATE, null));
    this.#sqlite = sqlite;
    this.#call = call;
    this.#connection = Number(out[0]);
    if (status !== SQLITE_OK) {
      // A connection comes with an error, too, and has to be closed, unless there was no memory for it.
      if (this.#connection !== 0) this.close();
      throw new SqliteError(status, 'open');
    }
  }

  run(sql: string): void {
    const status = this.#call(() => this.#sqlite.exec(this.#connection, sql, 0, 0, 0));
    if (status !== SQLITE_OK) throw new SqliteError(status, this.#message());
  }

  /** As {@link run}, on another thread. */
  async runAsync(sql: string): Promise<void> {
    const status = await new Promise<number>((resolve, reject) =>
      this.#sqlite.exec.async(this.#connection, sql, 0, 0, 0, (error, answer) => (error ? reject(error) : resolve(answer))),
    );
    if (status !== SQLITE_OK) throw new SqliteError(status, this.#message());
  }

  /** Runs a statement with two parameters, a number and a text, so many times. */
  insert(sql: string, rows: number, textOf: (row: number) => string): void {
    const statement = this.#prepare(sql);
    for (let row = 0; row < rows; row++) {
      this.#call(() => this.#sqlite.bindInt(statement, 1, row));
      this.#call(() => this.#sqlite.bindText(statement, 2, textOf(row), TO_THE_END, COPY_IT));
      const status = this.#call(() => this.#sqlite.step(statement));
      if (status !== SQLITE_DONE) throw new SqliteError(status, this.#message());
      this.#call(() => this.#sqlite.reset(statement));
    }
    this.#call(() => this.#sqlite.finalize(statement));
  }

  /** The rows of a query, as texts. @param onRow - called after each row, while the statement is open */
  rows(sql: string, onRow: () => void = () => {}): (string | null)[][] {
    const statement = this.#prepare(sql);
    try {
      const rows: (string | null)[][] = [];
      for (;;) {
        const status = this.#call(() => this.#sqlite.step(statement));
        if (status === SQLITE_DONE) return rows;
        if (status !== SQLITE_ROW) throw new SqliteError(status, this.#message());
        const columns = this.#sqlite.columnCount(statement);
        rows.push(Array.from({ length: columns }, (_, i) => this.#call(() => this.#sqlite.columnText(statement, i))));
        onRow();
      }
    } finally {
      this.#call(() => this.#sqlite.finalize(statement));
    }
  }

  close(): void {
    const status = this.#call(() => this.#sqlite.closeV2(this.#connection));
    if (status !== SQLITE_OK) throw new SqliteError(status, this.#message());
  }

  #prepare(sql: string): number {
    const out = new BigUint64Array(1);
    const status = this.#call(() => this.#sqlite.prepare(this.#connection, sql, TO_THE_END, out, 0));
    if (status !== SQLITE_OK) throw new SqliteError(status, this.#message());
    return Number(out[0]);
  }

  #message(): string {
    return this.#sqlite.message(this.#connection);
  }
}
