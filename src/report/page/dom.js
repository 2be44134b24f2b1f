/**
 * Makes an element. Text becomes text and nothing else, whatever is in it.
 *
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/**
 * Finds a part of the page's own template.
 *
 * @param {string} id
 * @returns {HTMLElement}
 */
export function part(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no part ${id}`);
  return found;
}

/**
 * Makes a small square of a colour.
 *
 * @param {string} colour - the name of a custom property of the style sheet
 * @returns {HTMLElement}
 */
export function swatch(colour) {
  const made = element('span', { class: 'swatch', 'aria-hidden': 'true' });
  made.style.background = `var(${colour})`;
  return made;
}

/**
 * Makes a labelled choice between some values.
 *
 * @param {string} label
 * @param {readonly (readonly [value: string, text: string])[]} choices
 * @param {(value: string) => void} onChange
 * @returns {HTMLElement}
 */
export function choice(label, choices, onChange) {
  const select = element('select', {}, ...choices.map(([value, text]) => element('option', { value }, text)));
  select.addEventListener('change', () => onChange(select.value));
  return element('label', { class: 'choice' }, element('span', {}, label), select);
}

/**
 * Makes a button that is on or off.
 *
 * @param {string | Node} text
 * @param {boolean} on
 * @param {(on: boolean) => void} onChange
 * @param {...Node} before - put in front of the text
 * @returns {HTMLButtonElement}
 */
export function toggle(text, on, onChange, ...before) {
  const button = element('button', { type: 'button', class: 'toggle', 'aria-pressed': String(on) }, ...before, text);
  button.addEventListener('click', () => {
    const now = button.getAttribute('aria-pressed') !== 'true';
    button.setAttribute('aria-pressed', String(now));
    onChange(now);
  });
  return button;
}

/**
 * Makes a sign that explains a word: by hovering, by focus, and to a screen reader.
 *
 * @param {string} text
 * @returns {HTMLElement}
 */
export function explanation(text) {
  return element('button', { type: 'button', class: 'hint', 'aria-label': text, 'data-hint': text }, '?');
}

/**
 * Text of a setting that may be broken where one of its parts ends: `max_split_size_mb:20,…`.
 *
 * @param {string} text
 * @returns {HTMLElement}
 */
export function settingText(text) {
  const parts = text.split(/(?<=[,:_])/).flatMap((word) => [word, element('wbr')]);
  return element('span', { class: 'setting' }, ...parts);
}

/**
 * Makes a sample of how a quantity is drawn in the main chart.
 *
 * @param {string} quantity - live, reserved or cached
 */
export function lineSample(quantity) {
  return element('span', { class: `line ${quantity}`, 'aria-hidden': 'true' });
}
