import { type PyTorchSettings, parseAllocConf } from '../../managers/index.js';
import { GiB, MiB } from '../../src/core/units.js';
import { OPCODE } from '../../src/trace/formats/pickle-format.js';
import { PickleWriter } from '../../src/trace/formats/pickle-writer.js';
import { DriverAddresses } from '../../src/whatif/driver-addresses.js';
import { type ModelBlock, type ModelDevice, PyTorchModel } from '../managers/pytorch-model.js';

type Plain = string | number | boolean | readonly Plain[] | { readonly [key: string]: Plain };

/** A card as the driver gives its memory out. */
class Card implements ModelDevice {
  readonly capacityBytes = 80 * GiB;
  readonly #addresses = new DriverAddresses();
  #range = 2 ** 47;

  alloc(bytes: number): number {
    return this.#addresses.take(bytes);
  }

  free(address: number, bytes: number): void {
    this.#addresses.give(address, bytes);
  }

  reserve(): number {
    // A multiple of pages of 2, 12 and 20 MiB, with room for the card.
    this.#range -= this.#range % (240 * MiB);
    this.#range += 240 * 512 * MiB;
    return this.#range;
  }
}

/** One request of a program. Indexes are taken modulo the blocks that are held. */
export type Request =
  | { readonly alloc: number; readonly stream: number; readonly pool: number }
  | { readonly free: number }
  | { readonly use: number; readonly stream: number }
  | { readonly finish: number }
  | { readonly emptyCache: true };

/**
 * A program under the model of PyTorch's allocator, and the snapshot that PyTorch would have dumped of it: the history as a
 * ring, the state at the end.
 */
export class ModelRecording {
  readonly #model: PyTorchModel;
  readonly #entries: Plain[] = [];
  readonly #held: ModelBlock[] = [];
  readonly #requested = new Map<ModelBlock, number>();
  readonly #waiting = new Set<ModelBlock>();
  readonly #busy = new Set<number>();
  readonly #conf: string;
  readonly #settings: PyTorchSettings;
  readonly #reserved: number[] = [];
  #time = 0;
  /** The request that was refused, and the end of the program. */
  isRefused = false;

