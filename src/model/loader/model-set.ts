import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { orUndo } from '../../core/attempt.js';
import {
  badFile,
  checkFile,
  type MetadataValue,
  type ModelFormat,
  type ModelPart,
  type ModelTensor,
  partPaths,
} from '../files/model-description.js';
import { isSafetensorsIndex, readSafetensorsIndex } from '../files/safetensors.js';
import { analyzeLayers, analyzeMemoryUsage, type LayerUsage, type MemoryUsage } from '../tensors/memory-usage.js';
import { ModelLoader, type ModelLoaderOptions } from './model-loader.js';

/**
 * A model with all files that it was split over: `using set = await ModelSet.open('model-00001-of-00003.gguf')`.
 * A model of one file is a set of one.
 */
export class ModelSet {
  private constructor(
    /** A loader for each file, in the order of the parts. */
    readonly loaders: readonly ModelLoader[],
    /** The names of the files that are not there. */
    readonly missing: readonly string[],
    /** Which part the opened file is; undefined when all parts are open. */
    readonly part: ModelPart | undefined,
  ) {}

  /**
   * Opens a model by any of its parts, or by `model.safetensors.index.json`. When a part is not there, the file that was
   * named is opened alone, and {@link part} and {@link missing} say so.
   *
   * @throws as `ModelLoader.open`; ERR_MEM_BAD_INPUT, as a rejection, for files that do not belong together, and for an index
   *   that names a file which is not there
   */
  static async open(path: string, options: ModelLoaderOptions = {}): Promise<ModelSet> {
    if (isSafetensorsIndex(path)) return await ModelSet.#openIndex(path, options);
    const named = await ModelLoader.open(path, options);
    const { part } = named.model;
    if (part === undefined) return new ModelSet([named], [], undefined);
    const paths = partPaths(path, part);
    const missing = paths?.filter((one) => !existsSync(one)).map((one) => basename(one));
    if (paths === undefined || missing === undefined || missing.length > 0) return new ModelSet([named], missing ?? [], part);
    // It shares its mapping with the loader that comes.
    named.dispose();
    const set = new ModelSet(await openAll(paths, options), [], undefined);
    return set.#checked(() => {
      set.loaders.forEach(({ model }, i) => {
        const { number = 1, count = 1 } = model.part ?? {};
        const isExpected = number === i + 1 && count === part.count;
        checkFile(isExpected, model.path, `it is part ${number} of ${count}, where part ${i + 1} of ${part.count} should be`);
      });
      const { length } = set.tensors;
      const count = set.metadata.get('split.tensors.count') ?? length;
      checkFile(Number(count) === length, path, `its parts have ${length} tensors, "split.tensors.count" says ${String(count)}`);
    });
  }

  static async #openIndex(path: string, options: ModelLoaderOptions): Promise<ModelSet> {
    const files = readSafetensorsIndex(path);
    const set = new ModelSet(await openAll([...files.keys()], options), [], undefined);
    return set.#checked(() => {
      for (const { model } of set.loaders) {
        const there = new Set(model.tensors.map(({ name }) => name));
        const lacking = files.get(model.path)?.find((name) => !there.has(name));
        checkFile(lacking === undefined, path, `tensor ${JSON.stringify(lacking)} is not in ${basename(model.path)}`);
      }
    });
  }

  get format(): ModelFormat {
    return this.loaders[0]!.model.format;
  }

  /** The bytes of all files that are here. */
  get fileBytes(): number {
    return this.loaders.reduce((sum, { model }) => sum + model.fileBytes, 0);
  }

  /** What the first part says: the others have nothing of the model in it. */
  get metadata(): ReadonlyMap<string, MetadataValue> {
    return this.loaders[0]!.model.metadata;
  }

  /** The tensors of all files that are here; an offset is that in the tensor's own file. */
  get tensors(): readonly ModelTensor[] {
    return this.loaders.flatMap(({ model }) => model.tensors);
  }

  /** What the tensors take, by type. */
  usage(): MemoryUsage {
    return analyzeMemoryUsage(this.tensors);
  }

  /** What they take, by layer and type. */
  usageByLayer(): LayerUsage[] {
    return analyzeLayers(this.tensors);
  }

  /** Ends its loaders. Does nothing the second time. */
  dispose(): void {
    for (const loader of this.loaders) loader.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Gives itself when a check passes and no two files have a tensor of one name; else it is disposed. */
  #checked(check: () => void): this {
    const work = () => {
      check();
      const paths = new Map<string, string>();
      for (const { model } of this.loaders) {
        for (const { name } of model.tensors) {
          const other = paths.get(name);
          if (other !== undefined) throw badFile(model.path, `tensor ${JSON.stringify(name)} is in ${basename(other)}, too`);
          paths.set(name, model.path);
        }
      }
    };
    orUndo(work, () => this.dispose());
    return this;
  }
}

/** Opens all files, or none when one of them cannot be used. */
async function openAll(paths: readonly string[], options: ModelLoaderOptions): Promise<ModelLoader[]> {
  const loaders: ModelLoader[] = [];
  try {
    for (const path of paths) loaders.push(await ModelLoader.open(path, options));
    return loaders;
  } catch (error) {
    for (const loader of loaders) loader.dispose();
    throw error;
  }
}
