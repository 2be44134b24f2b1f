/** A program of a page that is compiled only. */
export interface NotRun {
  readonly page: string;
  /** What it contains, and no other program of the page. */
  readonly has: string;
  /** What it needs that is not here. */
  readonly lacks: string;
}

export const NOT_RUN: readonly NotRun[] = [];

/** Pages that are to be mended yet: nothing of them is compiled or run. */
export const NOT_MENDED: readonly string[] = [
  'docs/beyond-one-machine.md',
  'docs/decorators.md',
  'docs/devices.md',
  'docs/handles.md',
  'docs/hosts.md',
  'docs/live.md',
  'docs/model.md',
  'docs/recording.md',
  'docs/shared-memory.md',
  'docs/swapping.md',
  'docs/tensors.md',
  'docs/writing-a-manager.md',
];
