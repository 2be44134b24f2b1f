import { createRequire } from 'node:module';
import { join } from 'node:path';
import { requireLibrary } from '../fixtures/requires.js';

const FOLDER = join(import.meta.dirname, 'node_modules/onnxruntime-node/bin/napi-v6', process.platform, process.arch);

/** ONNX Runtime as `npm run test:hosts` installs it, or why it is not here. */
export const needed = requireLibrary(
  'ONNX Runtime',
  ['libonnxruntime.so.1', 'libonnxruntime.1.dylib', 'onnxruntime.dll'].map((name) => join(FOLDER, name)),
);

export interface OrtTensor {
  readonly data: Float32Array;
  readonly dims: readonly number[];
}

export interface OrtSession {
  run(feeds: Readonly<Record<string, OrtTensor>>): Promise<Readonly<Record<string, OrtTensor>>>;
  release(): Promise<void>;
}

/** What is used of onnxruntime-node. */
export interface Ort {
  readonly InferenceSession: { create(model: Uint8Array, options?: object): Promise<OrtSession> };
  readonly Tensor: new (type: 'float32', data: Float32Array, dims: readonly number[]) => OrtTensor;
}

/** Loads onnxruntime-node, as the app does. */
export const loadOrt = (): Ort => createRequire(import.meta.url)('onnxruntime-node') as Ort;

/** A batch of inputs, always the same. */
export function inputs(ort: Ort, batch: number, width: number): OrtTensor {
  const values = Float32Array.from({ length: batch * width }, (_, i) => Math.sin(i * 0.37));
  return new ort.Tensor('float32', values, [batch, width]);
}

/** An output's bytes, apart from ONNX Runtime's memory. */
export const bytesOf = ({ data }: OrtTensor): Buffer =>
  Buffer.from(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength));
