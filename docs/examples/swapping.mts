// Swap the manager while blocks are live.
import { MemoryManagerDeviceInterface, MemoryManagerInstaller, MemoryRuntime, MiB } from 'stowage';
import { CpuDevice } from 'stowage/adapters/cpu';
import { CachingMemoryManager } from 'stowage/managers';

const runtime = new MemoryRuntime(new CpuDevice());
runtime.events.on('swap', ({ current, previous }) =>
  console.log(`${previous?.name ?? 'nothing'} -> ${current.name}`),
);
runtime.events.on('stopped', ({ manager }) => console.log(`${manager.name} stopped`));

// the first allocation installs the default manager
const before = runtime.allocate(3 * MiB);
before.view(Uint8Array).fill(7);

const next = new CachingMemoryManager(runtime.deviceCount, new MemoryManagerDeviceInterface(), {
  splitSizeLimitBytes: 16 * MiB,
});
new MemoryManagerInstaller(next, runtime).setAsMemoryManager();

const after = runtime.allocate(3 * MiB); // from the new manager
console.log(`the old block still holds ${before.view(Uint8Array)[0]}`);
before.dispose(); // goes to the manager that made it, which stops: it was its last block
after.dispose();
runtime.close();
