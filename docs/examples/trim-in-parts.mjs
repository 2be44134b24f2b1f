// Give a part of a cache back: a policy that keeps freed blocks, and lets go of as many as somebody else needs.
import { MemoryRuntime, MiB } from 'stowage';
import { CpuDevice } from 'stowage/adapters/cpu';
import { ALL_CACHED, BlockMemoryManager } from 'stowage/managers';

export class KeepingMemoryManager extends BlockMemoryManager {
  #kept = [];

  place(bytes, alignment, _stream, device) {
    const at = this.#kept.findIndex((block) => alignment === 0 && this.#bytesOn(device, block) >= bytes);
    return at === -1 ? this.nativeAllocate(bytes, alignment, device, bytes) : this.#kept.splice(at, 1)[0];
  }

  reclaim(block) {
    this.#kept.push(block);
  }

  get trimsInParts() {
    return true;
  }

  trim(device, bounds = ALL_CACHED) {
    const bytesOf = (block) => (this.#kept.includes(block) ? this.#bytesOn(device, block) : 0);
    bounds.giveBack([...this.#kept], { bytesOf, release: (block) => this.#release(block) });
  }

  #bytesOn(device, block) {
    return this.blocks.deviceOf(block) === device ? this.blocks.bytesOf(block) : 0;
  }

  #release(block) {
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
console.log(`gave ${runtime.slot.releaseCached(0, wanted, most) / MiB} MiB, keeps ${runtime.slot.reservedBytes / MiB}`);
runtime.close();
