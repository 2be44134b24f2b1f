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
  const value = (name: string, width: number) => ({
    name,
    type: { tensor_type: { elem_type: FLOAT, shape: { dim: [{ dim_param: 'batch' }, { dim_value: width }] } } },
  });
  const output = [value('y', hidden), ...(showFirstLayer ? [value('tanh0', hidden)] : [])];
  return encode({ name: 'network', node, initializer, input: [value('x', inputs)], output });
}

/** A model without weights: `y = tanh(x)`. A session of it holds no memory between runs. */
export function tanhModel(width: number): Uint8Array {
  const value = (name: string) => ({
    name,
    type: { tensor_type: { elem_type: FLOAT, shape: { dim: [{ dim_param: 'batch' }, { dim_value: width }] } } },
  });
  const node = [{ op_type: 'Tanh', input: ['x'], output: ['y'] }];
  return encode({ name: 'tanh', node, initializer: [], input: [value('x')], output: [value('y')] });
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
