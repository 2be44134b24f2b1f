import { existsSync, readdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { koffi } from '../../adapters/ffi/koffi.js';
import { type NativeLibrary, openLibrary } from '../../adapters/ffi/library.js';
import type { GgmlHost } from '../../adapters/hosts/ggml/index.js';
import { libc } from '../../adapters/os/libc.js';

type N = number;

const GGML_TYPE_F32 = 0;
/** Where libggml-base is, once `npm run test:hosts` has installed it. @param folder - of the tests' package */
export const ggmlPath = (folder = import.meta.dirname): string =>
  resolve(folder, 'node_modules/@node-llama-cpp/linux-x64/bins/linux-x64/libggml-base.so');

/** The functions of ggml that a program would call. */
export class Ggml {
  readonly base: NativeLibrary;
  readonly backend: N;
  readonly #functions = new Map<string, (...values: unknown[]) => N>();
  readonly #toNative = libc().func<(target: N, source: Float32Array, bytes: N) => void>('memmove', 'void', [
    'uintptr_t',
    'float *',
    'size_t',
  ]);
  readonly #fromNative = libc().func<(target: Float32Array, source: N, bytes: N) => void>('memmove', 'void', [
    'float *',
    'uintptr_t',
    'size_t',
  ]);

  #expand: ((graph: N, tensor: N) => void) | undefined;
  #allocateGraph: ((allocator: N, graph: N) => boolean) | undefined;
  #compute: ((backend: N, graph: N) => N) | undefined;

  /** Loads the CPU backend that fits this machine best. */
  constructor(path: string) {
    const folder = dirname(path);
    this.base = openLibrary([path], { device: 'ggml' });
    const name = readdirSync(folder).find((file) => /^libggml(\.v[\d.]+)?\.so/.test(file))!;
    const registry = openLibrary([join(folder, name)], { device: 'ggml' });
    registry.func<(folder: string) => void>('ggml_backend_load_all_from_path', 'void', ['const char *'])(folder);
    this.backend = registry.func<(type: N, options: N) => N>('ggml_backend_init_by_type', 'uintptr_t', ['int', 'uintptr_t'])(
      0,
      0,
    );
    if (this.backend === 0) throw new Error('no CPU backend of ggml');
    this.#useOneThread();
  }

  /** More would wait for each other in a loop, which is slow on a machine that is busy. */
  #useOneThread(): void {
    const registration = this.f('ggml_backend_dev_backend_reg', this.f('ggml_backend_get_device', this.backend));
    const address = this.base.func<(registration: N, name: string) => N>('ggml_backend_reg_get_proc_address', 'uintptr_t', [
      'uintptr_t',
      'const char *',
    ])(registration, 'ggml_backend_set_n_threads');
    koffi().call(BigInt(address), koffi().proto('void', ['uintptr_t', 'int']), this.backend, 1);
  }

  /** Calls a function whose parameters are pointers and sizes. */
  f(name: string, ...values: N[]): N {
    let call = this.#functions.get(name);
    if (call === undefined) {
      call = this.base.func(
        name,
        'uintptr_t',
        values.map(() => 'int64_t'),
      );
      this.#functions.set(name, call);
    }
    return call(...values);
  }

  matrix(context: N, columns: N, rows: N): N {
    return this.f('ggml_new_tensor_2d', context, GGML_TYPE_F32, columns, rows);
  }

  vector(context: N, length: N): N {
    return this.f('ggml_new_tensor_1d', context, GGML_TYPE_F32, length);
  }

  /** @param offsetBytes - where in the tensor's data the values go */
  write(tensor: N, values: Float32Array, offsetBytes = 0): void {
    this.#toNative(this.f('ggml_get_data', tensor) + offsetBytes, values, values.byteLength);
  }

  read(tensor: N, length: N): Float32Array {
    const values = new Float32Array(length);
    this.#fromNative(values, this.f('ggml_get_data', tensor), values.byteLength);
    return values;
  }

  /** Adds what a tensor is computed from to a graph. */
  expand(graph: N, tensor: N): void {
    this.#expand ??= this.base.func('ggml_build_forward_expand', 'void', ['uintptr_t', 'uintptr_t']);
    this.#expand(graph, tensor);
  }

  /** Gives a graph's tensors memory. @returns false where there is none */
  allocateGraph(allocator: N, graph: N): boolean {
    this.#allocateGraph ??= this.base.func('ggml_gallocr_alloc_graph', 'bool', ['uintptr_t', 'uintptr_t']);
    return this.#allocateGraph(allocator, graph);
  }

  /** Computes a graph on the CPU backend. @returns a status, 0 for success */
  compute(graph: N): N {
    this.#compute ??= this.base.func('ggml_backend_graph_compute', 'int', ['uintptr_t', 'uintptr_t']);
    return this.#compute(this.backend, graph);
  }
}

