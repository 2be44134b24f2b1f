/** Why a file is bad. Its reader adds the file's name. */
export class FormatFault extends Error {
  /** @param line - where, from 1; 0 when the reason names a byte, or the place does not matter */
  constructor(
    readonly reason: string,
    readonly line = 0,
  ) {
    super(reason);
  }
}
