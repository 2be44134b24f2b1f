/** Something that works on this machine or does not. */
export interface Check {
  readonly kind: 'device' | 'host';
  readonly name: string;
  /** Uses the thing for real. @returns what it found; a throw says why the thing does not work here */
  readonly run: () => string;
}
