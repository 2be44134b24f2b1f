import type { Database } from './sqlite.js';

/** Rows of people. */
export const fill = (rows: number) =>
  `WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < ${rows})
   INSERT INTO people(name, age, note) SELECT 'name ' || i, i * 7919 % 100, hex(zeroblob(i % 50)) FROM c`;
export const SCHEMA = `CREATE TABLE people(id INTEGER PRIMARY KEY, name TEXT, age INT, note TEXT); CREATE INDEX ages ON people(age, name)`;
export const REPORT = `SELECT age, count(*), max(name), total(length(note)) FROM people GROUP BY age ORDER BY count(*) DESC, age`;
export const CHECK = 'PRAGMA integrity_check';

/** Inserts, updates, deletes, sorts and groups; gives the report. */
export function workload(database: Database, during?: () => void): unknown {
  database.run(`${SCHEMA}; BEGIN; ${fill(1000)}; COMMIT; UPDATE people SET note = name || note WHERE age > 60`);
  database.run('DELETE FROM people WHERE age = 13');
  let rows = 0;
  return database.rows(REPORT, () => {
    if (++rows === 1) during?.();
  });
}