const [K, M, COLUMNS] = [64, 48, 32];
const at = (seed: number) => (_: unknown, i: number) => ((i * seed) % 7) - 3;
const A = Float32Array.from({ length: K * M }, at(5));
const B = Float32Array.from({ length: K * COLUMNS }, at(3));

/** What {@link computeGraph} has to come to: whole numbers, so that the order of additions does not matter. */
export function graphReference(): number[] {
  const out: number[] = [];
  for (let n = 0; n < COLUMNS; n++) {
    for (let m = 0; m < M; m++) {
      let sum = 0;
      for (let k = 0; k < K; k++) sum += A[m * K + k]! * B[n * K + k]!;
      out.push(Math.max(0, 2 * sum));
    }
  }
  return out;
}

/** Computes relu(A * B + A * B) on the CPU backend: objects, weights and results lie in the host's memory. */
export function computeGraph(ggml: Ggml, host: GgmlHost, during?: () => void): number[] {
  const buft = host.bufferType;
  const releases: (() => void)[] = [];
  const call = (name: string, ...values: N[]): N => {
    const result = host.call(() => ggml.f(name, ...values));
    if (result === 0) throw host.lastError ?? new Error(`${name} failed`);
    return result;
  };
  const free = (name: string, address: N) => releases.push(() => host.call(() => void ggml.f(name, address)));
  try {
    const weights = host.createContext(4096, { noAlloc: true });
    releases.push(() => weights[Symbol.dispose]());
    const [a, b] = [ggml.matrix(weights.address, K, M), ggml.matrix(weights.address, K, COLUMNS)];
    free('ggml_backend_buffer_free', call('ggml_backend_alloc_ctx_tensors_from_buft', weights.address, buft));
    ggml.write(a, A);
    ggml.write(b, B);

    const objects = host.createContext(64 * 1024, { noAlloc: true });
    releases.push(() => objects[Symbol.dispose]());
    const product = ggml.f('ggml_mul_mat', objects.address, a, b);
    const result = ggml.f('ggml_relu', objects.address, ggml.f('ggml_add', objects.address, product, product));
    const graph = ggml.f('ggml_new_graph_custom', objects.address, 32, 0);
    ggml.expand(graph, result);
    const allocator = call('ggml_gallocr_new', buft);
    free('ggml_gallocr_free', allocator);
    if (!host.call(() => ggml.allocateGraph(allocator, graph)))
      throw host.lastError ?? new Error('ggml_gallocr_alloc_graph failed');
    during?.();
    const status = host.call(() => ggml.compute(graph));
    if (status !== 0) throw new Error(`ggml_backend_graph_compute: ${status}`);
    return [...ggml.read(result, M * COLUMNS)];
  } finally {
    let failure: unknown;
    for (const release of releases.reverse()) {
      try {
        release();
      } catch (error) {
        failure ??= error;
      }
    }
    // biome-ignore lint/correctness/noUnsafeFinally: what was computed does not count when its memory was not freed
    if (failure !== undefined) throw failure;
  }
}

