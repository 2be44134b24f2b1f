import { InferenceSession, Tensor } from 'onnxruntime-node';

// A network of dense layers, written by hand as ONNX's protobuf messages, that answers some batches.
const WIDTH = 1024;
const LAYERS = 6;
const varint = (n) => (n < 128 ? [n] : [(n % 128) + 128, ...varint(Math.floor(n / 128))]);
const number = (field, n) => Buffer.from([...varint(field * 8), ...varint(n)]);
const bytes = (field, body) =>
  Buffer.concat([Buffer.from([...varint(field * 8 + 2), ...varint(Buffer.byteLength(body))]), Buffer.from(body)]);
const message = (field, ...parts) => bytes(field, Buffer.concat(parts));
const value = (field, name) => {
  const dimensions = [message(1, bytes(2, 'batch')), message(1, number(1, WIDTH))];
  return message(field, bytes(1, name), message(2, message(1, number(1, 1), message(2, ...dimensions))));
};
const node = (type, inputs, output) => message(1, ...inputs.map((name) => bytes(1, name)), bytes(2, output), bytes(4, type));
const parts = [];
for (let layer = 0; layer < LAYERS; layer++) {
  const weights = new Float32Array(WIDTH * WIDTH).map((_, i) => ((i * 7919) % 1000) / 1e5 - 0.005);
  parts.push(node('MatMul', [layer === 0 ? 'x' : `t${layer - 1}`, `w${layer}`], `p${layer}`));
  parts.push(node('Tanh', [`p${layer}`], layer === LAYERS - 1 ? 'y' : `t${layer}`));
  parts.push(
    message(5, number(1, WIDTH), number(1, WIDTH), number(2, 1), bytes(8, `w${layer}`), bytes(9, new Uint8Array(weights.buffer))),
  );
}
const model = Buffer.concat([
  number(1, 9),
  message(7, ...parts, bytes(2, 'network'), value(11, 'x'), value(12, 'y')),
  message(8, bytes(1, ''), number(2, 17)),
]);
const session = await InferenceSession.create(model, { intraOpNumThreads: 2 });
const x = new Tensor('float32', new Float32Array(64 * WIDTH).fill(0.5), [64, WIDTH]);
for (let i = 0; i < 5; i++) globalThis.answer = await session.run({ x });
globalThis.session = session;
// Held, so that its bytes are there when the process is explained.
globalThis.model = model;
