/** A line of a program, as a stack names it. */
export interface Frame {
  readonly name: string;
  readonly filename: string;
  readonly line: number;
}

const LINE = /^(?:at )?(?:async (?=[^(]*$))?(?:(.*) \()?(.*?):(\d+)(?::\d+)?\)?$/;

/** The frames of a site: V8's stack lines, or what {@link siteOfFrames} made. */
export function framesOfSite(site: string): Frame[] {
  if (site === '') return [];
  return site.split('\n').map((text) => {
    const [, name = '', filename, line] = LINE.exec(text.trim()) ?? [];
    return filename === undefined ? { name: text, filename: '', line: 0 } : { name, filename, line: Number(line) };
  });
}

/** A site of frames, in the form of V8's stack lines. */
export function siteOfFrames(frames: readonly Frame[]): string {
  return frames
    .map(({ name, filename, line }) =>
      filename === '' ? name : name === '' ? `at ${filename}:${line}` : `at ${name} (${filename}:${line})`,
    )
    .join('\n');
}

/** Files of Node's own: `node:fs`, and `internal/…` of older stacks. */
const OF_NODE = /^(?:node:|internal\/)/;
/** What V8 brings, such as `Array.map`: lines without a file. */
const OF_ENGINE = /\((?:<anonymous>|native|index \d+)\)$/;

/** Whether a frame is one of Node or V8, which the program's author cannot change. */
export function isNodesOwn({ name, filename }: Frame): boolean {
  return filename === '' ? OF_ENGINE.test(name) : OF_NODE.test(filename);
}

/** The frames of a site without Node's own. Where there are no others, all of them. */
export function programFrames(site: string): Frame[] {
  const frames = framesOfSite(site);
  const program = frames.filter((frame) => !isNodesOwn(frame));
  return program.length === 0 ? frames : program;
}

/** The lines of a site without those of Node's own frames, and how many those are. Where there are no others, all of them. */
export function programLines(site: string): { readonly lines: readonly string[]; readonly omitted: number } {
  const all = site.split('\n');
  const frames = framesOfSite(site);
  const lines = all.filter((_, i) => !isNodesOwn(frames[i]!));
  return lines.length === 0 ? { lines: all, omitted: 0 } : { lines, omitted: all.length - lines.length };
}
