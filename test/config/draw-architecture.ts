import { SOURCE_IMPORTS } from './source-imports.js';

/** Folders, and which other ones each of them imports. */
type FolderImports = ReadonlyMap<string, ReadonlySet<string>>;

interface Place {
  readonly x: number;
  readonly y: number;
}

/** What each folder is for, in one sentence. A folder that is not here is refused. */
const PURPOSES: Readonly<Record<string, string>> = {
  'src/core': 'The contracts: adapter, device, slot, host.',
  'src/blocks': 'Parts of managers: base, heap, regions.',
  'src/runtime': 'The embedded host: handles, scopes.',
  'src/budget': 'One limit over managers and processes.',
  'src/conf': 'The default runtime as STOWAGE_CONF says.',
  'src/trace': 'Record, read, write and replay allocations.',
  'src/report': 'Results as a page, and a live page.',
  'src/whatif': 'PyTorch’s runs under other settings.',
  'src/explain': 'What a process’s memory is, and giving back.',
  'src/otel': 'Statistics as OpenTelemetry metrics.',
  'src/model': 'Mapped model files, tensors, loader.',
  'src/shared': 'Memory shared between processes.',
  'src/di': 'Tokens and module for inversify.',
  'src/cli': 'The stowage command.',
  src: 'The defaults: managers and host.',
  managers: 'The policies, one folder each.',
  'adapters/ffi': 'koffi: libraries and callbacks.',
  'adapters/os': 'mmap, futex, shared memory objects, limits.',
  'adapters/devices': 'CPU, CUDA, HIP, OpenCL, simulated.',
  'adapters/hosts': 'ArrayFire, ONNX Runtime, ggml, SQLite, C.',
};
const BOX = { width: 268, height: 62, gapX: 22, gapY: 58, margin: 24 };

/**
 * Draws the folders of the sources in rows: each stands above all that it imports. An arrow leads to each folder that it
 * imports unless a longer way leads there, too.
 *
 * @returns the text of an SVG file
 */
export function drawArchitecture(): string {
  const imports = folderImports();
  const rows: string[][] = [];
  for (const folder of imports.keys()) {
    const row = depthOf(folder, imports);
    rows[row] ??= [];
    rows[row].push(folder);
  }
  const widest = Math.max(...rows.map((row) => row.length));
  const width = 2 * BOX.margin + widest * (BOX.width + BOX.gapX) - BOX.gapX;
  const height = 2 * BOX.margin + rows.length * (BOX.height + BOX.gapY) - BOX.gapY;
  const places = new Map<string, Place>();
  for (const [depth, row] of rows.entries()) {
    const left = (width - row.length * (BOX.width + BOX.gapX) + BOX.gapX) / 2;
    const y = height - BOX.margin - BOX.height - depth * (BOX.height + BOX.gapY);
    for (const [i, folder] of row.sort().entries()) places.set(folder, { x: left + i * (BOX.width + BOX.gapX), y });
  }
  const arrows = [...imports].flatMap(([from, targets]) =>
    directOf(targets, imports).map((to) => arrow(places.get(from)!, places.get(to)!)),
  );
  const boxes = [...places].map(([folder, place]) => box(folder, place, imports.get(folder)!));
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="Which folder imports which">
<style>
svg { --ink: #1f2328; --soft: #59636e; --line: #8c959f; --fill: #f6f8fa; --back: #ffffff; font-family: system-ui, sans-serif; }
@media (prefers-color-scheme: dark) { svg { --ink: #e6edf3; --soft: #9198a1; --line: #6e7681; --fill: #1c2128; --back: #0d1117; } }
.back { fill: var(--back); } .box { fill: var(--fill); stroke: var(--line); } .name { fill: var(--ink); font-size: 14px; font-weight: 600; }
.purpose { fill: var(--soft); font-size: 11px; } .arrow { fill: none; stroke: var(--line); stroke-width: 1.2; marker-end: url(#head); } #head path { fill: var(--line); }
</style>
<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8Z"/></marker></defs>
<rect class="back" width="${width}" height="${height}"/>
${[...arrows, ...boxes].join('\n')}
</svg>
`;
}

/** Finds out which folder imports which. Barrels are entry points and only hand on: they do not count. */
function folderImports(): FolderImports {
  const imports = new Map<string, Set<string>>();
  for (const [file, targets] of SOURCE_IMPORTS) {
    if (file.endsWith('/index.ts')) continue;
    const from = folderOf(file);
    if (!(from in PURPOSES)) throw new Error(`say in PURPOSES what ${from} is for`);
    if (!imports.has(from)) imports.set(from, new Set());
    for (const to of targets.filter((target) => SOURCE_IMPORTS.has(target)).map(folderOf)) {
      if (to !== from) imports.get(from)!.add(to);
    }
  }
  return imports;
}

function folderOf(path: string): string {
  const parts = path.split('/');
  if (parts[0] === 'managers') return 'managers';
  return parts.slice(0, Math.min(2, parts.length - 1)).join('/');
}

/** The length of the longest way down. @throws Error for folders that import each other in a circle */
function depthOf(folder: string, imports: FolderImports, way: readonly string[] = []): number {
  if (way.includes(folder)) throw new Error(`these folders import each other in a circle: ${way.join(', ')}`);
  return Math.max(-1, ...[...(imports.get(folder) ?? [])].map((to) => depthOf(to, imports, [...way, folder]))) + 1;
}

/** Those targets that no other one of them leads to. */
function directOf(targets: ReadonlySet<string>, imports: FolderImports): string[] {
  return [...targets].filter((to) => ![...targets].some((other) => other !== to && leadsTo(other, to, imports)));
}

function leadsTo(from: string, to: string, imports: FolderImports): boolean {
  return [...(imports.get(from) ?? [])].some((next) => next === to || leadsTo(next, to, imports));
}

function arrow(from: Place, to: Place): string {
  const x1 = from.x + BOX.width / 2;
  const y1 = from.y + BOX.height;
  const x2 = to.x + BOX.width / 2;
  const y2 = to.y - 2;
  const middle = (y1 + y2) / 2;
  return `<path class="arrow" d="M${x1} ${y1}C${x1} ${middle} ${x2} ${middle} ${x2} ${y2}"/>`;
}

function box(folder: string, { x, y }: Place, targets: ReadonlySet<string>): string {
  const all = targets.size === 0 ? 'imports no other folder' : `imports ${[...targets].sort().join(', ')}`;
  return `<g><title>${folder} ${all}</title><rect class="box" x="${x}" y="${y}" width="${BOX.width}" height="${BOX.height}" rx="8"/>
<text class="name" x="${x + 12}" y="${y + 25}">${folder}</text><text class="purpose" x="${x + 12}" y="${y + 45}">${PURPOSES[folder]}</text></g>`;
}