/** The sizes of the tiny model. */
export const MODEL = { embedding: 64, layers: 3, heads: 4, feedForward: 96, vocabulary: 40, context: 64 };

/** Writes a llama model with random weights, by ggml's own GGUF writer. */
export function writeModel(ggml: Ggml, host: GgmlHost, file: string): void {
  const { embedding, layers, heads, feedForward, vocabulary, context } = MODEL;
  const gguf = ggml.f('gguf_init_empty');
  const set = (type: 'str' | 'u32' | 'f32', key: string, value: string | number) => {
    const cType = { str: 'const char *', u32: 'uint32_t', f32: 'float' }[type];
    ggml.base.func<(...values: unknown[]) => void>(`gguf_set_val_${type}`, 'void', ['uintptr_t', 'const char *', cType])(
      gguf,
      key,
      value,
    );
  };
  set('str', 'general.architecture', 'llama');
  set('str', 'tokenizer.ggml.model', 'no_vocab');
  set('u32', 'llama.vocab_size', vocabulary);
  set('u32', 'llama.context_length', context);
  set('u32', 'llama.embedding_length', embedding);
  set('u32', 'llama.block_count', layers);
  set('u32', 'llama.feed_forward_length', feedForward);
  set('u32', 'llama.attention.head_count', heads);
  set('u32', 'llama.attention.head_count_kv', heads);
  set('u32', 'llama.rope.dimension_count', embedding / heads);
  set('f32', 'llama.attention.layer_norm_rms_epsilon', 1e-5);

  using tensors = host.createContext(2 * 1024 * 1024);
  const setName = ggml.base.func<(tensor: N, name: string) => N>('ggml_set_name', 'uintptr_t', ['uintptr_t', 'const char *']);
  let state = 12345;
  const random = () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state / 2 ** 32 - 0.5) * 0.4;
  };
  const add = (name: string, columns: number, rows?: number) => {
    const tensor = rows === undefined ? ggml.vector(tensors.address, columns) : ggml.matrix(tensors.address, columns, rows);
    setName(tensor, `${name}.weight`);
    ggml.write(
      tensor,
      Float32Array.from({ length: columns * (rows ?? 1) }, () => (rows === undefined ? 1 : random())),
    );
    ggml.f('gguf_add_tensor', gguf, tensor);
  };
  add('token_embd', embedding, vocabulary);
  add('output_norm', embedding);
  add('output', embedding, vocabulary);
  for (let layer = 0; layer < layers; layer++) {
    add(`blk.${layer}.attn_norm`, embedding);
    for (const part of ['q', 'k', 'v', 'output']) add(`blk.${layer}.attn_${part}`, embedding, embedding);
    add(`blk.${layer}.ffn_norm`, embedding);
    add(`blk.${layer}.ffn_gate`, embedding, feedForward);
    add(`blk.${layer}.ffn_down`, feedForward, embedding);
    add(`blk.${layer}.ffn_up`, embedding, feedForward);
  }
  const write = ggml.base.func<(gguf: N, file: string, onlyMeta: boolean) => boolean>('gguf_write_to_file', 'bool', [
    'uintptr_t',
    'const char *',
    'bool',
  ]);
  const written = write(gguf, file, false);
  ggml.f('gguf_free', gguf);
  if (!written || !existsSync(file)) throw new Error(`${file} cannot be written`);
}

/** A struct that is passed by value. */
interface Words {
  readonly words: Iterable<number | bigint>;
}

type Call = <T>(native: () => T) => T;

