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
