import { DuckDBInstance } from '@duckdb/node-api';

// An aggregation over a table in memory.
const instance = await DuckDBInstance.create(':memory:', { threads: '2' });
const connection = await instance.connect();
await connection.run('CREATE TABLE t AS SELECT i AS id, hash(i) % 1000 AS g, random() AS x FROM range(2000000) r(i)');
const reader = await connection.runAndReadAll('SELECT g, count(*) AS n, avg(x) AS mean FROM t GROUP BY g ORDER BY mean');
if (reader.getRows().length !== 1000) throw new Error('not 1000 groups');
globalThis.kept = [instance, connection, reader];
