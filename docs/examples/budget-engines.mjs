// One limit over ONNX Runtime, SQLite and the program's own buffers. Needs `npm install
// onnxruntime-node` and libsqlite3.
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { defaultRuntime, MemoryBudget, MiB } from 'stowage';
import { OnnxRuntimeHost } from 'stowage/adapters/onnxruntime';
import { SqliteHost } from 'stowage/adapters/sqlite';
import { openLibrary } from 'stowage/ffi';

const runtime = defaultRuntime();
const onnx = new OnnxRuntimeHost({ from: import.meta.url });
const sqlite = new SqliteHost();
onnx.attach();
sqlite.attach();

const budget = new MemoryBudget({ limit: '80%', name: 'process' });
budget.add(onnx, { name: 'models', priority: 1, minimumBytes: 16 * MiB });
budget.add(sqlite, { name: 'database', priority: 1 });
budget.add(runtime, { name: 'buffers' });

// Each of the three does some work. First a whole model: y = tanh(x), for x of [batch, 4].
const model = Buffer.from(
  'CAoSDXN0b3dhZ2UgdGVzdHM6SAoMCgF4EgF5IgRUYW5oEgR0YW5oWhgKAXgSEwoRCAESDQoHEgViYXRjaAoCCARiGAoBeRITChEIARINCgcSBWJhdGNoCgIIBEICEBE=',
  'base64',
);
const session = await InferenceSession.create(model, onnx.sessionOptions());
const x = new Tensor('float32', new Float32Array(4000).fill(1), [1000, 4]);
const { y } = await session.run({ x });
console.log(`tanh(1) is ${y.data[0].toFixed(4)}`);

const library = openLibrary([sqlite.library.path]);
const open = library.func('sqlite3_open', 'int', ['const char *', 'uint64_t *']);
const exec = library.func('sqlite3_exec', 'int', [
  'uintptr_t',
  'const char *',
  'uintptr_t',
  'uintptr_t',
  'uintptr_t',
]);
const close = library.func('sqlite3_close', 'int', ['uintptr_t']);
const out = new BigUint64Array(1);
sqlite.call(() => open(':memory:', out));
const connection = Number(out[0]);
sqlite.call(() =>
  exec(connection, 'CREATE TABLE t(x); INSERT INTO t VALUES (zeroblob(1000000))', 0, 0, 0),
);

const buffer = runtime.allocate(4 * MiB);
const held = budget.report().members.filter(({ heldBytes }) => heldBytes > 0);
console.log(`${held.map(({ name }) => name).sort()} hold memory`);

buffer.dispose();
sqlite.call(() => close(connection));
await session.release();
budget.dispose();
sqlite.dispose();
onnx.dispose();
