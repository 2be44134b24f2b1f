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

interface Row {
  readonly elements: number;
  readonly bytes: number;
  readonly ggml?: number;
  readonly safetensors?: string;
  readonly array?: ElementArrayClass;
}

// Source: ggml_blck_size and ggml_type_size, which a test compares; the safetensors format's own list of types.
const ROWS: Readonly<Record<DTypeName, Row>> = {
  f32: { elements: 1, bytes: 4, ggml: 0, safetensors: 'F32', array: Float32Array },
  f16: { elements: 1, bytes: 2, ggml: 1, safetensors: 'F16', array: Uint16Array },
  q4_0: { elements: 32, bytes: 18, ggml: 2 },
  q4_1: { elements: 32, bytes: 20, ggml: 3 },
  q5_0: { elements: 32, bytes: 22, ggml: 6 },
  q5_1: { elements: 32, bytes: 24, ggml: 7 },
  q8_0: { elements: 32, bytes: 34, ggml: 8 },
  q8_1: { elements: 32, bytes: 36, ggml: 9 },
  q2_K: { elements: 256, bytes: 84, ggml: 10 },
  q3_K: { elements: 256, bytes: 110, ggml: 11 },
  q4_K: { elements: 256, bytes: 144, ggml: 12 },
  q5_K: { elements: 256, bytes: 176, ggml: 13 },
  q6_K: { elements: 256, bytes: 210, ggml: 14 },
  q8_K: { elements: 256, bytes: 292, ggml: 15 },
  iq2_xxs: { elements: 256, bytes: 66, ggml: 16 },
  iq2_xs: { elements: 256, bytes: 74, ggml: 17 },
  iq3_xxs: { elements: 256, bytes: 98, ggml: 18 },
  iq1_s: { elements: 256, bytes: 50, ggml: 19 },
  iq4_nl: { elements: 32, bytes: 18, ggml: 20 },
  iq3_s: { elements: 256, bytes: 110, ggml: 21 },
  iq2_s: { elements: 256, bytes: 82, ggml: 22 },
  iq4_xs: { elements: 256, bytes: 136, ggml: 23 },
  i8: { elements: 1, bytes: 1, ggml: 24, safetensors: 'I8', array: Int8Array },
  i16: { elements: 1, bytes: 2, ggml: 25, safetensors: 'I16', array: Int16Array },
  i32: { elements: 1, bytes: 4, ggml: 26, safetensors: 'I32', array: Int32Array },
  i64: { elements: 1, bytes: 8, ggml: 27, safetensors: 'I64', array: BigInt64Array },
  f64: { elements: 1, bytes: 8, ggml: 28, safetensors: 'F64', array: Float64Array },
  iq1_m: { elements: 256, bytes: 56, ggml: 29 },
  bf16: { elements: 1, bytes: 2, ggml: 30, safetensors: 'BF16', array: Uint16Array },
  tq1_0: { elements: 256, bytes: 54, ggml: 34 },
  tq2_0: { elements: 256, bytes: 66, ggml: 35 },
  mxfp4: { elements: 32, bytes: 17, ggml: 39 },
  nvfp4: { elements: 64, bytes: 36, ggml: 40 },
  q1_0: { elements: 128, bytes: 18, ggml: 41 },
  q2_0: { elements: 64, bytes: 18, ggml: 42 },
  bool: { elements: 1, bytes: 1, safetensors: 'BOOL', array: Uint8Array },
  u8: { elements: 1, bytes: 1, safetensors: 'U8', array: Uint8Array },
  u16: { elements: 1, bytes: 2, safetensors: 'U16', array: Uint16Array },
  u32: { elements: 1, bytes: 4, safetensors: 'U32', array: Uint32Array },
  u64: { elements: 1, bytes: 8, safetensors: 'U64', array: BigUint64Array },
  f8_e4m3: { elements: 1, bytes: 1, safetensors: 'F8_E4M3', array: Uint8Array },
  f8_e5m2: { elements: 1, bytes: 1, safetensors: 'F8_E5M2', array: Uint8Array },
  f8_e8m0: { elements: 1, bytes: 1, safetensors: 'F8_E8M0', array: Uint8Array },
  f8_e4m3fnuz: { elements: 1, bytes: 1, safetensors: 'F8_E4M3FNUZ', array: Uint8Array },
  f8_e5m2fnuz: { elements: 1, bytes: 1, safetensors: 'F8_E5M2FNUZ', array: Uint8Array },
  f6_e2m3: { elements: 4, bytes: 3, safetensors: 'F6_E2M3' },
  f6_e3m2: { elements: 4, bytes: 3, safetensors: 'F6_E3M2' },
  f4: { elements: 2, bytes: 1, safetensors: 'F4' },
  c64: { elements: 1, bytes: 8, safetensors: 'C64' },
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
  return dtypeOf(safetensorsName, {
    elements: Math.max(1, elements / parts || 1),
    bytes: Math.max(1, bytes / parts || 1),
    safetensors: safetensorsName,
  });
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

function dtypeOf(name: string, row: Row): DType {
  return Object.freeze({
    name,
    blockElements: row.elements,
    blockBytes: row.bytes,
    ggmlType: row.ggml,
    ggufName: row.ggml === undefined ? undefined : name.toUpperCase(),
    safetensorsName: row.safetensors,
    arrayClass: row.array,
  });
}
