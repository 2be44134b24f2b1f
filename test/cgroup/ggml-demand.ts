import type { GgmlContext, GgmlHost } from '../../adapters/hosts/ggml/index.js';
import { MemoryError } from '../../src/core/errors.js';
import { KiB, MiB } from '../../src/core/units.js';
import type { Ggml } from '../hosts/ggml.js';
import { type Demand, expectSame, takeRandom } from './demand.js';

type N = number;

/** Whole numbers, whose sums ggml has without rounding. */
const PATTERN = Float32Array.from({ length: MiB / 4 }, (_, i) => (i % 251) - 125);
const SUM = PATTERN.reduce((sum, value) => sum + value, 0);
const ROW_BYTES = PATTERN.byteLength;

/** A matrix in a buffer of ggml's, and the objects that describe it. */
interface Matrix {
  readonly context: GgmlContext;
  readonly buffer: N;
  readonly tensor: N;
  readonly rows: number;
}

/** Matrices of ggml's; it adds up each by a graph of its own, whose results and rows lie in the host's memory, too. */
export class GgmlDemand implements Demand {
  readonly name = 'ggml';
  readonly growsWhole = false;
  readonly weight = 1.1;
  readonly #ggml: Ggml;
  readonly #host: GgmlHost;
  readonly #random: () => number;
  readonly #matrices: Matrix[] = [];

  constructor(ggml: Ggml, host: GgmlHost, random: () => number) {
    this.#ggml = ggml;
    this.#host = host;
    this.#random = random;
  }

  get liveBytes(): number {
    return this.#matrices.reduce((sum, { rows }) => sum + rows * ROW_BYTES, 0);
  }

  grow(bytes: number): void {
    const rows = Math.max(1, Math.round(bytes / ROW_BYTES));
    const context = this.#host.createContext(4 * KiB, { noAlloc: true });
    let buffer = 0;
    try {
      const tensor = this.#ggml.matrix(context.address, PATTERN.length, rows);
      buffer = this.#call('ggml_backend_alloc_ctx_tensors_from_buft', context.address, this.#host.bufferType);
      for (let row = 0; row < rows; row++) this.#ggml.write(tensor, PATTERN, row * ROW_BYTES);
      this.#matrices.push({ context, buffer, tensor, rows });
    } finally {
      if (buffer === 0) context.dispose();
    }
  }

  check(): void {
    for (const { tensor, rows } of this.#matrices) {
      for (const sum of this.#sums(tensor, rows)) expectSame('a sum of ggml', sum, SUM);
    }
  }

  shrink(bytes: number): void {
    let live = this.liveBytes;
    while (live > bytes) {
      const { context, buffer, rows } = takeRandom(this.#matrices, this.#random);
      live -= rows * ROW_BYTES;
      this.#host.call(() => void this.#ggml.f('ggml_backend_buffer_free', buffer));
      context.dispose();
    }
  }

  close(): void {
    this.shrink(0);
  }

  /** Has ggml add up each row. @throws the host's refusal where there is no memory for the results */
  #sums(tensor: N, rows: number): Float32Array {
    const [ggml, host] = [this.#ggml, this.#host];
    const objects = host.createContext(16 * KiB, { noAlloc: true });
    let allocator = 0;
    try {
      const result = ggml.f('ggml_sum_rows', objects.address, tensor);
      const graph = ggml.f('ggml_new_graph_custom', objects.address, 8, 0);
      ggml.expand(graph, result);
      allocator = this.#call('ggml_gallocr_new', host.bufferType);
      if (!host.call(() => ggml.allocateGraph(allocator, graph))) throw host.lastError ?? new Error('no memory for a graph');
      const status = host.call(() => ggml.compute(graph));
      if (status !== 0) throw new Error(`ggml_backend_graph_compute: ${status}`);
      return ggml.read(result, rows);
    } finally {
      if (allocator !== 0) host.call(() => void ggml.f('ggml_gallocr_free', allocator));
      objects.dispose();
    }
  }

  #call(name: string, ...values: N[]): N {
    const result = this.#host.call(() => this.#ggml.f(name, ...values));
    if (result !== 0) return result;
    const { lastError } = this.#host;
    throw MemoryError.is(lastError) ? lastError : new Error(`${name} failed`);
  }
}
