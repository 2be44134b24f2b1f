import { closeSync, createReadStream, openSync, readFileSync, readSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { CpuDevice } from '../../adapters/devices/cpu.js';
import { MiB } from '../../src/core/units.js';
import { ModelLoader } from '../../src/model/loader/model-loader.js';
import { MemoryRuntime } from '../../src/runtime/memory-runtime.js';

/** The file that is loaded: tensors of one size behind a header. */
export interface ModelShape {
  readonly path: string;
  readonly tensors: number;
  readonly tensorBytes: number;
  /** Where the first tensor begins. */
  readonly dataOffset: number;
}

/** A model that was loaded in some way. */
export interface LoadedModel {
  /** The bytes of a tensor. */
  tensor(at: number): Uint8Array;
  end(): void;
}

/** A way to load a model. */
export interface ModelContestant {
  readonly name: string;
  /** Does what is needed before the first tensor can be used. */
  open(shape: ModelShape): Promise<LoadedModel>;
}

export const MODEL_CONTESTANTS: readonly ModelContestant[] = [
  {
    name: 'ModelLoader, a view asked for at each access',
    async open({ path }) {
      const loader = await ModelLoader.open(path);
      const views = loader.names.map((name) => loader.tensor(name));
      return { tensor: (at) => views[at]!.view(Uint8Array), end: () => loader.dispose() };
    },
  },
  {
    name: 'ModelLoader, arrays over the file that are kept',
    async open({ path }) {
      const loader = await ModelLoader.open(path);
      const arrays = loader.names.map((name) => loader.tensor(name).view(Uint8Array));
      return { tensor: (at) => arrays[at]!, end: () => loader.dispose() };
    },
  },
  {
    name: 'ModelLoader, copies on the CPU',
    async open({ path }) {
      using loader = await ModelLoader.open(path);
      const runtime = new MemoryRuntime(new CpuDevice());
      const loaded = await loader.load({ runtime });
      const tensors = [...loaded].map(([, tensor]) => tensor);
      return {
        tensor: (at) => tensors[at]!.view(Uint8Array),
        end: () => {
          loaded.dispose();
          runtime.close();
        },
      };
    },
  },
  {
    name: 'fs.readFile',
    async open(shape) {
      return slices(await readFile(shape.path), shape);
    },
  },
  {
    name: 'fs.readFileSync',
    async open(shape) {
      return slices(readFileSync(shape.path), shape);
    },
  },
  {
    name: 'read stream, parts of 1 MiB',
    async open(shape) {
      const whole = Buffer.allocUnsafe(shape.dataOffset + shape.tensors * shape.tensorBytes);
      let at = 0;
      for await (const part of createReadStream(shape.path, { highWaterMark: MiB })) {
        whole.set(part as Buffer, at);
        at += (part as Buffer).length;
      }
      return slices(whole, shape);
    },
  },
  {
    name: 'fs.readSync of each tensor when it is used',
    async open({ path, tensorBytes, dataOffset }) {
      const fd = openSync(path, 'r');
      const buffer = Buffer.allocUnsafe(tensorBytes);
      return {
        tensor: (at) => {
          readSync(fd, buffer, 0, tensorBytes, dataOffset + at * tensorBytes);
          return buffer;
        },
        end: () => closeSync(fd),
      };
    },
  },
];

function slices(whole: Buffer, { tensorBytes, dataOffset }: ModelShape): LoadedModel {
  return {
    tensor: (at) => whole.subarray(dataOffset + at * tensorBytes, dataOffset + (at + 1) * tensorBytes),
    end: () => undefined,
  };
}
