import { statSync } from 'node:fs';
import { badFile, type ModelDescription } from '../files/model-description.js';
import { readModel } from '../files/read-model.js';
import { MappedFile, type MappedFileOptions } from '../mapped-file.js';
import { MappedFileDevice } from './mapped-tensor.js';

/** Models that are mapped, by the identity of their files. */
const openModels = new Map<string, Promise<OpenModel>>();

/** A model file that is mapped once, however many loaders use it, and which of its tensors they still need. */
export class OpenModel {
  readonly device: MappedFileDevice;
  /** How many loaders use it. */
  loaders = 0;
  /** How many loaders need each tensor, in the order of the file. */
  #uses: Int32Array;

  private constructor(
    readonly file: MappedFile,
    readonly model: ModelDescription,
    /** What it is found by among the models that are mapped. */
    readonly key: string,
  ) {
    this.device = new MappedFileDevice(file);
    this.#uses = new Int32Array(model.tensors.length);
  }

  /**
   * Maps a model file, or finds the mapping that another loader has of the same file; one more loader then uses it. A
   * mapping of which parts were given back is left to those who use it, and the file is mapped anew.
   *
   * @throws as `MappedFile.open` and `readModel`
   */
  static async use(path: string, options: MappedFileOptions): Promise<OpenModel> {
    for (;;) {
      const key = identityOf(path);
      let opening = openModels.get(key);
      if (opening === undefined) {
        opening = OpenModel.#open(path, key, options);
        openModels.set(key, opening);
        opening.catch(() => openModels.delete(key));
      }
      const open = await opening;
      // It may have ended, or given parts back, while this one waited.
      if (open.#isWhole()) {
        open.loaders++;
        open.#uses = open.#uses.map((uses) => uses + 1);
        return open;
      }
      if (openModels.get(key) === opening) openModels.delete(key);
    }
  }

  /**
   * Records that one loader no longer needs some tensors. Unmaps those that no loader needs, and the pages between them.
   *
   * @returns the bytes of the file that are no longer mapped by this call
   */
  release(tensors: Iterable<number>): number {
    let bytes = 0;
    for (const at of tensors) if (--this.#uses[at]! === 0) bytes += this.#unmap(at);
    return bytes;
  }

  /** Records that one loader has ended; the last one unmaps the file. */
  leave(): void {
    if (this.loaders === 1) {
      this.file.dispose();
      openModels.delete(this.key);
    }
    this.loaders--;
  }

  static async #open(path: string, key: string, options: MappedFileOptions): Promise<OpenModel> {
    const file = MappedFile.open(path, options);
    try {
      return new OpenModel(file, await readModel(file), key);
    } catch (error) {
      file.dispose();
      throw error;
    }
  }

  #isWhole(): boolean {
    return !this.file.disposed && this.file.mappedRanges.length === 1 && this.file.mappedRanges[0]!.last === this.file.bytes;
  }

  /** Unmaps from the end of the last tensor before that somebody needs to the start of the next one. */
  #unmap(at: number): number {
    const { tensors, dataOffset } = this.model;
    const isNeeded = (uses: number) => uses > 0;
    const before = tensors[this.#uses.subarray(0, at).findLastIndex(isNeeded)];
    const after = this.#uses.subarray(at + 1).findIndex(isNeeded);
    const last = after === -1 ? this.file.bytes : tensors[at + 1 + after]!.offset;
    return this.file.unmapFragment(before === undefined ? dataOffset : before.offset + before.bytes, last);
  }
}

/** Names a file as it is now: one that was replaced, or written to since, is another one. */
function identityOf(path: string): string {
  try {
    const { dev, ino, size, mtimeMs } = statSync(path);
    return `${dev}:${ino}:${size}:${mtimeMs}`;
  } catch (error) {
    throw badFile(path, `it cannot be opened: ${(error as Error).message}`, error);
  }
}
