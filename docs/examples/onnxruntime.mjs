// Put a manager with a limit under onnxruntime-node. Needs `npm install onnxruntime-node`.
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { MemoryManagerDeviceInterface, MemoryManagerInstaller } from 'stowage';
import { OnnxRuntimeHost } from 'stowage/adapters/onnxruntime';
import { CachingMemoryManager, LimitingMemoryManager } from 'stowage/managers';

const host = new OnnxRuntimeHost({ from: import.meta.url });
host.attach();
const caching = new CachingMemoryManager(1, new MemoryManagerDeviceInterface());
const limited = new LimitingMemoryManager(caching, { limitBytes: 16 * 1024 });
new MemoryManagerInstaller(limited, host).setAsMemoryManager();
// ONNX Runtime cannot be refused memory: beyond the limit it gets some past the manager,
// and this tells.
host.events.on('fallback', (event) =>
  console.log(`past the manager: ${event.requestedBytes} bytes`),
);

// A whole model: y = tanh(x), for x of [batch, 4].
const model = Buffer.from(
  'CAoSDXN0b3dhZ2UgdGVzdHM6SAoMCgF4EgF5IgRUYW5oEgR0YW5oWhgKAXgSEwoRCAESDQoHEgViYXRjaAoCCARiGAoBeRITChEIARINCgcSBWJhdGNoCgIIBEICEBE=',
  'base64',
);
const session = await InferenceSession.create(model, host.sessionOptions());
for (const batch of [1, 10_000]) {
  const x = new Tensor('float32', new Float32Array(4 * batch).fill(1), [batch, 4]);
  const { y } = await session.run({ x });
  console.log(`${y.dims}: ${y.data[0].toFixed(4)}`);
}
await session.release();
console.log(
  `${host.stats().blocks.total} block from ${host.slot.active.name}, ${host.slot.liveBlocks} are live`,
);
host.dispose(); // only after every session was released
