/** A tensor's entry has one object and two lists in some 50 bytes. */
const LEAST_CONTAINER_BYTES = 12;
const SPARE_CONTAINERS = 64;
const MAX_DEPTH = 16;
const [QUOTE, BACKSLASH, OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = Buffer.from('"\\[]{}') as unknown as number[];

/**
 * Checks that a JSON text has no more lists and objects than its size lets expect, nor deeper ones, before a parser makes
 * values of it: two bytes that make an object take 60 bytes then. Cost: O(bytes), without an allocation.
 *
 * @throws what `bad` makes of the reason, which names the byte of the text
 */
export function checkNesting(text: Uint8Array, bad: (reason: string) => Error): void {
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
      if (++depth > MAX_DEPTH) throw bad(`nests lists and objects more than ${MAX_DEPTH} deep at byte ${at}`);
      if (++containers > most) throw bad(`has too many lists and objects for its size at byte ${at}`);
    } else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) {
      depth--;
    }
  }
}
