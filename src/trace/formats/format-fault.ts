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
