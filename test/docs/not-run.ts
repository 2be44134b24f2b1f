/** A program of a page that is compiled only. */
export interface NotRun {
  readonly page: string;
  /** What it contains, and no other program of the page. */
  readonly has: string;
  /** What it needs that is not here. */
  readonly lacks: string;
}

/** None: libraries that are not here have stand-ins, see page-needs.ts, and programs find their files, see page-files.ts. */
export const NOT_RUN: readonly NotRun[] = [];
