// Own memory by handles: with one owner, with several, and until the end of a block of
// code. `using` needs Node 24 or a compiler.
import { MemoryRuntime, MiB } from 'stowage';
import { CpuDevice } from 'stowage/adapters/cpu';

const runtime = new MemoryRuntime(new CpuDevice());

function makeTable() {
  using table = runtime.allocate(1 * MiB, { zero: true, tag: 'table' });
  table.view(Float32Array)[0] = 42;
  return table.move(); // else it would end here
}

{
  using table = makeTable();
  console.log(`the table begins with ${table.view(Float32Array)[0]}`);
}
console.log(`${runtime.slot.liveBlocks} blocks are live`);

{
  using first = runtime.allocate(1 * MiB).share();
  using second = first.share();
  first.dispose();
  console.log(`${second.bytes} bytes have ${second.owners} owner`);
}
console.log(`${runtime.slot.liveBlocks} blocks are live`);
runtime.close();
