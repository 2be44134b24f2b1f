import type { OnnxRuntimeHost } from '../../adapters/hosts/onnxruntime/index.js';
import { wideNetwork } from '../hosts/onnx-model.js';
import type { Ort, OrtSession } from '../hosts/onnxruntime.js';
import { type Demand, WrongResult } from './demand.js';

const SHAPE = { inputs: 1, hidden: 32, layers: 8, outputs: 2 };
/** What a run holds for each row at its end: the results of all layers, their sum and what that is made in. */
const ROW_BYTES = (SHAPE.layers + 2) * SHAPE.hidden * 4;
/** Inputs come again after so many rows, so that few have to be computed one by one. */
const PERIOD = 97;
const TOLERANCE = 1e-4;

/** Runs of ONNX Runtime, which holds nothing in between but the weights. It cannot be refused. */
export class OnnxDemand implements Demand {
  readonly name = 'onnxruntime';
  readonly growsWhole = true;
  readonly weight = 1.1;
  readonly liveBytes = 0;
  readonly #ort: Ort;
  readonly #session: OrtSession;
  readonly #expected: readonly (readonly number[])[];

  static async open(ort: Ort, host: OnnxRuntimeHost): Promise<OnnxDemand> {
    const network = wideNetwork(SHAPE);
    // A pattern would hold the memory of a whole run as one block.
    const options = { enableMemPattern: false, intraOpNumThreads: 1 };
    const session = await ort.InferenceSession.create(network.model, host.sessionOptions(options));
    const expected = Array.from({ length: PERIOD }, (_, row) => network.compute([Math.fround(inputOf(row))]));
    return new OnnxDemand(ort, session, expected);
  }

  private constructor(ort: Ort, session: OrtSession, expected: readonly (readonly number[])[]) {
    this.#ort = ort;
    this.#session = session;
    this.#expected = expected;
  }

  /** Runs once, which takes so many bytes at its end, and compares every number that comes out. */
  async grow(bytes: number): Promise<void> {
    const rows = Math.max(1, Math.round(bytes / ROW_BYTES));
    const x = new this.#ort.Tensor(
      'float32',
      Float32Array.from({ length: rows }, (_, row) => inputOf(row % PERIOD)),
      [rows, 1],
    );
    const { y } = await this.#session.run({ x });
    const { data } = y!;
    for (let row = 0, at = 0; row < rows; row++) {
      for (const expected of this.#expected[row % PERIOD]!) {
        const found = data[at++]!;
        if (!(Math.abs(found - expected) <= TOLERANCE)) throw new WrongResult(`row ${row} of ONNX Runtime`, found, expected);
      }
    }
  }

  check(): void {}

  shrink(): void {}

  async close(): Promise<void> {
    await this.#session.release();
  }
}

function inputOf(row: number): number {
  return (row - PERIOD / 2) / 7;
}
