import Database from 'better-sqlite3';

// Fills a table and reads it with a large page cache.
const database = new Database(':memory:');
database.pragma('cache_size = -65536');
database.exec('CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT, hash INTEGER)');
const insert = database.prepare('INSERT INTO words (word, hash) VALUES (?, ?)');
database.transaction(() => {
  for (let i = 0; i < 200_000; i++) insert.run(`word ${i} ${'x'.repeat(i % 60)}`, (i * 7919) % 100_003);
})();
database.exec('CREATE INDEX by_hash ON words (hash)');
globalThis.found = database.prepare('SELECT * FROM words WHERE hash < 2000 ORDER BY word').all();
globalThis.database = database;
