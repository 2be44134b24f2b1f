// A block of native memory as an Apache Arrow column, without a copy, and sent to another
// process. Needs `npm install apache-arrow`.
import { strict as assert } from 'node:assert';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { pipeline } from 'node:stream/promises';
import {
  Float64,
  makeData,
  makeVector,
  RecordBatchReader,
  RecordBatchStreamWriter,
  Table,
} from 'apache-arrow';
import { defaultRuntime, MiB } from 'stowage';

if (process.argv[2] === 'reader') await read();
else await send();

async function send() {
  const block = defaultRuntime().allocate(8 * MiB);
  const numbers = block.view(Float64Array).fill(0.5);
  const price = makeVector(makeData({ type: new Float64(), data: numbers }));
  const table = new Table({ price });

  // It is the same memory: what is written through one is read through the other.
  numbers[0] = 42;
  assert.equal(table.get(0).price, 42);
  price.data[0].values[1] = 7;
  assert.equal(numbers[1], 7);
  // Arrow keeps the view itself, and a view keeps its handle.
  assert.equal(price.data[0].values, numbers);
  console.log(
    `${table.numRows} rows in ${block.bytes / MiB} MiB, the first is ${table.get(0).price}`,
  );

  const reader = spawn(process.execPath, [import.meta.filename, 'reader'], {
    stdio: ['pipe', 'inherit', 'inherit'],
  });
  const ended = once(reader, 'exit');
  let lentBytes = 0;
  await pipeline(async function* () {
    for await (const chunk of RecordBatchStreamWriter.writeAll(table)) {
      // The column's part of the message is a piece of the block.
      if (chunk.buffer === numbers.buffer) lentBytes += chunk.byteLength;
      yield chunk;
    }
  }, reader.stdin);
  const [code] = await ended;
  assert.equal(code, 0);
  console.log(`${lentBytes / MiB} MiB went from the block to the pipe`);
  // not earlier: what waits to be sent lies in the block, and nothing of Arrow's keeps it
  block.dispose();
}

/** Stands for a reader of any language. */
async function read() {
  let rows = 0;
  let sum = 0;
  for await (const batch of await RecordBatchReader.from(process.stdin)) {
    rows += batch.numRows;
    for (const value of batch.getChild('price').toArray()) sum += value;
  }
  console.log(`the other process read ${rows} rows, their sum is ${sum}`);
}
