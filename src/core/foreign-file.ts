const AGAIN = 'such as a server sends in place of a file: download the file again';
/** What a file that is often given in place of another one begins with, its letters in lower case, and what it is then. */
const BEGINNINGS: readonly (readonly [string, string])[] = [
  ['version https://git-lfs', 'it is a Git LFS pointer, not the file itself: fetch the file with "git lfs pull"'],
  ['<!doctype', `it is an HTML page, ${AGAIN}`],
  ['<html', `it is an HTML page, ${AGAIN}`],
  ['<?xml', `it is an XML document, ${AGAIN}`],
  ['pk\x03\x04', 'it is a ZIP archive, such as torch.save writes'],
  ['\x1f\x8b', 'it is compressed with gzip: unpack it first'],
  ['\x28\xb5\x2f\xfd', 'it is compressed with Zstandard: unpack it first'],
  ['\xfd7zxz\0', 'it is compressed with xz: unpack it first'],
  ['bzh91ay', 'it is compressed with bzip2: unpack it first'],
  ['sqlite format 3\0', 'it is an SQLite database'],
  ['\x7felf', 'it is an ELF program or library'],
];
const LOOKED_AT_BYTES = 64;

/**
 * Tells a file that is something else than was expected by its first bytes.
 *
 * @param head - the beginning of the file; 64 bytes suffice
 * @returns what the file is, as a reason for a message; undefined when it is nothing that is known here
 */
export function foreignFile(head: Uint8Array): string | undefined {
  const bytes = String.fromCharCode(...head.subarray(0, LOOKED_AT_BYTES)).replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  // Pages may begin with a byte order mark and blanks.
  const text = bytes.replace(/^(?:\xef\xbb\xbf)?\s*/, '');
  return BEGINNINGS.find(([beginning]) => bytes.startsWith(beginning) || text.startsWith(beginning))?.[1];
}
