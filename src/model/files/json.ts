import { badFile } from './model-description.js';

/** A tensor's entry has one object and two lists in some 50 bytes. */
const LEAST_CONTAINER_BYTES = 12;
const SPARE_CONTAINERS = 64;
const MAX_DEPTH = 16;
const [QUOTE, BACKSLASH, OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = Buffer.from('"\\[]{}') as unknown as number[];

/**
 * Parses a JSON text of a model file, after a check of its nesting.
 *
 * @param what - the text, for messages: `it`, or `its header`
 * @throws ERR_MEM_BAD_INPUT for what is no JSON, or nests too deep or too often
 */
export function parseJson(text: Uint8Array, path: string, what: string): unknown {
  checkNesting(text, path, what);
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(text.slice()));
  } catch (error) {
    throw badFile(path, `${what} is no JSON: ${(error as Error).message}`, error);
  }
}

/** Tells whether a parsed value is an object, and not a list. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Checks that a JSON text has no more lists and objects than its size lets expect, nor deeper ones, before a parser makes
 * values of it: two bytes that make an object take 60 bytes then. Cost: O(bytes), without an allocation.
 *
 * @throws ERR_MEM_BAD_INPUT that names the byte of the text
 */
function checkNesting(text: Uint8Array, path: string, what: string): void {
  const most = SPARE_CONTAINERS + text.length / LEAST_CONTAINER_BYTES;
  let [containers, depth, inText] = [0, 0, false];
  for (let at = 0; at < text.length; at++) {
    const byte = text[at];
    if (inText) {
      if (byte === BACKSLASH) at++;
      else if (byte === QUOTE) inText = false;
    } else if (byte === QUOTE) {
      inText = true;
    } else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
      if (++depth > MAX_DEPTH) throw badFile(path, `${what} nests lists and objects more than ${MAX_DEPTH} deep at byte ${at}`);
      if (++containers > most) throw badFile(path, `${what} has too many lists and objects for its size at byte ${at}`);
    } else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) {
      depth--;
    }
  }
}
