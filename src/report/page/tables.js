import { element, explanation } from './dom.js';

/**
 * @typedef {object} TableColumn
 * @property {string | Node} heading
 * @property {boolean} [numeric] - cells stand on the right
 * @property {boolean} [wide] - takes a line of its own where a row is a card
 * @property {string} [hint] - what the heading means
 */

/** What keeps its state when a table is filled again. */
const FOCUSABLE = 'button, summary, a';

/**
 * Fills a table. Cells are text or nodes; those of numeric columns stand on the right. Cells that are as before stay, so that the focus
 * and open folds of a page that goes on stay, too. A table with `data-cards` shows each row
 * as a card in a box of less than so many pixels. Without columns it is hidden.
 *
 * @param {HTMLElement} table
 * @param {readonly TableColumn[]} columns
 * @param {readonly (readonly (string | Node)[])[]} rows - the first cell of each heads its row
 */
export function fillTable(table, columns, rows) {
  table.setAttribute('role', 'table');
  table.hidden = columns.length === 0;
  const head = columns.map(({ heading, numeric, hint }) => {
    const cell = element('th', { scope: 'col', role: 'columnheader', ...(numeric === true ? { class: 'number' } : {}) }, heading);
    if (hint !== undefined) cell.append(explanation(hint));
    return cell;
  });
  const labels = columns.map(({ heading }) => (typeof heading === 'string' ? heading : (heading.textContent ?? '')));
  const body = rows.map((cells) =>
    cells.map((cell, i) => {
      const { numeric = false, wide = false } = columns[i] ?? {};
      const classes = [...(numeric ? ['number'] : []), ...(wide ? ['wide'] : [])].join(' ');
      const attributes = { 'data-label': labels[i] ?? '', ...(classes === '' ? {} : { class: classes }) };
      return i === 0
        ? element('th', { scope: 'row', role: 'rowheader', ...attributes }, cell)
        : element('td', { role: 'cell', ...attributes }, cell);
    }),
  );
  const groups = table.querySelectorAll('thead, tbody');
  const [headGroup = groupOf(table, 'thead'), bodyGroup = groupOf(table, 'tbody')] = groups;
  fillGroup(headGroup, [head]);
  fillGroup(bodyGroup, body);
  explainColumns(table, columns, labels);
}

/**
 * Makes a table that scrolls sideways where it does not fit.
 *
 * @param {HTMLTableElement} table
 * @param {string} label
 * @param {string} [more] - another class
 */
export function scrolled(table, label, more = '') {
  const box = element('div', { class: `scroll ${more}`.trim(), 'data-name': label }, table);
  watchScroll(box);
  return box;
}

/**
 * Has a box that scrolls take the focus, and say so beside it, while there is more in it than fits.
 *
 * @param {HTMLElement} box
 */
export function watchScroll(box) {
  const hint = element('p', { class: 'more-columns' }, 'More columns: scroll the table sideways.');
  const show = () => {
    const table = box.querySelector('table');
    const least = Number(table?.dataset['cards'] ?? 0);
    box.classList.toggle('as-cards', box.clientWidth < least);
    const isWide = box.scrollWidth > box.clientWidth + 1;
    const isHigh = box.scrollHeight > box.clientHeight + 1;
    hint.hidden = !isWide;
    box.toggleAttribute('data-more', isWide && box.scrollLeft + box.clientWidth < box.scrollWidth - 1);
    const names = { tabindex: '0', role: 'group', 'aria-label': `Table: ${box.dataset['name']}` };
    for (const [name, value] of Object.entries(names)) {
      if (isWide || isHigh) box.setAttribute(name, value);
      else box.removeAttribute(name);
    }
  };
  const observer = new ResizeObserver(() => {
    // It has a place on the page by now.
    if (!hint.isConnected) box.before(hint);
    show();
  });
  observer.observe(box);
  for (const child of box.children) observer.observe(child);
  box.addEventListener('scroll', show, { passive: true });
}

/**
 * @param {HTMLElement} table
 * @param {'thead' | 'tbody'} name
 */
function groupOf(table, name) {
  const group = element(name, { role: 'rowgroup' });
  table.append(group);
  return group;
}

/**
 * @param {Element} group
 * @param {readonly (readonly HTMLElement[])[]} rows
 */
function fillGroup(group, rows) {
  while (group.children.length > rows.length) group.lastElementChild?.remove();
  for (const [i, cells] of rows.entries()) {
    const row = group.children[i];
    if (row === undefined) group.append(element('tr', { role: 'row' }, ...cells));
    else fillRow(row, cells);
  }
}

/**
 * @param {Element} row
 * @param {readonly HTMLElement[]} cells
 */
function fillRow(row, cells) {
  while (row.children.length > cells.length) row.lastElementChild?.remove();
  for (const [i, cell] of cells.entries()) {
    const before = row.children[i];
    if (before === undefined) row.append(cell);
    else replaceCell(before, cell);
  }
}

/**
 * Puts a cell into the place of another one, unless it is the same. The fold stays open, and the focus where it was.
 *
 * @param {Element} before
 * @param {HTMLElement} cell
 */
function replaceCell(before, cell) {
  const fold = before.querySelector('details');
  const next = cell.querySelector('details');
  if (fold?.open === true && next !== null && fold.textContent === next.textContent) next.open = true;
  if (before.isEqualNode(cell)) return;
  const place = [...before.querySelectorAll(FOCUSABLE)].indexOf(/** @type {Element} */ (document.activeElement));
  before.replaceWith(cell);
  const focused = place === -1 ? undefined : cell.querySelectorAll(FOCUSABLE)[place];
  if (focused instanceof HTMLElement) focused.focus({ preventScroll: true });
}

/**
 * Says behind a table of cards what its words mean: the headings with their signs are not there then.
 *
 * @param {HTMLElement} table
 * @param {readonly TableColumn[]} columns
 * @param {readonly string[]} labels
 */
function explainColumns(table, columns, labels) {
  const box = table.closest('.scroll');
  if (table.dataset['cards'] === undefined || box === null || box.querySelector('.words') !== null) return;
  const words = columns.flatMap(({ hint }, i) => (hint === undefined ? [] : [{ word: labels[i] ?? '', hint }]));
  if (words.length === 0) return;
  const list = words.map(({ word, hint }) => element('div', {}, element('dt', {}, word), element('dd', {}, hint)));
  box.append(element('details', { class: 'words' }, element('summary', {}, 'What the words mean'), element('dl', {}, ...list)));
}
