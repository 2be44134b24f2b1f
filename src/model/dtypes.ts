import { checkArgument } from '../core/errors.js';

/** The name of an element type: ggml's own (`f32`, `q4_K`), or in the same manner for those that ggml lacks. */
export type DTypeName =
  | 'f32'
  | 'f16'
  | 'q4_0'
  | 'q4_1'
  | 'q5_0'
  | 'q5_1'
  | 'q8_0'
  | 'q8_1'
  | 'q2_K'
  | 'q3_K'
  | 'q4_K'
  | 'q5_K'
  | 'q6_K'
  | 'q8_K'
  | 'iq2_xxs'
  | 'iq2_xs'
  | 'iq3_xxs'
  | 'iq1_s'
  | 'iq4_nl'
  | 'iq3_s'
  | 'iq2_s'
  | 'iq4_xs'
  | 'i8'
  | 'i16'
  | 'i32'
  | 'i64'
  | 'f64'
  | 'iq1_m'
  | 'bf16'
  | 'tq1_0'
  | 'tq2_0'
  | 'mxfp4'
  | 'nvfp4'
  | 'q1_0'
  | 'q2_0'
  | 'bool'
  | 'u8'
  | 'u16'
  | 'u32'
  | 'u64'
  | 'f8_e4m3'
  | 'f8_e5m2'
  | 'f8_e8m0'
  | 'f8_e4m3fnuz'
  | 'f8_e5m2fnuz'
  | 'f6_e2m3'
  | 'f6_e3m2'
  | 'f4'
  | 'c64';

/** The typed arrays that can show elements. */
export type ElementArray =
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array
  | Float32Array
  | Float64Array;

/** The class of a typed array that can show elements. */
export interface ElementArrayClass {
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): ElementArray;
  new (length: number): ElementArray;
  readonly BYTES_PER_ELEMENT: number;
}

/**
 * What the elements of a tensor are.
 *
 * Elements come in blocks: of one element for plain types, of 32 to 256 for ggml's quantised types, which keep their scales
 * in the block. A block's elements are neighbours in the innermost dimension.
 */
export interface DType {
  /** Of a type that is not known here, the name that its file has for it. */
  readonly name: DTypeName | (string & {});
  readonly blockElements: number;
  readonly blockBytes: number;
  /** The number in ggml's `ggml_type` and so in GGUF files; undefined where ggml has no such type. */
  readonly ggmlType: number | undefined;
  /** The name in tools for GGUF files, such as `Q4_K`. */
  readonly ggufName: string | undefined;
  /** The name in safetensors files, such as `BF16`. */
  readonly safetensorsName: string | undefined;
  /** What shows the elements: as they are, or (f16, bf16) their 16 bits. Undefined where an array shows nothing but bytes. */
  readonly arrayClass: ElementArrayClass | undefined;
}

/** Elements and bytes of a block, the number in ggml, the name in safetensors files, and what shows the elements. */
type Row = readonly [elements: number, bytes: number, ggml?: number | undefined, safetensors?: string, array?: ElementArrayClass];

