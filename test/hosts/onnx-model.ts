import { createRequire } from 'node:module';

/** The part of ONNX's format that the models here need. @see Source: onnx.proto3 */
const SCHEMA = `
  syntax = "proto3";
  package onnx;
  message TensorShape { message Dimension { int64 dim_value = 1; string dim_param = 2; } repeated Dimension dim = 1; }
  message Type { message Tensor { int32 elem_type = 1; TensorShape shape = 2; } Tensor tensor_type = 1; }
  message ValueInfo { string name = 1; Type type = 2; }
  message Node { repeated string input = 1; repeated string output = 2; string name = 3; string op_type = 4; }
  message Tensor { repeated int64 dims = 1; int32 data_type = 2; string name = 8; bytes raw_data = 9; }
  message Graph { repeated Node node = 1; string name = 2; repeated Tensor initializer = 5; repeated ValueInfo input = 11; repeated ValueInfo output = 12; }
  message OperatorSet { string domain = 1; int64 version = 2; }
  message Model { int64 ir_version = 1; string producer_name = 2; Graph graph = 7; repeated OperatorSet opset_import = 8; }
`;
const FLOAT = 1;

/** What is used of protobufjs; its types are there only where `npm run test:hosts` has installed it. */
interface MessageType {
  verify(message: object): string | null;
  encode(message: object): { finish(): Uint8Array };
}
type Parse = (schema: string, options: { keepCase: boolean }) => { root: { lookupType(name: string): MessageType } };

/** A network of dense layers with tanh, softmax at the end. */
export interface NetworkShape {
  readonly inputs: number;
  readonly hidden: number;
  readonly layers: number;
  /** Makes the first layer's result an output, too. @defaultValue false */
  readonly showFirstLayer?: boolean;
}

const networks = new Map<string, Uint8Array>();

/** Gives an ONNX file for inputs `x` of `[batch, inputs]` and outputs `y`; its weights are always the same. Each is made once. */
export function networkModel(shape: NetworkShape): Uint8Array {
  const key = JSON.stringify(shape);
  const model = networks.get(key) ?? madeNetwork(shape);
  networks.set(key, model);
  return model;
}

function madeNetwork({ inputs, hidden, layers, showFirstLayer = false }: NetworkShape): Uint8Array {
  const random = randomNumbers();
  const tensor = (name: string, ...dims: number[]) => {
    const values = Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, random);
    return { name, dims, data_type: FLOAT, raw_data: new Uint8Array(values.buffer) };
  };
  const node: object[] = [];
  const initializer: object[] = [];
  for (let layer = 0; layer < layers; layer++) {
    const input = layer === 0 ? 'x' : `tanh${layer - 1}`;
    initializer.push(tensor(`weights${layer}`, layer === 0 ? inputs : hidden, hidden), tensor(`bias${layer}`, hidden));
    node.push(
      { op_type: 'MatMul', input: [input, `weights${layer}`], output: [`product${layer}`] },
      { op_type: 'Add', input: [`product${layer}`, `bias${layer}`], output: [`sum${layer}`] },
      { op_type: 'Tanh', input: [`sum${layer}`], output: [`tanh${layer}`] },
    );
  }
  node.push({ op_type: 'Softmax', input: [`tanh${layers - 1}`], output: ['y'] });
  const output = [matrixOf('y', hidden), ...(showFirstLayer ? [matrixOf('tanh0', hidden)] : [])];
  return encode({ name: 'network', node, initializer, input: [matrixOf('x', inputs)], output });
}

/** A network whose layers are all needed to its end, so that a run holds all of them. */
export interface WideNetworkShape {
  readonly inputs: number;
  readonly hidden: number;
  readonly layers: number;
  readonly outputs: number;
}

/** An ONNX file, and what it computes. */
export interface WideNetwork {
  readonly model: Uint8Array;
  /** Computes a row of outputs from a row of inputs, one number after the other. */
  compute(row: readonly number[]): number[];
}

/**
 * Gives a network for inputs `x` of `[batch, inputs]` and outputs `y` of `[batch, outputs]`: the sum of all layers' results times a
 * matrix. A layer is tanh of the one before times a matrix. Its weights are always the same.
 */
export function wideNetwork({ inputs, hidden, layers, outputs }: WideNetworkShape): WideNetwork {
  const random = randomNumbers();
  const sizes = [...Array.from({ length: layers }, (_, i) => [i === 0 ? inputs : hidden, hidden]), [hidden, outputs]];
  const weights = sizes.map(([rows, columns]) => Float32Array.from({ length: rows! * columns! }, random));
  const initializer = sizes.map((dims, i) => ({
    name: `weights${i}`,
    dims,
    data_type: FLOAT,
    raw_data: new Uint8Array(weights[i]!.buffer),
  }));
  const names = Array.from({ length: layers }, (_, i) => `tanh${i}`);
  const node = names.flatMap((name, i) => [
    { op_type: 'MatMul', input: [i === 0 ? 'x' : names[i - 1], `weights${i}`], output: [`product${i}`] },
    { op_type: 'Tanh', input: [`product${i}`], output: [name] },
  ]);
  node.push({ op_type: 'Sum', input: names, output: ['all'] });
  node.push({ op_type: 'MatMul', input: ['all', `weights${layers}`], output: ['y'] });
  const model = encode({ name: 'wide', node, initializer, input: [matrixOf('x', inputs)], output: [matrixOf('y', outputs)] });
  return {
    model,
    compute(row) {
      let values = row;
      let all = new Array<number>(hidden).fill(0);
      for (const matrix of weights.slice(0, -1)) {
        values = product(values, matrix, hidden).map(Math.tanh);
        all = all.map((sum, i) => sum + values[i]!);
      }
      return product(all, weights.at(-1)!, outputs);
    },
  };
}

function product(row: readonly number[], matrix: Float32Array, columns: number): number[] {
  return Array.from({ length: columns }, (_, c) => row.reduce((sum, value, r) => sum + value * matrix[r * columns + c]!, 0));
}

/** A model without weights: `y = tanh(x)`. A session of it holds no memory between runs. */
export function tanhModel(width: number): Uint8Array {
  const node = [{ op_type: 'Tanh', input: ['x'], output: ['y'] }];
  return encode({ name: 'tanh', node, initializer: [], input: [matrixOf('x', width)], output: [matrixOf('y', width)] });
}

/** A batch of rows. */
function matrixOf(name: string, width: number): object {
  const dim = [{ dim_param: 'batch' }, { dim_value: width }];
  return { name, type: { tensor_type: { elem_type: FLOAT, shape: { dim } } } };
}

function encode(graph: object): Uint8Array {
  const parse = createRequire(import.meta.url)('protobufjs').parse as Parse;
  const type = parse(SCHEMA, { keepCase: true }).root.lookupType('onnx.Model');
  const model = { ir_version: 10, producer_name: 'stowage tests', graph, opset_import: [{ domain: '', version: 17 }] };
  const problem = type.verify(model);
  if (problem !== null) throw new TypeError(problem);
  return type.encode(model).finish();
}

/** Numbers from -0.5 to 0.5, always the same. */
function randomNumbers(): () => number {
  let state = 1;
  return () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
}
