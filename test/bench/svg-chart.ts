import { writeFileSync } from 'node:fs';
import type { BenchRow, Measured } from './rows.js';
import { geomean } from './statistics.js';

const ROW_HEIGHT = 22;
const TOP = 74;
const LABEL_WIDTH = 210;
const PANEL_WIDTH = 330;
const GAP = 40;
const WIDTH = LABEL_WIDTH + 2 * PANEL_WIDTH + GAP + 30;
const BOTTOM = 40;

// A document that shows the picture cannot style it: it brings its own ground, and both sets of colours.
// Colours stand in the classes: not every program that draws SVG knows custom properties.
const STYLE = `
  text { font: 12px system-ui, sans-serif; fill: #1f2328; }
  .title { font-weight: 600; font-size: 14px; }
  .quiet { fill: #59636e; }
  .ground { fill: #ffffff; }
  .line { stroke: #d1d9e0; }
  .own { fill: #2f6fdf; }
  .peer { fill: #b08800; }
  .dot { fill: #ffffff; stroke: #1f2328; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; }
    .quiet { fill: #9198a1; }
    .ground { fill: #0d1117; }
    .line { stroke: #3d444d; }
    .own { fill: #6cb0ff; }
    .peer { fill: #e3b341; }
    .dot { fill: #0d1117; stroke: #f0f6fc; }
  }`;

/** One allocator in one panel. */
interface Bar {
  readonly allocator: string;
  readonly isPeer: boolean;
  /** One a trace, those that are known. */
  readonly values: readonly number[];
}

/** A panel: where a value stands, from 0 to 1, and its marks. */
interface Panel {
  readonly title: string;
  readonly subtitle: string;
  readonly left: number;
  readonly value: (row: BenchRow) => number | null;
  /** The value that bars begin at. */
  readonly base: number;
  readonly place: (value: number) => number;
  readonly ticks: readonly number[];
  readonly label: (value: number) => string;
}

/** Draws time against peer (a), and utilisation: a bar is the geometric mean over the traces, a dot one trace. */
export function writeChart(path: string, measured: readonly Measured[]): void {
  writeFileSync(path, chart(measured));
}

/** The chart as SVG. */
export function chart(measured: readonly Measured[]): string {
  const panels = [timePanel(measured), memoryPanel()];
  const first = barsOf(measured, panels[0]!);
  const height = TOP + first.length * ROW_HEIGHT + BOTTOM;
  const labels = first.map(
    ({ allocator }, i) =>
      `<text x="${LABEL_WIDTH - 8}" y="${TOP + i * ROW_HEIGHT + 15}" text-anchor="end">${escapeXml(allocator)}</text>`,
  );
  const key = `<text class="quiet" x="${LABEL_WIDTH}" y="${height - 12}">bar: geometric mean over the traces; dot: one trace; blue: Stowage, yellow: peers</text>`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">`,
    '<title>Time and memory of the managers and their peers</title>',
    `<style>${STYLE}\n</style>`,
    `<rect width="${WIDTH}" height="${height}" rx="6" class="ground"/>`,
    ...labels,
    ...panels.map((panel) => drawPanel(panel, barsOf(measured, panel), height)),
    key,
    '</svg>\n',
  ].join('\n');
}

function timePanel(measured: readonly Measured[]): Panel {
  const value = (row: BenchRow) => row.nsRatioToPeerA;
  const values = measured.flatMap(({ row }) => value(row) ?? []);
  // Some are a hundred times slower than others: steps of the axis are powers of two, and 1 is one of them.
  const least = Math.log2(Math.min(0.5, ...values));
  const most = Math.log2(Math.max(2, ...values));
  const step = Math.ceil((most - least) / 8);
  const low = Math.floor(least / step) * step;
  const high = Math.ceil(most / step) * step;
  const ticks = Array.from({ length: (high - low) / step + 1 }, (_, i) => 2 ** (low + i * step));
  return {
    title: 'Time, x peer (a)',
    subtitle: 'logarithmic; to the left of 1 is faster',
    left: LABEL_WIDTH,
    value,
    base: 1,
    place: (ratio) => (Math.log2(ratio) - low) / (high - low),
    ticks,
    label: (ratio) => String(Number(ratio.toPrecision(2))),
  };
}

function memoryPanel(): Panel {
  return {
    title: 'Memory: peak live / peak reserved',
    subtitle: 'more is better',
    left: LABEL_WIDTH + PANEL_WIDTH + GAP,
    value: (row) => row.utilisation,
    base: 0,
    place: (share) => share,
    ticks: [0, 0.25, 0.5, 0.75, 1],
    label: String,
  };
}

function barsOf(measured: readonly Measured[], panel: Panel): Bar[] {
  const allocators = [...new Set(measured.map(({ row }) => row.allocator))];
  return allocators.map((allocator) => {
    const own = measured.filter(({ row }) => row.allocator === allocator);
    return {
      allocator,
      isPeer: own[0]!.isPeer,
      values: own.flatMap(({ row }) => panel.value(row) ?? []).filter((value) => value > 0),
    };
  });
}

function drawPanel(panel: Panel, bars: readonly Bar[], height: number): string {
  const x = (value: number) => (panel.left + Math.min(1, Math.max(0, panel.place(value))) * PANEL_WIDTH).toFixed(1);
  const ticks = panel.ticks.map(
    (tick) =>
      `<line class="line" x1="${x(tick)}" y1="${TOP - 6}" x2="${x(tick)}" y2="${height - BOTTOM}"/>` +
      `<text class="quiet" x="${x(tick)}" y="${TOP - 12}" text-anchor="middle">${panel.label(tick)}</text>`,
  );
  const marks = bars.map(({ isPeer, values }, i) => {
    const y = TOP + i * ROW_HEIGHT + 4;
    if (values.length === 0) return `<text class="quiet" x="${panel.left + 4}" y="${y + 11}">not known</text>`;
    const [from = 0, to = 0] = [x(panel.base), x(geomean(values))].map(Number).sort((a, b) => a - b);
    const dots = values.map((value) => `<circle class="dot" cx="${x(value)}" cy="${y + 7}" r="2.5"/>`).join('');
    return `<rect class="${isPeer ? 'peer' : 'own'}" x="${from}" y="${y}" width="${(to - from).toFixed(1)}" height="14" rx="2"/>${dots}`;
  });
  return [
    `<text class="title" x="${panel.left}" y="22">${panel.title}</text>`,
    `<text class="quiet" x="${panel.left}" y="40">${panel.subtitle}</text>`,
    ...ticks,
    ...marks,
  ].join('\n');
}

function escapeXml(text: string): string {
  return text.replace(/[&<>]/g, (char) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[char] ?? char);
}
