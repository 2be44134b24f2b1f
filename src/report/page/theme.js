import { part } from './dom.js';

/** How many colours there are for managers and for tags. */
export const COLOURS = 8;
/** How many steps the scale for sizes and ages has. */
export const SCALE_STEPS = 7;

/** @type {Map<string, string>} */
const known = new Map();

/**
 * A colour of the present theme, as the canvas wants it.
 *
 * @param {string} name - a custom property of the style sheet
 * @returns {string}
 */
export function colour(name) {
  let value = known.get(name);
  if (value === undefined) {
    value = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    known.set(name, value);
  }
  return value;
}

/**
 * The name of the colour of a manager, by its place.
 *
 * @param {number} place
 * @returns {string}
 */
export function managerColour(place) {
  return `--manager-${place % COLOURS}`;
}

/**
 * Follows the system's theme until the button is used.
 *
 * @param {() => void} onChange - draws anew what is no style sheet's
 */
export function followTheme(onChange) {
  const system = matchMedia('(prefers-color-scheme: dark)');
  const button = part('theme');
  /** @type {boolean | undefined} */
  let wished;
  const show = () => {
    const dark = wished ?? system.matches;
    document.documentElement.dataset['theme'] = dark ? 'dark' : 'light';
    known.clear();
    button.textContent = dark ? 'Light' : 'Dark';
    button.setAttribute('aria-label', dark ? 'Use light colours' : 'Use dark colours');
    onChange();
  };
  button.addEventListener('click', () => {
    wished = !(wished ?? system.matches);
    show();
  });
  system.addEventListener('change', show);
  show();
}
