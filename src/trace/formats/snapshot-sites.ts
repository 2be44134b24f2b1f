import { type Frame, siteOfFrames } from '../site-frames.js';
import type { StringTable } from '../string-table.js';
import { type ParsedObject, textIn } from './parsed-values.js';
import { isDictionary, type PickleValue } from './pickle-reader.js';

const MAX_FRAMES = 128;
const MAX_FRAME_CHARACTERS = 512;

/**
 * The sites of a snapshot's stacks. A snapshot has a list of frames for each event, and the same few frames in all of them: texts
 * are made once a frame and once a stack, not once an event.
 */
export class SnapshotSites {
  readonly #strings: StringTable;
  readonly #ofFrame = new Map<PickleValue, number>();
  readonly #frames = new Map<string, number>();
  readonly #sites = new Map<string, number>();

  constructor(strings: StringTable) {
    this.#strings = strings;
  }

  /** The id of a stack's text, the innermost frame first. Cost: O(frames) */
  idOf(stack: readonly PickleValue[]): number {
    let key = '';
    const frames = Math.min(stack.length, MAX_FRAMES);
    for (let i = 0; i < frames; i++) key += `${this.#idOfFrame(stack[i]!)} `;
    const known = this.#sites.get(key);
    if (known !== undefined) return known;
    const site = this.#strings.idOf(siteOfFrames(stack.slice(0, MAX_FRAMES).map(frameOf)));
    this.#sites.set(key, site);
    return site;
  }

  /** A number for a frame, the same for equal ones. */
  #idOfFrame(value: PickleValue): number {
    const known = this.#ofFrame.get(value);
    if (known !== undefined) return known;
    const { name, filename, line } = frameOf(value);
    const text = `${line} ${name}\n${filename}`;
    const id = this.#frames.get(text) ?? this.#frames.size;
    this.#frames.set(text, id);
    this.#ofFrame.set(value, id);
    return id;
  }
}

function frameOf(frame: PickleValue): Frame {
  const entry = isDictionary(frame) ? frame : {};
  return {
    name: lineIn(entry, 'name'),
    filename: lineIn(entry, 'filename'),
    line: typeof entry['line'] === 'number' ? entry['line'] : 0,
  };
}

/** A site has a line for each frame. */
function lineIn(entry: ParsedObject, key: string): string {
  return textIn(entry, key)
    .slice(0, MAX_FRAME_CHARACTERS)
    .replace(/[\r\n]/g, ' ');
}