// Source: ggml_blck_size and ggml_type_size, which a test compares; the safetensors format's own list of types.
const ROWS: Readonly<Record<DTypeName, Row>> = {
  f32: [1, 4, 0, 'F32', Float32Array],
  f16: [1, 2, 1, 'F16', Uint16Array],
  q4_0: [32, 18, 2],
  q4_1: [32, 20, 3],
  q5_0: [32, 22, 6],
  q5_1: [32, 24, 7],
  q8_0: [32, 34, 8],
  q8_1: [32, 36, 9],
  q2_K: [256, 84, 10],
  q3_K: [256, 110, 11],
  q4_K: [256, 144, 12],
  q5_K: [256, 176, 13],
  q6_K: [256, 210, 14],
  q8_K: [256, 292, 15],
  iq2_xxs: [256, 66, 16],
  iq2_xs: [256, 74, 17],
  iq3_xxs: [256, 98, 18],
  iq1_s: [256, 50, 19],
  iq4_nl: [32, 18, 20],
  iq3_s: [256, 110, 21],
  iq2_s: [256, 82, 22],
  iq4_xs: [256, 136, 23],
  i8: [1, 1, 24, 'I8', Int8Array],
  i16: [1, 2, 25, 'I16', Int16Array],
  i32: [1, 4, 26, 'I32', Int32Array],
  i64: [1, 8, 27, 'I64', BigInt64Array],
  f64: [1, 8, 28, 'F64', Float64Array],
  iq1_m: [256, 56, 29],
  bf16: [1, 2, 30, 'BF16', Uint16Array],
  tq1_0: [256, 54, 34],
  tq2_0: [256, 66, 35],
  mxfp4: [32, 17, 39],
  nvfp4: [64, 36, 40],
  q1_0: [128, 18, 41],
  q2_0: [64, 18, 42],
  bool: [1, 1, undefined, 'BOOL', Uint8Array],
  u8: [1, 1, undefined, 'U8', Uint8Array],
  u16: [1, 2, undefined, 'U16', Uint16Array],
  u32: [1, 4, undefined, 'U32', Uint32Array],
  u64: [1, 8, undefined, 'U64', BigUint64Array],
  f8_e4m3: [1, 1, undefined, 'F8_E4M3', Uint8Array],
  f8_e5m2: [1, 1, undefined, 'F8_E5M2', Uint8Array],
  f8_e8m0: [1, 1, undefined, 'F8_E8M0', Uint8Array],
  f8_e4m3fnuz: [1, 1, undefined, 'F8_E4M3FNUZ', Uint8Array],
  f8_e5m2fnuz: [1, 1, undefined, 'F8_E5M2FNUZ', Uint8Array],
  f6_e2m3: [4, 3, undefined, 'F6_E2M3'],
  f6_e3m2: [4, 3, undefined, 'F6_E3M2'],
  f4: [2, 1, undefined, 'F4'],
  c64: [1, 8, undefined, 'C64'],
};

/** Every element type by its name. */
export const DTYPES: Readonly<Record<DTypeName, DType>> = Object.fromEntries(
  Object.entries(ROWS).map(([name, row]) => [name, dtypeOf(name, row)]),
) as Record<DTypeName, DType>;

const BY_GGML = new Map(Object.values(DTYPES).map((dtype) => [dtype.ggmlType, dtype]));
const BY_SAFETENSORS = new Map(Object.values(DTYPES).map((dtype) => [dtype.safetensorsName, dtype]));

/** The element type of that name; a DType is given back. @throws ERR_MEM_INVALID_ARGUMENT for a name that is none */
export function dtype(type: DTypeName | DType): DType {
  if (typeof type !== 'string') return type;
  checkArgument(Object.hasOwn(DTYPES, type), 'dtype', type, 'the name of an element type');
  return DTYPES[type];
}

/** The element type with that number in ggml and GGUF; undefined for numbers of none, those that ggml dropped included. */
export function dtypeOfGgml(ggmlType: number): DType | undefined {
  return BY_GGML.get(ggmlType);
}

/** The element type with that name in safetensors files. */
export function dtypeOfSafetensors(name: string): DType | undefined {
  return BY_SAFETENSORS.get(name);
}

/**
 * Makes a type of a safetensors file that is not known here, by its sizes: elements are bytes, and nothing shows them.
 *
 * @param elements - of a tensor of the type, and `bytes` what its data takes
 */
export function unknownDType(safetensorsName: string, elements: number, bytes: number): DType {
  // Without elements, or with no whole number of bytes for one, the fewest that go together are a block.
  const parts = greatestCommonDivisor(elements, bytes);
  const block = [elements, bytes].map((count) => Math.max(1, count / parts || 1)) as [number, number];
  return dtypeOf(safetensorsName, [...block, undefined, safetensorsName]);
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

function dtypeOf(name: string, [blockElements, blockBytes, ggmlType, safetensorsName, arrayClass]: Row): DType {
  const ggufName = ggmlType === undefined ? undefined : name.toUpperCase();
  return Object.freeze({ name, blockElements, blockBytes, ggmlType, ggufName, safetensorsName, arrayClass });
}
