import { ftruncateSync, statfsSync } from 'node:fs';
import { replacePages } from '../../../adapters/os/mapping.js';
import { NativeMemory } from '../../../adapters/os/native-memory.js';
import { mapShared, reserveFile } from '../../../adapters/os/shared-memory-object.js';
import { unmapThreadPages } from '../../../adapters/os/thread-memory.js';
import { orUndo } from '../../core/attempt.js';
import { MemoryError } from '../../core/errors.js';
import { checkOptionNames, type OptionNames } from '../../core/option-names.js';
import { formatBytes } from '../../core/units.js';
import { checkSegment, noRoomOr, outOfRoom } from './backend-errors.js';
import { type BackendType, markReady, writeHeader } from './backend-header.js';
import { type BackendParts, headerOf, MemoryBackend, mappedBytesFor, newFacts } from './memory-backend.js';
import { foreignReason, inspectSegment, removeSegment, type SegmentStore, segmentNumber, withSegment } from './segment-store.js';

/** How a segment is created. */
export interface SegmentOptions {
  /**
   * Takes the memory, or the room on the disk, at once. Without it a page takes memory when it is touched first, and
   * when there is none left then, the system ends the process (SIGBUS): wherever others fill the file system as well,
   * reserve.
   *
   * @defaultValue false
   */
  readonly reserve?: boolean;
  /**
   * Replaces a segment of that name whose creator is gone, or that was never completed.
   *
   * @defaultValue false: ERR_MEM_SEGMENT_EXISTS
   */
  readonly replaceStale?: boolean;
}

/** A segment that is to be created. */
export interface NewSegment extends SegmentOptions {
  /** The backend's number, which those who attach learn. */
  readonly id: number;
  /** The region's size; it becomes what fills the last page. */
  readonly bytes: number;
}

const NEW_SEGMENT: OptionNames<NewSegment> = { id: true, bytes: true, reserve: true, replaceStale: true };

/** How a segment is attached. */
export interface AttachOptions {
  /**
   * Takes also a segment of another user, or one that other users may open. Any process that may open it can change its bytes, and
   * end this process by truncating it.
   *
   * @defaultValue false
   */
  readonly foreign?: boolean;
}

const ATTACH_OPTIONS: OptionNames<AttachOptions> = { foreign: true };

/** What {@link SegmentBackend} adds to the parts of a backend. */
export interface SegmentParts extends BackendParts {
  readonly memory: NativeMemory;
  readonly store: SegmentStore;
  readonly number: number;
}

/** A backend that has a name, under which other processes attach to it. */
export abstract class SegmentBackend extends MemoryBackend {
  /** @internal */
  protected constructor(
    /** @internal */
    protected readonly segment: SegmentParts,
  ) {
    super(segment);
  }

  /** Unlinks the name, unless it leads to another segment by now. Those who have attached go on. */
  protected unlink(): void {
    removeSegment(this.segment.store, (fd) => segmentNumber(fd) === this.segment.number);
  }

  /** Detaches; where this object created the segment, its name goes first. When a step fails, it can be called again. */
  override destroy(): void {
    if (this.isCreator && !this.detached) this.unlink();
    this.detach();
  }
}

/** Creates a segment: of all who try, one succeeds. @throws as the backends' `create` */
export function createSegment(type: BackendType, store: SegmentStore, options: NewSegment): SegmentParts {
  checkOptionNames('a new segment', options, NEW_SEGMENT);
  const { id, bytes, reserve = false, replaceStale = false } = options;
  const mappedBytes = mappedBytesFor(bytes);
  const facts = newFacts(type, id, mappedBytes);
  const fd = createExclusively(store, replaceStale);
  try {
    checkRoom(store, mappedBytes);
    ftruncateSync(fd, mappedBytes);
    const memory = mapSegment(fd, mappedBytes);
    const complete = () => {
      const header = headerOf(memory);
      writeHeader(header, facts);
      if (reserve) reserveFile(fd, mappedBytes);
      markReady(header);
      return { memory, header, facts, store, number: segmentNumber(fd), url: store.url, isCreator: true };
    };
    return orUndo(complete, () => memory.retire());
  } catch (error) {
    removeSegment(store, (found) => segmentNumber(found) === segmentNumber(fd));
    throw noRoomOr(error, mappedBytes, store.folder ?? 'shared memory');
  } finally {
    store.close(fd);
  }
}

/**
 * Attaches to a segment.
 *
 * @throws ERR_MEM_SEGMENT_ABSENT, ERR_MEM_BAD_SEGMENT for anything but a complete segment of one of `types`, and for one
 *   that others than this user may open unless that is asked for
 */
export function attachSegment(store: SegmentStore, types: readonly BackendType[], options: AttachOptions = {}): SegmentParts {
  checkOptionNames('a segment', options, ATTACH_OPTIONS);
  const { foreign = false } = options;
  const { url } = store;
  const parts = withSegment(store, undefined, (fd) => {
    const distrust = foreign ? undefined : foreignReason(fd);
    checkSegment(distrust === undefined, url, `${distrust}`);
    const { state, reason, facts, bytes } = inspectSegment(fd, url);
    checkSegment(state === 'ready' && facts !== undefined, url, reason);
    checkSegment(types.includes(facts.type), url, `it is of type ${facts.type}, not ${types.join(' or ')}`);
    const memory = mapSegment(fd, bytes);
    return { memory, header: headerOf(memory), facts, store, number: segmentNumber(fd), url, isCreator: false };
  });
  if (parts === undefined) throw new MemoryError('ERR_MEM_SEGMENT_ABSENT', { url });
  return parts;
}

function createExclusively(store: SegmentStore, replaceStale: boolean): number {
  const isStale = (fd: number) => inspectSegment(fd, store.url).stale;
  let fd = store.create();
  // Others may replace it at the same time: who finds a name that is taken by a living one has lost.
  while (fd === undefined && replaceStale && (removeSegment(store, isStale) || !withSegment(store, false, () => true)))
    fd = store.create();
  if (fd !== undefined) return fd;
  const found = withSegment(store, undefined, (existing) => inspectSegment(existing, store.url));
  throw new MemoryError('ERR_MEM_SEGMENT_EXISTS', {
    url: store.url,
    creatorPid: found?.facts?.creator.id ?? 0,
    creatorAlive: found?.stale !== true,
  });
}

/** Refuses what can never fit: touching a page for which there is no memory ends the process. */
function checkRoom(store: SegmentStore, bytes: number): void {
  if (store.folder === undefined) return;
  const { bavail, bsize } = statfsSync(store.folder);
  if (bytes > bavail * bsize) throw outOfRoom(bytes, `${formatBytes(bavail * bsize)} free in ${store.folder}`);
}

function mapSegment(fd: number, bytes: number): NativeMemory {
  return new NativeMemory(mapShared(fd, bytes), bytes, { empty: replacePages, release: unmapThreadPages });
}
