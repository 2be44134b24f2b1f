// The worker of shared-handover: it reads the first and the last byte of whatever it is handed, and answers with their sum.
import { parentPort, workerData } from 'node:worker_threads';
import { memoryRegistry } from '../../src/shared/memory-registry.js';
import { SharedAllocation, type SharedAllocationToken } from '../../src/shared/shared-allocation.js';

memoryRegistry().attachBackend(workerData as string);
parentPort!.on('message', (message: SharedAllocationToken | Uint8Array) => {
  if (message instanceof Uint8Array) return answer(message);
  const allocation = SharedAllocation.attach(message);
  answer(allocation.view(Uint8Array));
  allocation.dispose();
});
parentPort!.postMessage('ready');

function answer(bytes: Uint8Array): void {
  parentPort!.postMessage(bytes[0]! + bytes[bytes.length - 1]!);
}
