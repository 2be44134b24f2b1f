import { choice, element } from './dom.js';

/** @import { ChartGroup } from './chart-group.js' */

/**
 * The buttons that zoom the charts of a group.
 *
 * @param {ChartGroup} group
 */
export function zoomButtons(group) {
  const button = (/** @type {string} */ label, /** @type {string} */ text, /** @type {() => void} */ onClick) => {
    const made = element('button', { type: 'button', 'aria-label': label, title: label }, text);
    made.addEventListener('click', onClick);
    return made;
  };
  return [
    button('Zoom in', '+', () => group.zoomBy(0.6)),
    button('Zoom out', '−', () => group.zoomBy(1 / 0.6)),
    button('All: show everything', 'All', () => group.show(null)),
  ];
}

/**
 * The choice whether charts go by events or by time.
 *
 * @param {(byTime: boolean) => void} onChange
 */
export function axisChoice(onChange) {
  const axes = /** @type {const} */ ([
    ['events', 'events'],
    ['time', 'time'],
  ]);
  return choice('axis', axes, (value) => onChange(value === 'time'));
}
