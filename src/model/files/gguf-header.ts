import { badFile, checkFile } from './model-description.js';

/** Bytes of each type of value; 0 for strings and arrays, which say themselves. @see Source: the GGUF specification */
const VALUE_BYTES = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8] as const;
const STRING = 8;
const ARRAY = 9;
const MAX_ARRAY_DEPTH = 4;
/** Of all arrays together: a parser makes a value of each, of one byte or none. Vocabularies have some 10^6. */
const MAX_ELEMENTS = 2 ** 23;
const MAX_METADATA = 2 ** 16;
const MAX_DIMENSIONS = 4;
// ggml's own bound for names; keys are bounded to what 16 bits can count by the specification.
const MAX_KEY_BYTES = 65_535;
/** The parser cuts longer ones short when they lie where it has not read yet. */
const MAX_STRING_BYTES = 400_000;
/** What the smallest entry takes: an empty name with an 8-bit value; an empty name without dimensions. */
const LEAST_METADATA_BYTES = 13;
const LEAST_TENSOR_BYTES = 24;
const KNOWN_VERSIONS = [2, 3];
const GGUF = 0x46554747;

/**
 * Walks through the header of a GGUF file. Checks that every count, length and type in it is valid and that all of it lies in
 * the file, before a parser reads it. Values are skipped.
 *
 * Cost: O(bytes of the header).
 *
 * @param bytes - the beginning of the file, with the whole header
 * @param path - for messages
 * @returns the bytes from the beginning of the file to the end of the last tensor's entry; the data begins after it, aligned
 * @throws ERR_MEM_BAD_INPUT that names the field
 */
export function checkGgufHeader(bytes: Uint8Array, path: string): number {
  const cursor = new Cursor(bytes, path);
  cursor.check(cursor.uint32('the magic number') === GGUF, 'it is no GGUF file: it does not begin with "GGUF"');
  const version = cursor.uint32('version');
  cursor.check(version % 65_536 !== 0 || version === 0, 'it is big-endian, this machine is not');
  cursor.check(KNOWN_VERSIONS.includes(version), `version ${version} is none of ${KNOWN_VERSIONS.join(', ')}`);
  const tensorCount = cursor.count('tensor_count', LEAST_TENSOR_BYTES);
  const metadataCount = cursor.count('metadata_kv_count', LEAST_METADATA_BYTES);
  cursor.check(metadataCount <= MAX_METADATA, `metadata_kv_count is ${metadataCount}, at most ${MAX_METADATA} are read`);
  const keys = new Set<string>();
  for (let i = 0; i < metadataCount; i++) {
    const key = cursor.string(`the key of metadata entry ${i}`, MAX_KEY_BYTES);
    const what = `metadata ${JSON.stringify(key)}`;
    cursor.check(!keys.has(key), `${what} is there twice`);
    keys.add(key);
    cursor.skipValue(what, cursor.uint32(`the type of ${what}`), 0);
  }
  for (let i = 0; i < tensorCount; i++) {
    const what = `tensor ${JSON.stringify(cursor.string(`the name of tensor ${i}`, MAX_KEY_BYTES))}`;
    const dimensions = cursor.uint32(`the number of dimensions of ${what}`);
    cursor.check(dimensions <= MAX_DIMENSIONS, `${what} has ${dimensions} dimensions, at most ${MAX_DIMENSIONS} are possible`);
    // The lengths of its dimensions, its type and its offset.
    cursor.skip(`the entry of ${what}`, dimensions * 8 + 4 + 8);
  }
  return cursor.place;
}

/** Reads forward, and checks that what it reads is there. */
class Cursor {
  place = 0;
  readonly #view: DataView;
  #elementsBefore = 0;

  constructor(
    bytes: Uint8Array,
    readonly path: string,
  ) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  check(ok: boolean, reason: string): void {
    checkFile(ok, this.path, reason);
  }

  /** The error of what is read for every element of an array, where {@link check} would make its text each time. */
  #bad(reason: string): Error {
    return badFile(this.path, reason);
  }

  skip(what: string, bytes: number): number {
    const at = this.place;
    if (bytes > this.#view.byteLength - at) throw this.#bad(`${what} ends beyond the file, or beyond what a header may have`);
    this.place += bytes;
    return at;
  }

  uint32(what: string): number {
    return this.#view.getUint32(this.skip(what, 4), true);
  }

  /** A 64-bit number of things, each of which takes so many bytes of what is left at least. */
  count(what: string, leastBytes: number): number {
    const value = this.#view.getBigUint64(this.skip(what, 8), true);
    const most = Math.floor((this.#view.byteLength - this.place) / leastBytes);
    if (value > most) throw this.#bad(`${what} is ${value}, but the rest of the header has room for ${most} at most`);
    return Number(value);
  }

  string(what: string, maxBytes: number): string {
    const at = this.skipString(what, maxBytes);
    return Buffer.from(this.#view.buffer, this.#view.byteOffset + at, this.place - at).toString('utf8');
  }

  skipString(what: string, maxBytes: number): number {
    const bytes = this.count(`the length of ${what}`, 1);
    if (bytes > maxBytes) throw this.#bad(`the length of ${what} is ${bytes}, at most ${maxBytes} are possible`);
    return this.skip(what, bytes);
  }

  skipValue(what: string, type: number, depth: number): void {
    if (type === STRING) this.skipString(what, MAX_STRING_BYTES);
    else if (type === ARRAY) this.#skipArray(what, depth);
    else this.skip(what, this.#sizeOf(what, type));
  }

  #skipArray(what: string, depth: number): void {
    if (depth === MAX_ARRAY_DEPTH) throw this.#bad(`${what} has arrays in arrays, ${MAX_ARRAY_DEPTH} deep`);
    const type = this.uint32(`the element type of ${what}`);
    if (type !== STRING && type !== ARRAY) {
      const size = this.#sizeOf(what, type);
      this.skip(what, this.#elements(what, size) * size);
      return;
    }
    // A string says its length, an array its type and its length.
    const length = this.#elements(what, type === STRING ? 8 : 12);
    for (let i = 0; i < length; i++) this.skipValue(`${what}[${i}]`, type, depth + 1);
  }

  #elements(what: string, leastBytes: number): number {
    const length = this.count(`the length of ${what}`, leastBytes);
    this.#elementsBefore += length;
    if (this.#elementsBefore <= MAX_ELEMENTS) return length;
    throw this.#bad(`${what} has ${length} elements, at most ${MAX_ELEMENTS} are read in all arrays together`);
  }

  #sizeOf(what: string, type: number): number {
    const size = VALUE_BYTES[type];
    if (size === undefined) throw this.#bad(`the type of ${what} is ${type}, none that GGUF has`);
    return size;
  }
}
