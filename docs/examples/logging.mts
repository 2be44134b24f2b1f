// Turn logging mode on, and read the log.
import { KiB, MemoryManagerDeviceInterface, MemoryManagerInstaller, MemoryRuntime } from 'stowage';
import { CpuDevice } from 'stowage/adapters/cpu';
import { CachingMemoryManager } from 'stowage/managers';

const runtime = new MemoryRuntime(new CpuDevice());
const lines: string[] = [];
const logStream = {
  write: (chunk: string | Uint8Array) => lines.push(...String(chunk).trimEnd().split('\n')),
};
const manager = new CachingMemoryManager(runtime.deviceCount, new MemoryManagerDeviceInterface(), {
  logStream,
});
manager.setLogFlushInterval(2);
new MemoryManagerInstaller(manager, runtime).setAsMemoryManager();

runtime.allocate(4 * KiB).dispose();
runtime.close();

console.log(lines.map((line) => line.split(' ')[0]).join(' '));
// initialize nativeAlloc alloc unlock shutdown nativeFree
