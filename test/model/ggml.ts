import { join } from 'node:path';
import koffi from 'koffi';
import { DTYPES, type DType } from '../../src/model/dtypes.js';
import { requireLibrary } from '../fixtures/requires.js';

// `npm run test:hosts` installs it.
const PATH = join(import.meta.dirname, '../hosts/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64/libggml-base.so');

/** ggml's own library, or why it is not here. */
export const needed = requireLibrary('ggml', [PATH]);

/** A tensor as ggml writes it. */
export interface GgmlTensor {
  readonly name: string;
  readonly dtype: DType;
  /** The innermost dimension first. */
  readonly ne: readonly number[];
  readonly data: Uint8Array;
}

/** A tensor as ggml reads it from a file. */
export interface GgmlTensorEntry {
  readonly name: string;
  readonly type: number;
  readonly offset: number;
  readonly bytes: number;
}

/** ggml's reading and writing of GGUF files, by FFI. */
export function openGgml() {
  const library = koffi.load(PATH);
  const InitParams = koffi.struct({ mem_size: 'size_t', mem_buffer: 'void *', no_alloc: 'bool' });
  const FileParams = koffi.struct({ no_alloc: 'bool', ctx: 'void *' });
  const f = {
    init: library.func('ggml_init', 'void *', [InitParams]),
    free: library.func('ggml_free', 'void', ['void *']),
    newTensor: library.func('ggml_new_tensor', 'void *', ['void *', 'int', 'int', 'int64_t *']),
    setName: library.func('ggml_set_name', 'void *', ['void *', 'str']),
    getData: library.func('ggml_get_data', 'void *', ['void *']),
    bytes: library.func('ggml_nbytes', 'size_t', ['void *']),
    rowSize: library.func('ggml_row_size', 'size_t', ['int', 'int64_t']),
    empty: library.func('gguf_init_empty', 'void *', []),
    open: library.func('gguf_init_from_file', 'void *', ['str', FileParams]),
    close: library.func('gguf_free', 'void', ['void *']),
    setString: library.func('gguf_set_val_str', 'void', ['void *', 'str', 'str']),
    setU32: library.func('gguf_set_val_u32', 'void', ['void *', 'str', 'uint32_t']),
    setU64: library.func('gguf_set_val_u64', 'void', ['void *', 'str', 'uint64_t']),
    setF32: library.func('gguf_set_val_f32', 'void', ['void *', 'str', 'float']),
    setBool: library.func('gguf_set_val_bool', 'void', ['void *', 'str', 'bool']),
    setI32s: library.func('gguf_set_arr_data', 'void', ['void *', 'str', 'int', 'int32_t *', 'size_t']),
    setStrings: library.func('gguf_set_arr_str', 'void', ['void *', 'str', 'str *', 'size_t']),
    addTensor: library.func('gguf_add_tensor', 'void', ['void *', 'void *']),
    write: library.func('gguf_write_to_file', 'bool', ['void *', 'str', 'bool']),
    tensorCount: library.func('gguf_get_n_tensors', 'int64_t', ['void *']),
    tensorName: library.func('gguf_get_tensor_name', 'str', ['void *', 'int64_t']),
    tensorType: library.func('gguf_get_tensor_type', 'int', ['void *', 'int64_t']),
    tensorOffset: library.func('gguf_get_tensor_offset', 'size_t', ['void *', 'int64_t']),
    tensorSize: library.func('gguf_get_tensor_size', 'size_t', ['void *', 'int64_t']),
    dataOffset: library.func('gguf_get_data_offset', 'size_t', ['void *']),
  };
  return {
    /** The bytes of a row of so many elements, as ggml counts them. */
    rowBytes: (dtype: DType, elements: number): number => f.rowSize(dtype.ggmlType, elements),

    /** Has ggml's writer make a file with some metadata of every kind. */
    write(path: string, tensors: readonly GgmlTensor[]): void {
      const bytes = tensors.reduce((sum, { data }) => sum + data.length + 4096, 65_536);
      const context = f.init({ mem_size: bytes, mem_buffer: null, no_alloc: false });
      const file = f.empty();
      f.setString(file, 'general.architecture', 'llama');
      f.setString(file, 'general.name', 'tiny ünï');
      f.setU32(file, 'llama.block_count', 2);
      f.setU64(file, 'big', 2n ** 60n);
      f.setF32(file, 'half', 0.5);
      f.setBool(file, 'yes', true);
      f.setI32s(file, 'numbers', 5, Int32Array.of(1, -2, 3), 3);
      f.setStrings(file, 'words', ['one', '', 'drei'], 3);
      for (const { name, dtype, ne, data } of tensors) {
        const tensor = f.newTensor(context, dtype.ggmlType, ne.length, BigInt64Array.from(ne.map(BigInt)));
        f.setName(tensor, name);
        if (Number(f.bytes(tensor)) !== data.length) throw new Error(`${name}: ggml needs ${f.bytes(tensor)} bytes`);
        new Uint8Array(koffi.view(f.getData(tensor), data.length)).set(data);
        f.addTensor(file, tensor);
      }
      const written = f.write(file, path, false);
      f.close(file);
      f.free(context);
      if (!written) throw new Error('ggml cannot write');
    },

    /** Has ggml read a file; undefined when it refuses it. */
    read(path: string): readonly GgmlTensorEntry[] | undefined {
      const file = f.open(path, { no_alloc: true, ctx: null });
      if (file === null) return undefined;
      const start = Number(f.dataOffset(file));
      const entries = Array.from({ length: Number(f.tensorCount(file)) }, (_, i) => ({
        name: f.tensorName(file, i) as string,
        type: f.tensorType(file, i) as number,
        offset: start + Number(f.tensorOffset(file, i)),
        bytes: Number(f.tensorSize(file, i)),
      }));
      f.close(file);
      return entries;
    },
  };
}

/** The types that ggml's library knows. */
export const GGML_DTYPES: readonly DType[] = Object.values(DTYPES).filter(({ ggmlType }) => ggmlType !== undefined);
