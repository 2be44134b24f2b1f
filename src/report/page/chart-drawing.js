import { colour } from './theme.js';

/**
 * @import uPlotTypes from 'uplot'
 *
 * @typedef {object} Level - a line across the chart
 * @property {number} y
 * @property {string} text
 *
 * @typedef {object} Mark - a point that stands out
 * @property {number} x
 * @property {number} y
 * @property {string} colour - the name of its colour in the style sheet
 * @property {string} text
 *
 * @typedef {object} Happening - something that happened at a time, whatever was held then
 * @property {number} x
 * @property {keyof typeof SHAPES} shape
 * @property {string} colour - the name of its colour in the style sheet
 */

/** By shape: its lines, in steps from its centre, and the row that it is drawn in. */
const SHAPES = /** @type {const} */ ({
  down: { row: 0, lines: [[-1, -1, 1, -1, 0, 1, -1, -1]] },
  up: { row: 1, lines: [[-1, 1, 1, 1, 0, -1, -1, 1]] },
  cross: {
    row: 2,
    lines: [
      [-1, -1, 1, 1],
      [-1, 1, 1, -1],
    ],
  },
});

export const FONT = '12px system-ui, sans-serif';
const MARK_RADIUS = 6;
const LINE_HEIGHT = 14;
const SHAPE_RADIUS = 4;

/**
 * Draws lines across a chart, with their names. Of a line above the chart the name alone is there, with an arrow.
 *
 * @param {uPlotTypes} plot
 * @param {readonly Level[]} levels
 */
export function drawLevels(plot, levels) {
  const { left, top, width, height } = plot.bbox;
  const { ctx } = plot;
  const pixel = devicePixelRatio;
  ctx.save();
  ctx.fillStyle = ctx.strokeStyle = colour('--bad');
  ctx.lineWidth = 2 * pixel;
  ctx.setLineDash([8 * pixel, 4 * pixel]);
  const lines = levels
    .map(({ y, text }) => ({ y: Math.round(plot.valToPos(y, 'y', true)), text }))
    .filter(({ y }) => y <= top + height);
  for (const { y } of lines.filter(({ y }) => y >= top)) {
    ctx.beginPath();
    ctx.moveTo(left, y);
    ctx.lineTo(left + width, y);
    ctx.stroke();
  }
  /** @type {{ right: number, y: number }[]} */
  const names = [];
  for (const { y, text } of lines) {
    // Below its line, and beside the names that are there already.
    const at = Math.max(y, top) + LINE_HEIGHT * pixel;
    const beside = names.filter((name) => Math.abs(name.y - at) < LINE_HEIGHT * pixel).map(({ right }) => right);
    const from = Math.max(left, ...beside) + 6 * pixel;
    names.push({ right: from + write(ctx, y < top ? `${text} ↑` : text, from, at, 'left'), y: at });
  }
  ctx.restore();
}

/**
 * Draws crosses on a chart, with their names.
 *
 * @param {uPlotTypes} plot
 * @param {readonly Mark[]} marks
 */
export function drawMarks(plot, marks) {
  const { left, top, width, height } = plot.bbox;
  const { ctx } = plot;
  const pixel = devicePixelRatio;
  const radius = MARK_RADIUS * pixel;
  ctx.save();
  ctx.lineWidth = 2.5 * pixel;
  let lowest = Number.NEGATIVE_INFINITY;
  for (const mark of marks) {
    const x = Math.round(plot.valToPos(mark.x, 'x', true));
    const y = Math.round(plot.valToPos(mark.y, 'y', true));
    if (!(x >= left && x <= left + width && y >= top && y <= top + height)) continue;
    ctx.fillStyle = ctx.strokeStyle = colour(mark.colour);
    ctx.beginPath();
    for (const slope of [1, -1]) {
      ctx.moveTo(x - radius, y - slope * radius);
      ctx.lineTo(x + radius, y + slope * radius);
    }
    ctx.stroke();
    // One name under the other: settings fail where they all need the most.
    lowest = Math.max(lowest + LINE_HEIGHT * pixel, y + 2 * LINE_HEIGHT * pixel);
    const isRight = x > left + width / 2;
    write(ctx, mark.text, x + (isRight ? -1 : 1) * (radius + 4 * pixel), lowest, isRight ? 'right' : 'left');
  }
  ctx.restore();
}

/**
 * Draws what happened as small shapes above the time axis, those of a kind in a row. Of shapes that would cover each other one is there.
 *
 * @param {uPlotTypes} plot
 * @param {readonly Happening[]} happenings - those of a shape by time
 */
export function drawHappenings(plot, happenings) {
  const { left, top, width, height } = plot.bbox;
  const { ctx } = plot;
  const pixel = devicePixelRatio;
  const radius = SHAPE_RADIUS * pixel;
  ctx.save();
  ctx.lineJoin = 'round';
  ctx.setLineDash([]);
  /** @type {Map<string, number>} */
  const last = new Map();
  for (const { x, shape, colour: name } of happenings) {
    const at = Math.round(plot.valToPos(x, 'x', true));
    if (!(at >= left && at <= left + width) || at - (last.get(shape) ?? Number.NEGATIVE_INFINITY) < 2 * radius) continue;
    last.set(shape, at);
    const { row, lines } = SHAPES[shape];
    const y = top + height - (row + 0.75) * LINE_HEIGHT * pixel;
    ctx.fillStyle = colour(name);
    for (const around of [true, false]) {
      ctx.strokeStyle = colour(around ? '--panel' : name);
      ctx.lineWidth = (around ? 5 : 2) * pixel;
      ctx.beginPath();
      for (const [startX, startY, ...more] of lines) {
        ctx.moveTo(at + startX * radius, y + startY * radius);
        for (let i = 0; i < more.length; i += 2) ctx.lineTo(at + (more[i] ?? 0) * radius, y + (more[i + 1] ?? 0) * radius);
      }
      ctx.stroke();
      if (!around && shape !== 'cross') ctx.fill();
    }
  }
  ctx.restore();
}

/**
 * Writes over curves: the panel's colour is around the letters.
 *
 * @param {CanvasRenderingContext2D} ctx
 * @param {string} text
 * @param {number} x
 * @param {number} y
 * @param {'left' | 'right'} align
 * @returns {number} the width of the text
 */
function write(ctx, text, x, y, align) {
  ctx.save();
  ctx.setLineDash([]);
  ctx.font = FONT.replace('12px', `${12 * devicePixelRatio}px`);
  ctx.textAlign = align;
  ctx.textBaseline = 'alphabetic';
  ctx.strokeStyle = colour('--panel');
  ctx.lineWidth = 4 * devicePixelRatio;
  ctx.lineJoin = 'round';
  ctx.strokeText(text, x, y);
  ctx.fillText(text, x, y);
  const { width } = ctx.measureText(text);
  ctx.restore();
  return width;
}
