import { MiB } from '../../src/core/units.js';
import { Database, type SqliteLibrary } from '../hosts/sqlite.js';
import { CHECK } from '../hosts/sqlite-workload.js';
import type { Caller } from '../hosts/zlib.js';
import { type Demand, expectSame, takeRandom } from './demand.js';

/** Of a text; a page has room for one. */
const NOTE_BYTES = 3600;
/** What SQLite takes for a row: a page of the database, and what it keeps beside each. */
const ROW_BYTES = 4660;
const DATABASE_BYTES = 48 * MiB;
const NOTE = `id || '${'stowage '.repeat(NOTE_BYTES / 8)}'`;

/** Databases in memory. A row is known by its number alone. */
export class SqliteDemand implements Demand {
  readonly name = 'sqlite';
  readonly growsWhole = false;
  readonly weight = 1;
  readonly #library: SqliteLibrary;
  readonly #call: Caller;
  readonly #random: () => number;
  readonly #databases: { readonly database: Database; rows: number }[] = [];

  constructor(library: SqliteLibrary, call: Caller, random: () => number) {
    this.#library = library;
    this.#call = call;
    this.#random = random;
  }

  get liveBytes(): number {
    return this.#databases.reduce((sum, { rows }) => sum + rows * ROW_BYTES, 0);
  }

  grow(bytes: number): void {
    const rows = Math.max(1, Math.round(bytes / ROW_BYTES));
    const last = this.#databases.at(-1);
    const one = last === undefined || last.rows * ROW_BYTES > DATABASE_BYTES ? this.#open() : last;
    const [from, to] = [one.rows + 1, one.rows + rows];
    one.database.run(
      `WITH RECURSIVE c(id) AS (SELECT ${from} UNION ALL SELECT id + 1 FROM c WHERE id < ${to})
       INSERT INTO notes SELECT id, id * 7919 % 100, ${NOTE} FROM c`,
    );
    one.rows += rows;
  }

  check(): void {
    for (const { database, rows } of this.#databases) {
      const [found] = database.rows(`SELECT count(*), total(id), total(number), sum(note <> ${NOTE}) FROM notes`);
      let numbers = 0;
      for (let id = 1; id <= rows; id++) numbers += (id * 7919) % 100;
      const texts = [rows, (rows * (rows + 1)) / 2, numbers].map((value, i) => (i === 0 ? String(value) : `${value}.0`));
      expectSame('count, sums and wrong texts of a database', found?.join(), [...texts, rows === 0 ? '' : '0'].join());
      expectSame('what SQLite says of a database', database.rows(CHECK).join(), 'ok');
    }
  }

  shrink(bytes: number): void {
    let live = this.liveBytes;
    while (live > bytes) {
      const { database, rows } = takeRandom(this.#databases, this.#random);
      live -= rows * ROW_BYTES;
      database.close();
    }
  }

  close(): void {
    for (const { database } of this.#databases.splice(0)) database.close();
  }

  #open(): { readonly database: Database; rows: number } {
    const database = new Database(this.#library, ':memory:', this.#call);
    try {
      database.run('CREATE TABLE notes(id INTEGER PRIMARY KEY, number INT, note TEXT)');
    } catch (error) {
      database.close();
      throw error;
    }
    const one = { database, rows: 0 };
    this.#databases.push(one);
    return one;
  }
}
