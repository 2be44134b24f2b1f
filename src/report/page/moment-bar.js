import { element, part } from './dom.js';
import { formatBytes } from './format.js';

/** @import { ReplayView } from './replay-view.js' */

/**
 * The bar that chooses the moment for everything below it: a slider, and the moments with a name.
 *
 * @param {ReplayView} view
 */
export function momentBar(view) {
  const slider = element('input', {
    type: 'range',
    min: '0',
    max: String(view.momentCount - 1),
    step: '1',
    'aria-label': 'Moment',
    id: 'moment-slider',
  });
  const text = element('span', { class: 'where', id: 'moment-text' });
  slider.addEventListener('input', () => view.chooseByPlace(Number(slider.value)));
  const step = (/** @type {string} */ label, /** @type {string} */ sign, /** @type {number} */ steps) => {
    const button = element('button', { type: 'button', 'aria-label': label, title: label }, sign);
    button.addEventListener('click', () => view.chooseByPlace(view.momentPlace + steps));
    return button;
  };
  const jump = (/** @type {string} */ name, /** @type {() => number} */ at) => {
    const button = element('button', { type: 'button' }, name);
    button.addEventListener('click', () => view.choose(view.nearest(at())));
    return button;
  };
  const peakReserved = () => view.data.moments[1 + view.run]?.at ?? view.data.events;
  part('moment-bar').replaceChildren(
    element('div', { class: 'slide' }, step('One moment back', '‹', -1), slider, step('One moment on', '›', 1)),
    element(
      'div',
      { class: 'jumps' },
      text,
      element('span', { class: 'gap' }),
      jump('peak live', () => view.data.moments[0]?.at ?? 0),
      jump('peak reserved', peakReserved),
      jump('end', () => view.data.events),
    ),
  );
  const show = () => {
    slider.value = String(view.momentPlace);
    const words = view.momentText();
    slider.setAttribute('aria-valuetext', words);
    const { live, reserved } = view.totals(view.run);
    const name = view.runs[view.run]?.name ?? '';
    text.textContent = Number.isNaN(reserved)
      ? `${words}: ${name} had stopped`
      : `${words}: ${formatBytes(live)} live, ${formatBytes(reserved)} reserved by ${name}`;
  };
  view.changed.on(show);
  show();
}