/** llama.cpp, as far as it takes to decode tokens. Its parameters are structs by value that only it has to understand. */
export class Llama {
  readonly #modelDefaults: () => Words;
  readonly #contextDefaults: () => Words;
  readonly #load: (file: string, parameters: object) => N;
  readonly #newContext: (model: N, parameters: object) => N;
  readonly #decode: (context: N, batch: object) => N;
  readonly #logits: (context: N, i: N) => N;
  readonly #freeModel: (model: N) => void;
  readonly #freeContext: (context: N) => void;
  readonly #batchOf: (tokens: Int32Array, count: N) => object;
  readonly #fromNative = libc().func<(target: Float32Array, source: N, bytes: N) => void>('memmove', 'void', [
    'float *',
    'uintptr_t',
    'size_t',
  ]);

  constructor(path: string) {
    const folder = dirname(path);
    const name = readdirSync(folder).find((file) => /^libllama(\.v[\d.]+)?\.so/.test(file))!;
    const library = openLibrary([join(folder, name)], { device: 'llama' });
    const { struct, array } = koffi();
    // Sizes of llama.cpp v0.5.0. The tests' package pins it.
    const modelParameters = struct({ words: array('uint64_t', 10) });
    const contextParameters = struct({ words: array('uint64_t', 20) });
    const batch = struct({ words: array('uint64_t', 7) });
    const declare = (fn: string, result: unknown, parameters: unknown[]) =>
      library.func<never>(fn, result as string, parameters as string[]);
    this.#modelDefaults = declare('llama_model_default_params', modelParameters, []);
    this.#contextDefaults = declare('llama_context_default_params', contextParameters, []);
    this.#load = declare('llama_model_load_from_file', 'uintptr_t', ['const char *', modelParameters]);
    this.#newContext = declare('llama_init_from_model', 'uintptr_t', ['uintptr_t', contextParameters]);
    this.#decode = declare('llama_decode', 'int', ['uintptr_t', batch]);
    this.#logits = declare('llama_get_logits_ith', 'uintptr_t', ['uintptr_t', 'int']);
    this.#freeModel = declare('llama_model_free', 'void', ['uintptr_t']);
    this.#freeContext = declare('llama_free', 'void', ['uintptr_t']);
    this.#batchOf = declare('llama_batch_get_one', batch, ['int32_t *', 'int']);
    // Its log goes to standard error: labs() takes what a log function is given, and does nothing with it.
    const quiet = libc().func<(library: N, name: string) => N>('dlsym', 'uintptr_t', ['uintptr_t', 'const char *'])(0, 'labs');
    library.func<(log: N, data: N) => void>('llama_log_set', 'void', ['uintptr_t', 'uintptr_t'])(quiet, 0);
  }

  /** Loads a model, its weights in a buffer, decodes one token, and gives the logits. @throws when llama.cpp fails at any step */
  decodeOne(file: string, token: number, options: { call?: Call; during?: () => void } = {}): number[] {
    const { call = (native) => native(), during } = options;
    const words = [...this.#modelDefaults().words].map(BigInt);
    // The lower half of it is the load mode: 0 reads the weights into a buffer, the default maps the file.
    const model = call(() => this.#load(file, { words: [...words.slice(0, 3), (words[3]! >> 32n) << 32n, ...words.slice(4)] }));
    if (model === 0) throw new Error('llama_model_load_from_file failed');
    let context = 0;
    try {
      const parameters = [...this.#contextDefaults().words].map(BigInt);
      // The numbers of threads: more than one wait for each other in a loop, which is slow on a machine that is busy.
      parameters[3] = (1n << 32n) | (parameters[3]! & 0xffff_ffffn);
      parameters[4] = (parameters[4]! & ~0xffff_ffffn) | 1n;
      context = call(() => this.#newContext(model, { words: parameters }));
      if (context === 0) throw new Error('llama_init_from_model failed');
      during?.();
      const tokens = Int32Array.of(token);
      const status = call(() => this.#decode(context, this.#batchOf(tokens, 1)));
      if (status !== 0) throw new Error(`llama_decode: ${status}`);
      const logits = new Float32Array(MODEL.vocabulary);
      this.#fromNative(logits, this.#logits(context, -1), logits.byteLength);
      return [...logits];
    } finally {
      if (context !== 0) call(() => this.#freeContext(context));
      call(() => this.#freeModel(model));
    }
  }
}
