const SHOWN_CHARACTERS = 60;

/** Why a file is bad. Its reader adds the file's name. */
export class FormatFault extends Error {
  /** @param line - where, from 1; 0 stands for the line that is being read, if the format has lines */
  constructor(
    reason: string,
    readonly line = 0,
  ) {
    super(reason);
  }
}

/** Checks what must hold of a file. @param reason - why the file is bad when it does not @throws FormatFault */
export function checkFile(holds: boolean, reason: string): asserts holds {
  if (!holds) throw new FormatFault(reason);
}

/** Shows untrusted text inside one line of a message: short, and without control characters. */
export function quote(text: string): string {
  const short = text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
  return JSON.stringify(short).replace(/[\u007f-\u009f\u2028\u2029]/g, '?');
}