  constructor(conf: string, limitBytes: number | undefined) {
    this.#conf = conf;
    this.#settings = parseAllocConf(conf).settings;
    this.#model = new PyTorchModel(this.#settings, limitBytes, new Card());
    this.#model.onCompleted = (block) => {
      this.#flush();
      this.#waiting.delete(block);
      this.#note('free_completed', block.address, this.#requested.get(block)!, block.stream);
      this.#requested.delete(block);
    };
  }

  /** How many entries the history has. */
  get length(): number {
    return this.#entries.length;
  }

  perform(request: Request): void {
    if (this.isRefused) return;
    if ('alloc' in request) this.#alloc(request.alloc, request.stream, request.pool);
    else if ('finish' in request) this.#busy.delete(request.finish);
    else if ('emptyCache' in request) this.#model.emptyCache();
    else if (this.#held.length > 0) {
      if ('free' in request) this.#free(this.#held.splice(request.free % this.#held.length, 1)[0]!);
      else this.#use(this.#held[request.use % this.#held.length]!, request.stream);
    }
    this.#flush();
  }

  /** The most that was reserved from an entry of the history on. */
  peakFrom(entry: number): number {
    return Math.max(0, ...this.#reserved.slice(Math.max(0, entry - 1)));
  }

  /** How often the history from an entry on has an action. */
  count(actions: readonly string[], from: number): number {
    return this.#entries.slice(from).filter((entry) => actions.includes((entry as { action: string }).action)).length;
  }

  /** The snapshot, whose history begins with an entry. */
  pickle(from: number): Buffer {
    const chunks: Buffer[] = [];
    const writer = new PickleWriter({ write: (bytes: Uint8Array) => void chunks.push(Buffer.from(bytes)) });
    write(writer, {
      segments: this.#segments(),
      device_traces: [this.#entries.slice(from)],
      allocator_settings: {
        PYTORCH_CUDA_ALLOC_CONF: this.#conf,
        garbage_collection_threshold: this.#settings.garbageCollectionThreshold > 0 ? 1 : 0,
        max_split_size: Number.isFinite(this.#settings.maxSplitSizeBytes) ? this.#settings.maxSplitSizeBytes : -1,
      },
      external_annotations: [],
    });
    writer.stop();
    return Buffer.concat(chunks);
  }

  #alloc(bytes: number, stream: number, pool: number): void {
    this.#model.settle((stream) => !this.#busy.has(stream));
    const block = this.#model.alloc(bytes, stream, pool);
    this.#flush();
    if (block === undefined) {
      this.isRefused = true;
      this.#note('oom', 0, bytes, stream);
      return;
    }
    this.#held.push(block);
    this.#requested.set(block, bytes);
    this.#note('alloc', block.address, bytes, stream);
  }

  #free(block: ModelBlock): void {
    this.#note('free_requested', block.address, this.#requested.get(block)!, block.stream);
    this.#waiting.add(block);
    this.#model.free(block);
  }

  #use(block: ModelBlock, stream: number): void {
    if (stream === block.stream) return;
    block.users.add(stream);
    this.#busy.add(stream);
  }

  #flush(): void {
    for (const [action, bytes, stream, address] of this.#model.calls.splice(0)) this.#note(action, address, bytes, stream);
  }

  #note(action: string, addr: number, size: number, stream: number): void {
    this.#entries.push({ action, addr, size, stream, time_us: ++this.#time });
    this.#reserved.push(this.#model.reservedBytes);
  }

  #segments(): Plain[] {
    const known = [...this.#held, ...this.#waiting, ...this.#model.pools.flatMap(({ free }) => free)];
    const firsts = new Set(known.map(firstOf));
    return [...firsts].flatMap((first) => runsOf(first).map((run) => this.#segment(run)));
  }

  #segment(blocks: readonly ModelBlock[]): Plain {
    const { pool, stream, address } = blocks[0]!;
    const sum = (of: readonly ModelBlock[]) => of.reduce((bytes, block) => bytes + block.bytes, 0);
    const live = blocks.filter((block) => block.isAllocated);
    return {
      device: 0,
      address,
      total_size: sum(blocks),
      allocated_size: sum(live),
      active_size: sum(live),
      stream,
      segment_type: pool.isSmall ? 'small' : 'large',
      segment_pool_id: [pool.id, 0],
      is_expandable: this.#settings.expandableSegments,
      blocks: blocks.map((block) => ({
        address: block.address,
        size: block.bytes,
        requested_size: this.#requested.get(block) ?? 0,
        state: block.isAllocated ? 'active_allocated' : this.#waiting.has(block) ? 'active_pending_free' : 'inactive',
      })),
    };
  }
}

function firstOf(block: ModelBlock): ModelBlock {
  let first = block;
  while (first.previous !== undefined) first = first.previous;
  return first;
}

/** What of a segment has memory, without gaps. */
function runsOf(first: ModelBlock): ModelBlock[][] {
  const runs: ModelBlock[][] = [];
  let run: ModelBlock[] = [];
  for (let block: ModelBlock | undefined = first; block !== undefined; block = block.next) {
    if (block.isMapped) run.push(block);
    if (run.length > 0 && (!block.isMapped || block.next === undefined)) {
      runs.push(run);
      run = [];
    }
  }
  return runs;
}

function write(writer: PickleWriter, value: Plain): void {
  if (typeof value === 'string') writer.key(value);
  else if (typeof value === 'number') writer.integer(value);
  else if (typeof value === 'boolean') writer.put(value ? OPCODE.newTrue : OPCODE.newFalse);
  else if (Array.isArray(value)) {
    writer.put(OPCODE.emptyList);
    writer.appendAll(value as readonly Plain[], (item) => write(writer, item));
  } else writer.dictionary(Object.fromEntries(Object.entries(value).map(([key, item]) => [key, () => write(writer, item)])));
}
