// Give a part of a cache back: a policy that keeps freed blocks, and lets go of as many as
// somebody else needs.
import { MemoryRuntime, MiB } from 'stowage';
import { CpuDevice } from 'stowage/adapters/cpu';
import { ALL_CACHED, BlockMemoryManager, type ReleaseBounds } from 'stowage/managers';

export class KeepingMemoryManager extends BlockMemoryManager {
  readonly #kept: number[] = [];

  protected place(bytes: number, alignment: number, _stream: number, device: number) {
    const at = this.#kept.findIndex(
      (block) => alignment === 0 && this.#bytesOn(device, block) >= bytes,
    );
    const [kept] = at === -1 ? [] : this.#kept.splice(at, 1);
    return kept ?? this.nativeAllocate(bytes, alignment, device, bytes);
  }

  protected reclaim(block: number) {
    this.#kept.push(block);
  }

  protected override get trimsInParts() {
    return true;
  }

  protected trim(device: number, bounds: ReleaseBounds = ALL_CACHED) {
    const bytesOf = (block: number) =>
      this.#kept.includes(block) ? this.#bytesOn(device, block) : 0;
    bounds.giveBack([...this.#kept], { bytesOf, release: (block) => this.#release(block) });
  }

  #bytesOn(device: number, block: number) {
    return this.blocks.deviceOf(block) === device ? this.blocks.bytesOf(block) : 0;
  }

  #release(block: number) {
    this.#kept.splice(this.#kept.indexOf(block), 1);
    try {
      this.nativeRelease(block);
    } catch (error) {
      this.#kept.push(block);
      throw error;
    }
  }
}

const runtime = new MemoryRuntime(new CpuDevice());
runtime.use((deviceCount, table) => new KeepingMemoryManager(deviceCount, table));
for (const block of [1, 2, 4].map((size) => runtime.allocate(size * MiB))) block.dispose();
const [wanted, most] = [2 * MiB, 3 * MiB];
console.log(
  `gave ${runtime.slot.releaseCached(0, wanted, most) / MiB} MiB, keeps ${runtime.slot.reservedBytes / MiB}`,
);
runtime.close();
